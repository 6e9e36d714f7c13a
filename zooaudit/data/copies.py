"""Cached copies of a user's data for reading at any position. A copy is complete, or does not exist.

Parquet, compressed ``.npz`` and gzip can be read only from the front. So their content is written out once,
and read by position from then on, also by later runs. A machine of a cluster whose cache lacks the file makes
it itself, and must get the same content.
"""

import contextlib
import fcntl
import functools
import hashlib
import os
import shutil
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from zooaudit.errors import DataError

KEPT = "encoded"
"""The folder of these files in the cache."""
MAGIC = b"zooaudit copy 1\n"
END = struct.Struct("<16sQ32s")
"""The end of a file: the magic, the number of bytes before it, and their SHA-256."""
CHECKED_EVERY = 64 * 2**20
RATIO, LARGE = 200, 2**30
"""Images hardly compress; a large file that grows by more than this factor is refused."""
LEFT_FREE = 2**28
"""Bytes of the disk that stay free."""


class Sink:
    """Receives the bytes of a file; stops before the disk is full.

    Args:
        most: limit in bytes.
    """

    def __init__(self, file: BinaryIO, where: str, most: int) -> None:
        self._file, self._where, self._most = file, where, most
        self._sha = hashlib.sha256()
        self._checked = 0
        self.size = 0

    def write(self, raw: bytes) -> None:
        self.size += len(raw)
        if self.size > self._most:
            raise DataError(
                f"{self._where} holds more than {self._most / 2**30:,.1f} GiB unpacked, as no images of a"
                " file of this size do; expected less: give the images as files"
            )
        if self.size >= self._checked:
            self._checked = self.size + CHECKED_EVERY
            check_space(Path(self._file.name).parent, CHECKED_EVERY + len(raw), self._where)
        self._sha.update(raw)
        self._file.write(raw)

    def end(self) -> None:
        self._file.write(END.pack(MAGIC, self.size, self._sha.digest()))
        self._file.flush()
        os.fsync(self._file.fileno())


Write = Callable[[Sink], None]


@dataclass(frozen=True)
class Copy:
    """A cached copy.

    Attributes:
        path: in the cache.
        where: the user's data that it is made from, for errors.
        write: writes its content; picklable.
        most: limit in bytes.
        size, sha: its bytes and their SHA-256, once it is made.
    """

    path: Path
    where: str
    write: Write = field(compare=False)
    most: int
    size: int = -1
    sha: str = ""

    def made(self) -> "Copy":
        """Write it if it is missing; returns it with ``size`` and ``sha``.

        Raises:
            DataError: the data cannot be read, or the disk is full.
        """
        with self._faults():
            if _end(self.path) is None:
                self._make()
            found = _end(self.path)
        if found is None or (self.sha and (self.size, self.sha) != found):
            raise DataError(
                f"{self.where} holds other data here than where it was first read; expected the same on every"
                " machine"
            )
        return replace(self, size=found[0], sha=found[1])

    def read(self, start: int, size: int) -> bytes:
        """Read ``size`` bytes from ``start``."""
        with self._faults():
            try:
                file = _opened(self.path, self.size, self.sha)
            except FileNotFoundError:  # another machine, or the cache was emptied
                self.made()
                file = _opened(self.path, self.size, self.sha)
            raw = os.pread(file, size, start)
        if len(raw) != size:
            raise DataError(
                f"{self.path} was cut short; expected what was made of {self.where}: delete it, it is made"
                " again"
            )
        return raw

    def _make(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # A second process waits here, and then finds it made.
        with open(self.path.with_name(self.path.name + ".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if _end(self.path) is not None:
                return
            scratch = self.path.with_name(self.path.name + ".part")
            try:
                with scratch.open("wb") as file:
                    sink = Sink(file, self.where, self.most)
                    self.write(sink)
                    sink.end()
                os.replace(scratch, self.path)
            finally:
                scratch.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(
                f"{self.path} cannot be written or read ({error.strerror}); expected a folder for a copy of"
                f" {self.where}: set ZOOAUDIT_CACHE to another folder, on a disk with enough space"
            ) from error


@functools.cache
def _opened(path: Path, size: int, sha: str) -> int:
    if _end(path) != (size, sha):
        raise FileNotFoundError(path)
    return os.open(path, os.O_RDONLY)


def _end(path: Path) -> tuple[int, str] | None:
    """The content's size and SHA-256 as a complete file states them; None if there is none, or it is not
    complete."""
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        size = file.seek(0, os.SEEK_END) - END.size
        file.seek(max(0, size))
        raw = file.read()
        if len(raw) == END.size:
            magic, stated, sha = END.unpack(raw)
            if magic == MAGIC and stated == size:
                return size, str(sha.hex())
    return None


def copy_name(paths: Sequence[str], key: str) -> str:
    """A name that changes with the files and their times."""
    sha = hashlib.sha256(key.encode())
    for path in paths:
        found = os.stat(path)
        sha.update(f"{os.path.abspath(path)} {found.st_size} {found.st_mtime_ns}\n".encode())
    return sha.hexdigest()[:24]


def check_space(folder: Path, needed: int, where: str) -> None:
    """Refuse data that does not fit on the disk.

    Raises:
        DataError: there is no space for ``needed`` more bytes.
    """
    place = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(place).free
    if needed + LEFT_FREE > free:
        raise DataError(
            f"{where} is too large for memory, so its content is written to {folder}, which has"
            f" {free / 1e9:.1f} GB left; expected {needed / 1e9:.1f} GB more: set ZOOAUDIT_CACHE to a folder"
            " on a larger disk"
        )
