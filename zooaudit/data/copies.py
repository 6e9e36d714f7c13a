"""Files in the cache that one pass over a user's data makes, for reading by place: whole,
or not there at all.

Parquet, compressed ``.npz`` and gzip can only be read from the front. What they hold is written out once, as
it comes, and read by place from then on, also by later runs. A machine of a cluster whose cache lacks the
file makes it for itself, and must get the same.
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
"""Folder of these files in the cache."""
MAGIC = b"zooaudit copy 1\n"
END = struct.Struct("<16sQ32s")
"""What a file ends with: the magic, how many bytes come before, and their SHA-256."""
CHECKED_EVERY = 64 * 2**20
RATIO, LARGE = 200, 2**30
"""Images hardly shrink; what grows by more than that, and is large, is refused."""
LEFT_FREE = 2**28
"""Bytes of the disk that are never filled."""


class Sink:
    """What takes the bytes of a file as they come; it stops before the disk is full.

    Args:
        most: bytes; more are refused.
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
    """Such a file.

    Attributes:
        path: where it lies in the cache.
        where: the user's data that it is made from, for errors.
        write: writes what it holds; can be sent to other processes.
        most: bytes that it may have.
        size, sha: bytes that it has, and their SHA-256; of one that is made.
    """

    path: Path
    where: str
    write: Write = field(compare=False)
    most: int
    size: int = -1
    sha: str = ""

    def made(self) -> "Copy":
        """The same, after it was written if it was not there.

        Raises:
            DataError: the data cannot be read, or there is no room for it.
        """
        with self._faults():
            if _end(self.path) is None:
                self._make()
            found = _end(self.path)
        if found is None or (self.sha and (self.size, self.sha) != found):
            raise DataError(
                f"{self.where} holds other data here than where it was read first; expected the same on every"
                " machine"
            )
        return replace(self, size=found[0], sha=found[1])

    def read(self, start: int, size: int) -> bytes:
        """So many bytes from there on."""
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
        # Whoever comes second waits, and finds it made.
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
                f"{self.path} cannot be written or read ({error.strerror}); expected a place for what"
                f" {self.where} holds: set ZOOAUDIT_CACHE to another folder, on a disk with room for it"
            ) from error


@functools.cache
def _opened(path: Path, size: int, sha: str) -> int:
    if _end(path) != (size, sha):
        raise FileNotFoundError(path)
    return os.open(path, os.O_RDONLY)


def _end(path: Path) -> tuple[int, str] | None:
    """Size and SHA-256 that a whole file states of what it holds; None if there is none, or
    it is not whole."""
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
    """Other files, or files of other times, have another copy."""
    sha = hashlib.sha256(key.encode())
    for path in paths:
        found = os.stat(path)
        sha.update(f"{os.path.abspath(path)} {found.st_size} {found.st_mtime_ns}\n".encode())
    return sha.hexdigest()[:24]


def check_space(folder: Path, needed: int, where: str) -> None:
    """Refuse what the disk has no room for.

    Raises:
        DataError: ``needed`` bytes more do not fit.
    """
    place = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(place).free
    if needed + LEFT_FREE > free:
        raise DataError(
            f"{where} is too large for memory, and what it holds is written to {folder}, which has"
            f" {free / 1e9:.1f} GB left; expected room for {needed / 1e9:.1f} GB more: set ZOOAUDIT_CACHE to"
            " a folder on a larger disk"
        )
