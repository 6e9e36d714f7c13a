"""MNIST's IDX files, gzipped or not: ``<part>-images-idx3-ubyte`` and ``<part>-labels-idx1-ubyte``."""

import gzip
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

import numpy as np

from zooaudit.data.arrays import Arrays
from zooaudit.data.classes import Targets
from zooaudit.data.copies import Sink
from zooaudit.data.decode import refuse_too_much
from zooaudit.data.messages import guard
from zooaudit.data.stored import READ_ON, Rows, Stored, copied
from zooaudit.errors import DataError

T = TypeVar("T")
HEADER = 4
"""Bytes of the magic number; four bytes for every axis follow."""
FMNIST_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def has_idx(folder: Path) -> bool:
    return _idx_path(folder, "train-images") is not None


def read_idx(folder: Path, part: str) -> Arrays:
    """Read ``part`` of the four files, ``train`` or ``t10k``; of the images only the header for now."""
    found = []
    for kind, magic in (("images", 2051), ("labels", 2049)):
        path = _idx_path(folder, f"{part}-{kind}")
        if path is None:
            raise DataError(f"{folder} has no {part}-{kind}-idx*-ubyte[.gz]; expected MNIST's four IDX files")
        found.append(_stored(path, magic))
    images, labels = found[0], found[1].load()
    if not len(labels):
        raise DataError(f"{folder} holds no images in {part}")
    if len(images) != len(labels):
        raise DataError(
            f"{folder}: {part} labels have shape {labels.shape}; expected int64 [{len(images)}], one per"
            " image"
        )
    return Arrays(
        str(folder),
        images,
        Targets(labels.astype(np.int64).tolist(), FMNIST_CLASSES if int(labels.max()) == 9 else ()),
    )


def _idx_path(folder: Path, stem: str) -> Path | None:
    return next(iter(sorted(folder.glob(f"{stem}-idx?-ubyte*"))), None)


def _stored(path: Path, magic: int) -> Stored:
    shape = _opened(path, lambda file: _header(file, path, magic))
    size = int(np.prod(shape, dtype=object))

    def rows(cache: Path) -> Rows:
        if path.suffix == ".gz":
            copy = copied(path, "IDX", str(path), size, partial(_unpack, path, magic), cache)
            return Rows(str(path), shape, np.dtype(np.uint8), copy, 0, (str(path),), "IDX")
        start = HEADER + 4 * len(shape)
        _check_length(path, shape, path.stat().st_size - start)
        return Rows(str(path), shape, np.dtype(np.uint8), str(path), start, (str(path),), "")

    return Stored(
        shape, np.dtype(np.uint8), lambda: _opened(path, lambda file: _read(file, path, magic)), rows
    )


def _opened(path: Path, read: Callable[[BinaryIO], T]) -> T:
    def parsed(p: Path) -> T:
        with gzip.open(p) if p.suffix == ".gz" else p.open("rb") as file:
            try:
                return read(cast(BinaryIO, file))
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise DataError(f"{p}: not a readable IDX file ({error}); fetch or write it again") from error

    return guard(path, "IDX", parsed)


def _header(file: BinaryIO, path: Path, magic: int) -> tuple[int, ...]:
    start = file.read(HEADER)
    found = int.from_bytes(start, "big")
    if found != magic:
        raise DataError(f"{path} starts with {found}; expected the IDX magic number {magic}")
    sizes = file.read(4 * start[3])
    shape = tuple(int.from_bytes(sizes[i : i + 4], "big") for i in range(0, len(sizes) - len(sizes) % 4, 4))
    if len(sizes) < 4 * start[3]:
        _check_length(path, shape, 0, whole=False)
    return shape


def _check_length(path: Path, shape: tuple[int, ...], found: int, whole: bool = True) -> None:
    size = int(np.prod(shape, dtype=object))
    if found != size or not whole:
        more = "at least " if found > size else ""
        raise DataError(
            f"{path} holds {more}{min(found, size + 1)} bytes; its header says {shape}: the file is cut"
            " short, fetch it again"
        )


def _read(file: BinaryIO, path: Path, magic: int) -> np.ndarray:
    """Read as much as the header says, and one byte more to see that nothing follows."""
    shape = _header(file, path, magic)
    size = int(np.prod(shape, dtype=object))
    refuse_too_much(size, f"{path}: {shape} bytes")
    body = file.read(size + 1)
    _check_length(path, shape, len(body))
    return np.frombuffer(bytearray(body), np.uint8).reshape(shape)


def _unpack(path: Path, magic: int, sink: Sink) -> None:
    """As :func:`_read`, but write the content without the header to a file."""

    def write(file: BinaryIO) -> None:
        shape = _header(file, path, magic)
        left = int(np.prod(shape, dtype=object)) + 1
        while block := file.read(min(READ_ON, left)):
            left -= len(block)
            if not left:
                break
            sink.write(block)
        _check_length(path, shape, int(np.prod(shape, dtype=object)) + 1 - left)

    _opened(path, write)
