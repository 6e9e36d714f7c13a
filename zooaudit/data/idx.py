"""MNIST's IDX files, gzipped or not: ``<part>-images-idx3-ubyte`` and ``<part>-labels-idx1-ubyte``."""

import gzip
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from zooaudit.data.arrays import Arrays
from zooaudit.data.classes import Targets
from zooaudit.data.decode import refuse_too_much
from zooaudit.data.words import guard
from zooaudit.errors import DataError

FMNIST_CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def has_idx(folder: Path) -> bool:
    return _idx_path(folder, "train-images") is not None


def read_idx(folder: Path, part: str) -> Arrays:
    """``part`` of the four files: ``train`` or ``t10k``."""
    arrays = []
    for kind, magic in (("images", 2051), ("labels", 2049)):
        path = _idx_path(folder, f"{part}-{kind}")
        if path is None:
            raise DataError(f"{folder} has no {part}-{kind}-idx*-ubyte[.gz]; expected MNIST's four IDX files")
        arrays.append(_read_idx_file(path, magic))
    images, labels = arrays
    if not len(labels):
        raise DataError(f"{folder} holds no images in {part}")
    if len(images) != len(labels):
        raise DataError(f"{folder}: {part} labels have shape {labels.shape}; expected int64 [{len(images)}], one per image")
    return Arrays(str(folder), images, Targets(labels.astype(np.int64).tolist(), FMNIST_CLASSES if int(labels.max()) == 9 else ()))


def _idx_path(folder: Path, stem: str) -> Path | None:
    return next(iter(sorted(folder.glob(f"{stem}-idx?-ubyte*"))), None)


def _read_idx_file(path: Path, magic: int) -> np.ndarray:
    return guard(path, "IDX", lambda p: _parsed(p, magic))


def _parsed(path: Path, magic: int) -> np.ndarray:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        try:
            return _read(cast(BinaryIO, file), path, magic)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{path}: not a readable IDX file ({error}); fetch or write it again") from error


def _read(file: BinaryIO, path: Path, magic: int) -> np.ndarray:
    """No more than the header says, and one byte to see that there is no more."""
    start = file.read(4)
    found = int.from_bytes(start, "big")
    if found != magic:
        raise DataError(f"{path} starts with {found}; expected the IDX magic number {magic}")
    sizes = file.read(4 * start[3])
    shape = tuple(int.from_bytes(sizes[i : i + 4], "big") for i in range(0, len(sizes) - len(sizes) % 4, 4))
    size = int(np.prod(shape, dtype=object))
    refuse_too_much(size, f"{path}: {shape} bytes")
    body = file.read(size + 1)
    if len(sizes) < 4 * start[3] or len(body) != size:
        more = "at least " if len(body) > size else ""
        raise DataError(f"{path} holds {more}{len(body)} bytes; its header says {shape}: the file is cut short, fetch it again")
    return np.frombuffer(bytearray(body), np.uint8).reshape(shape)
