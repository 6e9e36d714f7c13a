"""A local copy of what was read from a remote store: content named by its SHA-256 never changes, so it is
read once.

Only ``objects/`` is cached, never a manifest: only the store knows whether an artifact exists, and which
content it names. Several processes share a folder: an entry gets its name when it is complete, and is trusted
only if its SHA-256 is right.
"""

import contextlib
import hashlib
import logging
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from zooaudit.data.places import default_cache
from zooaudit.errors import first_line
from zooaudit.storage.port import Store, check_size
from zooaudit.storage.settings import env_number

FOLDER = "ZOOAUDIT_STORE_CACHE"
SIZE = "ZOOAUDIT_STORE_CACHE_GIB"
DEFAULT_GIB = 4.0
KEY = re.compile(r"objects/[0-9a-f]{2}/[0-9a-f]{64}")
ENTRY = re.compile(r"[0-9a-f]{64}|\.partial-.*")
SCRATCH = ".partial-"
BEING_WRITTEN_S = 600.0
LOOK_EVERY = 16
"""The folder is measured whenever this process has added this fraction of its size limit."""
KEPT_SHARE = 0.9
"""The fraction of the size limit that stays after the least recently used entries were removed."""

log = logging.getLogger(__name__)


def cached(store: Store) -> Store:
    """``store`` behind a cache in the user's cache folder; ``store`` itself if ZOOAUDIT_STORE_CACHE_GIB is 0.

    Raises:
        InputError: the variable is not a size.
    """
    size = int(env_number(SIZE, DEFAULT_GIB, "GiB, or 0 for no cache", zero=True) * 2**30)
    return CachedStore(store, Path(os.environ.get(FOLDER) or default_cache()), size) if size else store


class CachedStore:
    """The store interface on another store, with content cached in a local folder.

    A folder that cannot be used costs time, not the run: that is reported once, and the store is read without
    it.

    Args:
        behind: the store itself; ask there for anything that must not come from the cache.
        folder: where ``objects`` is created when first needed, readable by this user only.
        size: limit for all entries together, in bytes; the least recently used are removed first.
    """

    def __init__(self, behind: Store, folder: Path, size: int) -> None:
        self.behind = behind
        self._folder, self._size = folder / "objects", size
        self._added = size  # so that a process's first entry measures the folder
        self._usable = True

    @property
    def url(self) -> str:
        return self.behind.url

    def create(self, key: str, content: bytes) -> bool:
        made = self.behind.create(key, content)
        if made:
            self._keep(key, content)
        return made

    def read(self, key: str, most: int | None = None) -> bytes:
        content = self._kept(key)
        if content is None:
            content = self.behind.read(key, most)
            self._keep(key, content)
        check_size(self.url, key, len(content), most)
        return content

    def exists(self, key: str) -> bool:
        return self.behind.exists(key)

    def keys(self, prefix: str) -> Iterator[str]:
        return self.behind.keys(prefix)

    def age_s(self, key: str) -> float:
        return self.behind.age_s(key)

    def delete(self, key: str) -> None:
        self.behind.delete(key)
        self._forget(key)

    def move(self, key: str, to: str) -> None:
        self.behind.move(key, to)
        self._forget(key)

    def _forget(self, key: str) -> None:
        if KEY.fullmatch(key):
            with self._reported_once():
                self._path(key).unlink(missing_ok=True)

    def _kept(self, key: str) -> bytes | None:
        """The cached content, if its SHA-256 matches its name; damaged content is dropped."""
        if not KEY.fullmatch(key):
            return None
        path = self._path(key)
        with self._reported_once():
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                return None
            if _is_named_by(key, content):
                # Removed by another process meanwhile, or not writable by us: the content is still valid.
                with contextlib.suppress(OSError):
                    os.utime(path)
                return content
            path.unlink(missing_ok=True)
        return None

    def _keep(self, key: str, content: bytes) -> None:
        if not (
            self._usable and KEY.fullmatch(key) and len(content) <= self._size and _is_named_by(key, content)
        ):
            return
        with self._reported_once():
            path = self._path(key)
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.parent.mkdir(exist_ok=True)
            self._make_room(len(content))
            descriptor, scratch = tempfile.mkstemp(prefix=SCRATCH, dir=path.parent)
            try:
                with open(descriptor, "wb") as file:
                    file.write(content)
                os.replace(scratch, path)
            except BaseException:
                Path(scratch).unlink(missing_ok=True)
                raise

    def _make_room(self, size: int) -> None:
        """If the folder is over its size, remove the least recently used entries, including files that killed
        processes left half written."""
        self._added += size
        if self._added * LOOK_EVERY < self._size:
            return
        self._added = 0
        entries = sorted(self._entries())
        total = sum(bytes_ for _, bytes_, _ in entries) + size
        if total <= self._size:
            return
        for _, bytes_, path in entries:
            if total <= self._size * KEPT_SHARE:
                break
            Path(path).unlink(missing_ok=True)
            total -= bytes_

    def _entries(self) -> Iterator[tuple[int, int, str]]:
        """Time of last use, size and path of each of our files."""
        for part in os.scandir(self._folder):
            for entry in os.scandir(part.path):
                if not ENTRY.fullmatch(entry.name):
                    continue
                with contextlib.suppress(FileNotFoundError):  # another process may have removed it
                    found = entry.stat()
                    if entry.name.startswith(SCRATCH) and time.time() - found.st_mtime < BEING_WRITTEN_S:
                        continue  # another process is writing it
                    yield found.st_mtime_ns, found.st_size, entry.path

    def _path(self, key: str) -> Path:
        return self._folder / key.removeprefix("objects/")

    @contextlib.contextmanager
    def _reported_once(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if self._usable:
                log.warning(
                    "the cache %s cannot be used (%s): reading without it; see %s",
                    self._folder,
                    first_line(error),
                    FOLDER,
                )
            self._usable = False


def _is_named_by(key: str, content: bytes) -> bool:
    return key.rpartition("/")[2] == hashlib.sha256(content).hexdigest()
