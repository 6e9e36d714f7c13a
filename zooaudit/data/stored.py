"""Arrays in files before they are read: their shape and type; then whole if they fit in memory, or a few
images at a time.

A few at a time are read instead of mapped: if somebody shortens a mapped file, the process dies; and mapped
pages that were touched count as memory.
"""

import functools
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from zooaudit.data.copies import KEPT, Copy, Sink, check_space, copy_name
from zooaudit.data.decode import refuse_too_much
from zooaudit.data.messages import guard
from zooaudit.errors import DataError

BLOCK = 32 * 2**20
"""How many bytes are read at a time."""
READ_ON = 2**20


@dataclass(frozen=True)
class Rows:
    """Images of an array by number, as the bytes of their numbers: an
    :class:`~zooaudit.data.encoded.Encoded`.

    Attributes:
        where: the array's name in errors.
        shape: of the whole array, ``[n, ...]``.
        source: the user's file, or a copy of its content.
        start: where the numbers begin in it, in C order.
        paths, key: the user's file, and which array in it.
    """

    where: str
    shape: tuple[int, ...]
    dtype: np.dtype
    source: str | Copy
    start: int
    paths: tuple[str, ...]
    key: str

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def row_bytes(self) -> int:
        return int(np.prod(self.shape[1:], dtype=object)) * self.dtype.itemsize

    def read(self, index: int) -> tuple[bytes, str]:
        """The numbers of one image, and its name for errors."""
        return self._bytes(index, index + 1), f"{self.where}: image {index}"

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """All images in blocks, each with the number of its first."""
        step = max(1, BLOCK // max(1, self.row_bytes))
        for first in range(0, len(self), step):
            last = min(len(self), first + step)
            yield (
                first,
                np.frombuffer(bytearray(self._bytes(first, last)), self.dtype).reshape(
                    last - first, *self.shape[1:]
                ),
            )

    def _bytes(self, first: int, last: int) -> bytes:
        start, size = self.start + first * self.row_bytes, (last - first) * self.row_bytes
        return (
            self.source.read(start, size)
            if isinstance(self.source, Copy)
            else _pread(self.source, start, size)
        )


def _pread(path: str, start: int, size: int) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            raw = os.pread(file.fileno(), size, start)
    except OSError as error:
        raise DataError(
            f"{path} can no longer be read ({error.strerror}); expected the data to stay as it was"
        ) from error
    if len(raw) != size:
        raise DataError(f"{path} is shorter than when it was read first; expected the data to stay as it was")
    return raw


@dataclass(frozen=True)
class Stored:
    """An array in a file.

    Attributes:
        load: reads it whole into memory.
        rows: opens it by row, given the cache folder; None if it can only be read whole.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    load: Callable[[], np.ndarray]
    rows: Callable[[Path], Rows] | None

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize

    @staticmethod
    def held(array: np.ndarray) -> "Stored":
        return Stored(array.shape, array.dtype, lambda: array, None)


@dataclass(frozen=True)
class Header:
    """What the start of a ``.npy`` says, and where its numbers begin."""

    shape: tuple[int, ...]
    dtype: np.dtype
    by_column: bool
    start: int

    @property
    def order(self) -> str:
        """Why it has to be read whole; "" if it can be read by row."""
        return (
            " (column by column, Fortran order: saved in C order, with numpy.ascontiguousarray, it could be"
            " left on disk)" * self.by_column
        )


def read_header(file: IO[bytes], size: int, where: str) -> Header:
    """Read a header whose array must fill the file: a header that claims more would make us allocate that
    memory."""
    version = npy.read_magic(file)
    header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, by_column, dtype = header(file)
    if dtype.hasobject:
        raise ValueError(
            f"{where.rpartition(': ')[2]} holds Python objects, which would have to be unpickled: never done"
        )
    stated = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if stated != size - file.tell():
        raise ValueError(
            f"{where.rpartition(': ')[2]}: its header says {stated:,} bytes of {dtype} {shape}, but there are"
            f" {size - file.tell():,}"
        )
    return Header(tuple(shape), dtype, by_column, file.tell())


def in_npy(path: Path) -> Stored:
    """The array of a ``.npy``.

    Raises:
        DataError: not a ``.npy``, or it holds Python objects.
    """

    def header(p: Path) -> Header:
        with p.open("rb") as file:
            return read_header(file, p.stat().st_size, str(p))

    def whole(p: Path) -> np.ndarray:
        with p.open("rb") as file:
            refuse_too_much(p.stat().st_size, f"{p}: its numbers" + found.order)
            return np.asarray(npy.read_array(file, allow_pickle=False))

    found = guard(path, ".npy", header)

    def rows(_: Path) -> Rows:
        return Rows(str(path), found.shape, found.dtype, str(path), found.start, (str(path),), "")

    return Stored(
        found.shape, found.dtype, lambda: guard(path, ".npy", whole), None if found.by_column else rows
    )


def in_npz(path: Path, name: str) -> Stored:
    """One array of a ``.npz``; errors as for :func:`in_npy`."""
    member = f"{name}.npy"

    def header(p: Path) -> tuple[Header, int]:
        with zipfile.ZipFile(p) as archive, archive.open(member) as file:
            size = archive.getinfo(member).file_size
            return read_header(file, size, f"{p}: {name}"), size

    def whole(p: Path) -> np.ndarray:
        refuse_too_much(size, f"{p}: the numbers of {name}" + found.order)
        with zipfile.ZipFile(p) as archive, archive.open(member) as file:
            return np.asarray(npy.read_array(file, allow_pickle=False))

    found, size = guard(path, ".npz", header)

    def rows(cache: Path) -> Rows:
        where = f"{path}: {name}"
        copy = copied(path, name, where, size, functools.partial(_unpack_member, path, member), cache)
        return Rows(where, found.shape, found.dtype, copy, found.start, (str(path),), name)

    return Stored(
        found.shape, found.dtype, lambda: guard(path, ".npz", whole), None if found.by_column else rows
    )


def copied(path: Path, key: str, where: str, size: int, write: Callable[[Sink], None], cache: Path) -> Copy:
    copy = Copy(cache / KEPT / copy_name((str(path),), key), where, write, size)
    if not copy.path.exists():
        check_space(copy.path.parent, size, where)
    return copy.made()


def _unpack_member(path: Path, member: str, sink: Sink) -> None:
    """Read to the end, where the CRC is checked."""

    def read(p: Path) -> None:
        with zipfile.ZipFile(p) as archive, archive.open(member) as file:
            while block := file.read(READ_ON):
                sink.write(block)

    guard(path, ".npz", read)
