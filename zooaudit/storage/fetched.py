"""A local copy of a user's data in a bucket: each file is complete, checked, and the one that the bucket
lists now.

The copy stays in the user's cache folder. A second run fetches only what changed; files that the bucket no
longer has are removed.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from zooaudit.data.places import default_cache
from zooaudit.errors import InputError, StoreError
from zooaudit.storage.cache import FOLDER
from zooaudit.storage.parallel import in_parallel
from zooaudit.storage.s3 import Listed, S3Store

STATE = ".zooaudit-fetched.json"
SCRATCH = ".partial-"
SAVED_EVERY = 512
Say = Callable[[str], None]


def fetched(url: str, say: Say = lambda _: None) -> Path:
    """The local folder, or the single file, for ``s3://bucket/prefix``.

    Raises:
        InputError: the URL is not valid, nothing is there, or names in it cannot be file names.
        StoreError: it cannot be read, or does not fit on the disk.
    """
    store, entries = _listed(url)
    target = _folder(url)
    _check(url, entries, target)
    kept = _kept(target)
    missing = [entry for entry in entries if not _is_kept(target, entry, kept.get(entry.key))]
    for path in _strangers(target, {entry.key for entry in entries}):
        path.unlink(missing_ok=True)
    if missing:
        say(
            f"data: fetching {len(missing):,} of {len(entries):,} files,"
            f" {sum(e.size for e in missing) / 1e6:,.1f} MB, from {url}"
        )
    for start in range(0, len(missing), SAVED_EVERY):
        some = missing[start : start + SAVED_EVERY]
        shas = in_parallel(lambda entry: _fetch(store, entry, target), some)
        kept |= {entry.key: [entry.etag, entry.size, sha] for entry, sha in zip(some, shas, strict=True)}
        _save(target, kept)
    return (
        target / entries[0].key
        if len(entries) == 1 and url.rstrip("/").endswith("/" + entries[0].key)
        else target
    )


def _listed(url: str) -> tuple[S3Store, list[Listed]]:
    """Objects below the prefix, or the single object of that name; in that case its folder is opened."""
    store = S3Store(url, probe=False)
    if entries := store.listing(""):
        return store, entries
    above, _, name = url.rstrip("/").rpartition("/")
    if name and above.count("/") >= 2:
        parent = S3Store(above, probe=False)
        if entries := [entry for entry in parent.listing(name) if entry.key == name]:
            return parent, entries
    raise InputError(f"{url} holds nothing; expected a data folder with train and test, or one file")


def _folder(url: str) -> Path:
    place = (
        f"{os.environ.get('AWS_ENDPOINT_URL_S3') or os.environ.get('AWS_ENDPOINT_URL', '')} {url.rstrip('/')}"
    )
    return (
        Path(os.environ.get(FOLDER) or default_cache())
        / "data"
        / hashlib.sha256(place.encode()).hexdigest()[:32]
    )


def _check(url: str, entries: list[Listed], target: Path) -> None:
    names = {entry.key for entry in entries}
    for entry in entries:
        parts = entry.key.split("/")
        if any(
            part in ("", ".", "..") or "\0" in part or part.startswith(SCRATCH) or part == STATE
            for part in parts
        ):
            raise InputError(
                f"{url}: {entry.key!r} cannot be the name of a file here; expected plain names: rename it in"
                " the bucket"
            )
        if any("/".join(parts[:i]) in names for i in range(1, len(parts))):
            raise InputError(
                f"{url}: {entry.key!r} lies in something that is a file itself; expected files and folders:"
                " rename one"
            )
    try:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"{target} cannot be made ({error.strerror}); set {FOLDER} to a folder that can be written"
        ) from error
    needed, free = sum(entry.size for entry in entries), shutil.disk_usage(target).free
    have = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    if needed - have > free:
        raise StoreError(
            f"{url} holds {needed / 1e9:,.1f} GB, {target} has room for {(free + have) / 1e9:,.1f} GB: set"
            f" {FOLDER}"
        )


def _kept(target: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):  # without the list everything is fetched again
        found = json.loads((target / STATE).read_text())
        if isinstance(found, dict):
            return found
    return {}


def _is_kept(target: Path, entry: Listed, stated: object) -> bool:
    """Whether the local file is what the bucket lists, byte for byte as it arrived."""
    path = target / entry.key
    if (
        not isinstance(stated, list)
        or stated[:2] != [entry.etag, entry.size]
        or not path.is_file()
        or path.stat().st_size != entry.size
    ):
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == stated[2]


def _strangers(target: Path, names: set[str]) -> list[Path]:
    files = [path for path in target.rglob("*") if path.is_file() or path.is_symlink()]
    return [path for path in files if path.relative_to(target).as_posix() not in names and path.name != STATE]


def _fetch(store: S3Store, entry: Listed, target: Path) -> str:
    path = target / entry.key
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, scratch = tempfile.mkstemp(prefix=SCRATCH, dir=path.parent)
        os.close(descriptor)
        try:
            sha = store.download(entry, Path(scratch))
            os.replace(scratch, path)
        finally:
            Path(scratch).unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written ({error.strerror}); free some space, or set {FOLDER} to another folder"
        ) from error
    return sha


def _save(target: Path, kept: dict[str, Any]) -> None:
    descriptor, scratch = tempfile.mkstemp(prefix=SCRATCH, dir=target)
    with open(descriptor, "w") as file:
        json.dump(kept, file)
    os.replace(scratch, target / STATE)
