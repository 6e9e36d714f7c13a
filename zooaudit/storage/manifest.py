"""Manifests: anybody who can write a store or a pack can write one, so nothing in it is used before it was
checked here.

Names in it become file names, digests become keys, sizes become memory: a name is one plain word, a digest 64
lower-case hex digits.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from zooaudit.config import canonical_json
from zooaudit.errors import InputError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
MANIFEST = re.compile(rf"manifests/({NAME.pattern})/({NAME.pattern})\.json")
"""Keys of manifests: kind and id."""
SHA256 = re.compile(r"[0-9a-f]{64}")
FORMATS = {"kit": 2, "evidence": 2}
"""By kind of artifact: the format of its files and metadata; 1 for kinds that are not listed. Raise a number
when older artifacts can no longer be read: they are then refused."""
REMEDIES = {
    "kit": "make it again by 'zooaudit audit' with the same recipe and store, which trains nothing",
    "evidence": "score again",
}
MOST_BYTES = 64 * 2**20
"""The largest manifest: the largest kits' have a few MiB."""
MOST_FILES = 10_000
MOST_FILE_BYTES = 2**44


@dataclass(frozen=True)
class Manifest:
    """A manifest that was checked.

    Attributes:
        files: by name: ``sha256`` and ``bytes`` of the content.
        digest: SHA-256 of everything else in it.
        format: of files and metadata; see ``FORMATS``.
        code: the version of zooaudit that wrote it.
    """

    meta: dict[str, Any]
    files: dict[str, dict[str, Any]]
    digest: str
    format: int
    code: str


def read_manifest(raw: bytes, kind: str, id_: str) -> Manifest:
    """Check the manifest of ``kind`` and ``id_``.

    Raises:
        ValueError: it is not a manifest, or holds something that zooaudit never writes; says what.
    """
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON that can be read: {str(error).splitlines()[0][:200]}") from error
    if not isinstance(data, dict):
        raise ValueError(f"it holds a {type(data).__name__}; expected a JSON object")
    stated = data.pop("sha256", None)
    if not is_sha256(stated) or _digest(data) != stated:
        raise ValueError("it does not match its own SHA-256")
    if (data.get("kind"), data.get("id")) != (kind, id_):
        raise ValueError(
            f"it is for {_short(data.get('kind'))} {_short(data.get('id'))}; expected {kind} {id_}"
        )
    meta = data.get("meta")
    if not isinstance(meta, dict):
        raise ValueError(f"its meta is {_short(meta)}; expected an object")
    format_ = data.get("format")
    if type(format_) is not int:
        raise ValueError(f"its format is {_short(format_)}; expected a whole number")
    return Manifest(meta, _files(data.get("files")), stated, format_, str(data.get("code"))[:40])


def format_of(kind: str) -> int:
    """The format in which this version writes and reads artifacts of a kind."""
    return FORMATS.get(kind, 1)


def _files(found: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(found, dict) or len(found) > MOST_FILES:
        raise ValueError(
            f"its files are {_short(found)}; expected an object with {MOST_FILES:,} names at most"
        )
    for name, entry in found.items():
        if not NAME.fullmatch(name):
            raise ValueError(
                f"it names the file {_short(name)}; expected a plain name of letters, digits, '.', '_'"
                " and '-'"
            )
        if not isinstance(entry, dict) or not is_sha256(entry.get("sha256")):
            raise ValueError(f"the SHA-256 of {name} is {_short(entry)}; expected 64 lower-case hex digits")
        size = entry.get("bytes")
        if type(size) is not int or not 0 <= size <= MOST_FILE_BYTES:
            raise ValueError(f"the size of {name} is {_short(size)}; expected a number of bytes")
    return found


def is_sha256(value: object) -> bool:
    """Whether a value is a SHA-256 as we write it."""
    return isinstance(value, str) and SHA256.fullmatch(value) is not None


def check_name(name: str) -> str:
    """Return ``name`` if it can name an artifact: letters, digits, ``.``, ``_``, ``-``; at most 200.

    Raises:
        InputError: it cannot.
    """
    if not NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot name a run or artifact; use letters, digits, '.', '_' and '-', at most 200, not"
            " starting with a sign"
        )
    return name


def digest_of_body(body: dict[str, Any]) -> str:
    """SHA-256 of a manifest without the line that states it."""
    return hashlib.sha256(canonical_json(body).encode()).hexdigest()


def _digest(body: dict[str, Any]) -> str:
    """The same for a stranger's manifest; "" if it holds values that JSON cannot have."""
    try:
        return digest_of_body(body)
    except (ValueError, TypeError, RecursionError):
        return ""


def _short(value: object) -> str:
    return repr(value)[:80]
