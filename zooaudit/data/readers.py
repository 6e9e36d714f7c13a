"""Readers for images that users have: class folders, Parquet (Hugging Face image convention), .npz, IDX; and by their own
modules CIFAR-10 and TinyImageNet as they are published.

Each returns ``(images, labels, classes)``: uint8 ``[n, c, h, w]``, int64 ``[n]`` and class names. A file that cannot be used raises
:class:`~zooaudit.errors.DataError` naming the file, the row where there is one, what was found and what was expected.
"""

import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from zooaudit.data.cifar import find_cifar, read_cifar
from zooaudit.data.decode import Labelled, decode_all, guard, short
from zooaudit.data.images import Dataset, ImageSet
from zooaudit.data.tiny_imagenet import find_tiny_imagenet, read_tiny_imagenet
from zooaudit.errors import DataError

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
TRAIN_NAMES = ("train", "training")
TEST_NAMES = ("test", "val", "valid", "validation")


def read_dataset(folder: Path, name: str) -> Dataset:
    """Read a user's data folder: for each of train and test a class folder, a Parquet file or folder, an .npz, or IDX files; or
    CIFAR-10's binary version, or the tiny-imagenet-200 folder."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; expected one with train and test inside")
    if _idx_path(folder, "train-images"):
        train, test = read_idx(folder, "train"), read_idx(folder, "t10k")
    elif cifar := find_cifar(folder):
        train, test = read_cifar(cifar)
    elif tiny := find_tiny_imagenet(folder):
        train, test = read_tiny_imagenet(tiny)
    else:
        train, test = _read_part(folder, TRAIN_NAMES), _read_part(folder, TEST_NAMES)
    if train[2] != test[2]:
        raise DataError(f"{folder}: train has classes {short(train[2])}, test has {short(test[2])}; expected the same")
    return Dataset(name, ImageSet(*train[:2]), ImageSet(*test[:2]), train[2], str(folder))


def _read_part(folder: Path, names: Iterable[str]) -> Labelled:
    found = sorted(p.name for p in folder.iterdir())
    for name in names:
        if (folder / f"{name}.npz").is_file():
            return read_npz(folder / f"{name}.npz")
        parquet = sorted(folder.glob(f"{name}*.parquet")) or sorted((folder / name).glob("*.parquet"))
        if parquet:
            return read_parquet(parquet)
        if (folder / name).is_dir():
            return read_class_folder(folder / name)
    first = next(iter(names))
    raise DataError(
        f"{folder} holds {short(found)}; expected {first}.npz, {first}*.parquet, {first}/ with a folder per class, IDX files, "
        "CIFAR-10's binary version, or tiny-imagenet-200"
    )


def _of_the_system(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def images_in(folder: Path) -> list[Path]:
    """The image files of a folder, at any depth, in order; what is hidden or the system's own is left alone."""
    found = (p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    return sorted(p for p in found if not any(_of_the_system(part) for part in p.relative_to(folder).parts))


def read_class_folder(folder: Path) -> Labelled:
    """One subfolder per class, images inside (at any depth); classes in alphabetical order. Hidden and system folders and files, such as
    ``.ipynb_checkpoints``, ``__MACOSX`` and ``._0.png``, are left alone."""
    classes = tuple(sorted(p.name for p in folder.iterdir() if p.is_dir() and not _of_the_system(p.name)))
    if not classes:
        raise DataError(f"{folder} has no subfolders; expected one per class with images inside")
    files, labels = [], []
    for label, cls in enumerate(classes):
        found = images_in(folder / cls)
        if not found:
            raise DataError(f"{folder / cls} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}); remove it or add images")
        files += found
        labels += [label] * len(found)
    encoded = ((path.read_bytes(), str(path)) for path in files)
    return decode_all(encoded, len(files), str(folder)), torch.tensor(labels), classes


def read_parquet(paths: list[Path]) -> Labelled:
    """Files with ``image: struct<bytes, path>`` and an integer ``label``; class names from the ``huggingface`` schema metadata."""
    tables = [guard(path, "Parquet", pq.read_table) for path in paths]
    for path, table in zip(paths, tables, strict=True):
        missing = {"image", "label"} - set(table.column_names)
        if missing:
            raise DataError(f"{path} has columns {table.column_names}; expected image (struct<bytes, path>) and label (integer)")
        if not (pa.types.is_struct(table.schema.field("image").type) and pa.types.is_integer(table.schema.field("label").type)):
            raise DataError(f"{path}: image is {table.schema.field('image').type}, label {table.schema.field('label').type}; "
                            "expected struct<bytes, path> and an integer")  # fmt: skip
    images = decode_all(_encoded(paths, tables), sum(map(len, tables)), str(paths[0]))
    labels = torch.from_numpy(np.concatenate([t.column("label").to_numpy() for t in tables]).astype(np.int64))
    return images, labels, _class_names(tables[0].schema, labels)


def _encoded(paths: list[Path], tables: list[pa.Table]) -> Iterator[tuple[bytes, str]]:
    """Each row's encoded image, one at a time, and its name."""
    for path, table in zip(paths, tables, strict=True):
        for row, (image, label) in enumerate(zip(table.column("image"), table.column("label"), strict=True)):
            raw = image.as_py()
            if raw is None or raw.get("bytes") is None or not label.is_valid:
                raise DataError(f"{path} row {row}: image bytes or label is null; expected both")
            yield raw["bytes"], f"{path} row {row}"


def _class_names(schema: pa.Schema, labels: Tensor) -> tuple[str, ...]:
    raw = (schema.metadata or {}).get(b"huggingface")
    numbered = tuple(map(str, range(int(labels.max()) + 1)))
    try:
        return tuple(map(str, json.loads(raw or b"{}")["info"]["features"]["label"]["names"]))
    except (ValueError, KeyError, TypeError):  # metadata is a courtesy: without it classes go by number
        return numbered


def read_npz(path: Path) -> Labelled:
    """``images`` uint8 ``[n, h, w]``, ``[n, h, w, c]`` or ``[n, c, h, w]``; ``labels`` integers ``[n]``; optional ``classes``."""
    arrays = guard(path, ".npz", lambda p: dict(np.load(p, allow_pickle=False).items()))
    if "classes" in arrays and arrays["classes"].ndim != 1:
        raise DataError(f"{path}: classes have shape {arrays['classes'].shape}; expected one name a class")
    if not {"images", "labels"} <= arrays.keys():
        raise DataError(f"{path} holds {sorted(arrays)}; expected images and labels")
    images, labels = arrays["images"], arrays["labels"]
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{path}: images are {images.dtype} {images.shape}, labels {labels.dtype}; "
                        "expected uint8 [n, h, w], [n, h, w, c] or [n, c, h, w], and integers")  # fmt: skip
    target = torch.from_numpy(labels.astype(np.int64))
    count = int(target.max()) + 1 if len(target) else 0
    classes = tuple(map(str, arrays["classes"])) if "classes" in arrays else tuple(map(str, range(count)))
    return _channels_first(images), target, classes


def images_of(path: Path) -> Tensor:
    """Of an ``.npz``: ``images`` uint8 as ``read_npz`` takes them, without labels."""
    arrays = guard(path, ".npz", lambda p: dict(np.load(p, allow_pickle=False).items()))
    if "images" not in arrays:
        raise DataError(f"{path} holds {sorted(arrays)}; expected images")
    images = arrays["images"]
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise DataError(f"{path}: images are {images.dtype} {images.shape}; expected uint8 [n, h, w], [n, h, w, c] or [n, c, h, w]")
    return _channels_first(images)


def _channels_first(images: np.ndarray) -> Tensor:
    tensor = torch.from_numpy(images)
    if tensor.ndim == 3:
        tensor = tensor.unsqueeze(1)
    elif tensor.shape[3] in (1, 3) and tensor.shape[1] not in (1, 3):
        tensor = tensor.permute(0, 3, 1, 2)
    return tensor.contiguous()


FMNIST_CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def read_idx(folder: Path, part: str) -> Labelled:
    """MNIST's IDX files, gzipped or not: ``<part>-images-idx3-ubyte`` and ``<part>-labels-idx1-ubyte``."""
    arrays = []
    for kind, magic in (("images", 2051), ("labels", 2049)):
        path = _idx_path(folder, f"{part}-{kind}")
        if path is None:
            raise DataError(f"{folder} has no {part}-{kind}-idx*-ubyte[.gz]; expected MNIST's four IDX files")
        arrays.append(_read_idx_file(path, magic))
    labels = torch.from_numpy(arrays[1].astype(np.int64))
    if not len(labels):
        raise DataError(f"{folder} holds no images in {part}")
    classes = FMNIST_CLASSES if int(labels.max()) == 9 else tuple(map(str, range(int(labels.max()) + 1)))
    return torch.from_numpy(arrays[0]).unsqueeze(1), labels, classes


def _idx_path(folder: Path, stem: str) -> Path | None:
    return next(iter(sorted(folder.glob(f"{stem}-idx?-ubyte*"))), None)


def _read_idx_file(path: Path, magic: int) -> np.ndarray:
    raw = guard(path, "IDX", lambda p: gzip.decompress(p.read_bytes()) if p.suffix == ".gz" else p.read_bytes())
    found = int.from_bytes(raw[:4], "big")
    if found != magic:
        raise DataError(f"{path} starts with {found}; expected the IDX magic number {magic}")
    shape = tuple(int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(raw[3]))
    body = np.frombuffer(raw[4 + 4 * len(shape) :], np.uint8)
    if len(raw) < 4 + 4 * len(shape) or body.size != np.prod(shape):
        raise DataError(f"{path} holds {body.size} bytes; its header says {shape}: the file is cut short, fetch it again")
    return body.reshape(shape).copy()
