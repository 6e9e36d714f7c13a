"""CIFAR-10 in its authors' binary version; the Python version, which torchvision downloads, consists of
pickles and is refused.

A restricted unpickler would still run the file's own program on whatever it allows; the binary version holds
the same data and needs no trust.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zooaudit.data.arrays import Arrays
from zooaudit.data.classes import Targets
from zooaudit.data.decode import refuse_too_much
from zooaudit.data.stored import Stored
from zooaudit.errors import DataError

BINARY, PICKLED = "cifar-10-batches-bin", "cifar-10-batches-py"
URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
"""MD5 of the archive, as its authors state it."""
TRAIN = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
TEST = ("test_batch.bin",)
NAMES = "batches.meta.txt"
FILES = (*TRAIN, *TEST, NAMES)
IMAGE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32
"""Bytes of a record: a label, then the red, green and blue planes, row by row."""


def find_cifar(folder: Path) -> Path | None:
    """``folder``, or the folder in it, that holds the binary files; None if this is not CIFAR-10.

    Raises:
        DataError: only the pickled version is there.
    """
    for place in (folder, folder / BINARY):
        if any((place / name).is_file() for name in (*TRAIN, *TEST)):
            return place
    for place in (folder, folder / PICKLED):
        if (place / "data_batch_1").is_file() or (place / "batches.meta").is_file():
            raise DataError(
                f"{place} is CIFAR-10's Python version: pickles, which can run code and are never opened."
                f" Expected the binary version, {URL}, unpacked to {BINARY}; or convert it where you trust"
                " it: numpy.savez of train.npz and test.npz with images=data.reshape(-1, 3, 32, 32) and"
                " labels"
            )
    return None


def read_cifar(folder: Path) -> tuple[Arrays, Arrays]:
    """Read training and test images from a folder with the five training batches, the test batch and the
    names of the classes."""
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        raise DataError(
            f"{folder} lacks {', '.join(missing)}; expected all files of CIFAR-10's binary version: unpack it"
            " again"
        )
    refuse_too_much(
        2 * sum((folder / name).stat().st_size for name in FILES),
        f"{folder}: its images, twice while they are put together,",
    )
    classes = tuple((folder / NAMES).read_text().split())
    parts = []
    for names in (TRAIN, TEST):
        batches = [_batch(folder / name, len(classes)) for name in names]
        images, labels = (torch.cat(tensors) for tensors in zip(*batches, strict=True))
        parts.append(Arrays(str(folder), Stored.held(images.numpy()), Targets(labels.tolist(), classes)))
    return parts[0], parts[1]


def _batch(path: Path, classes: int) -> tuple[Tensor, Tensor]:
    raw = np.fromfile(path, np.uint8)
    if raw.size == 0 or raw.size % RECORD:
        raise DataError(
            f"{path} holds {raw.size:,} bytes; expected records of {RECORD:,}: it is cut short or not"
            " CIFAR-10, fetch it again"
        )
    records = torch.from_numpy(raw.reshape(-1, RECORD))
    labels = records[:, 0].long()
    if int(labels.max()) >= classes:
        row = int((labels >= classes).nonzero()[0])
        raise DataError(
            f"{path} record {row} has label {int(labels[row])}; expected 0 to {classes - 1} for the {classes}"
            f" names in {NAMES}"
        )
    return records[:, 1:].reshape(-1, *IMAGE), labels
