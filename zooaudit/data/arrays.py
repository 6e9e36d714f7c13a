"""Arrays: ``.npz`` in Keras's form and in this project's, and pairs of ``.npy``. Nothing in them is ever
unpickled."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from zooaudit.data.classes import Targets
from zooaudit.data.columns import whole_numbers
from zooaudit.data.decode import refuse_too_much
from zooaudit.data.messages import guard, short
from zooaudit.data.stored import Stored, in_npy, in_npz, read_header
from zooaudit.errors import DataError

IMAGES, LABELS = ("images", "image", "x", "data"), ("labels", "label", "y", "targets")
SHAPES = "uint8 [n, h, w], [n, h, w, c] or [n, c, h, w], and integers"


@dataclass(frozen=True)
class Arrays:
    """One part of a data set as arrays, before their numbers are scaled.

    Attributes:
        where: its name in errors.
        images: of any type and layout; not read yet.
    """

    where: str
    images: Stored
    targets: Targets


def read_arrays(path: Path, wanted: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Read the ``wanted`` arrays of an ``.npz``, by name.

    Raises:
        DataError: not an ``.npz``, or it holds Python objects, or more than this machine's memory.
    """
    return guard(path, ".npz", lambda p: _unpacked(p, wanted))


def array_names(path: Path) -> list[str]:
    """Names of the arrays in an ``.npz``; reads only its list of contents."""

    def listed(p: Path) -> list[str]:
        with zipfile.ZipFile(p) as archive:
            return sorted(name.removesuffix(".npy") for name in archive.namelist())

    return guard(path, ".npz", listed)


def _unpacked(path: Path, wanted: tuple[str, ...]) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        members = {
            m.filename.removesuffix(".npy"): m for m in archive.infolist() if m.filename.endswith(".npy")
        }
        chosen = {name: m for name, m in members.items() if name in wanted}
        refuse_too_much(sum(m.file_size for m in chosen.values()), f"{path}: its arrays")
        made = {}
        for name, member in chosen.items():
            with archive.open(member) as file:
                read_header(file, member.file_size, f"{path}: {name}")
            with archive.open(member) as file:
                made[name] = npy.read_array(file, allow_pickle=False)
        return made


def part_of_npz(path: Path) -> Arrays:
    """One part: ``images`` and ``labels`` (or ``x`` and ``y``), optional ``classes``."""
    names = array_names(path)
    found = [[name for name in kinds if name in names] for kinds in (IMAGES, LABELS)]
    if any(len(kind) != 1 for kind in found):
        raise DataError(f"{path} holds {names}; expected images and labels")
    return _of_npz(path, str(path), found[0][0], found[1][0])


def parts_of_keras(path: Path) -> tuple[Arrays, Arrays] | None:
    """Train and test of one ``.npz`` with ``x_train``, ``y_train``, ``x_test``, ``y_test`` (or
    ``train_images``, ``train_labels``, ...); None if it has no such names."""
    names = array_names(path)
    for pattern in ("{0}_{1}", "{1}_{0}"):
        asked = [
            next((n for kind in kinds if (n := pattern.format(kind, part)) in names), None)
            for part in ("train", "test")
            for kinds in (IMAGES, LABELS)
        ]
        if all(asked):
            images, labels, test_images, test_labels = map(str, asked)
            return _of_npz(path, f"{path}: train", images, labels), _of_npz(
                path, f"{path}: test", test_images, test_labels
            )
    return None


def _of_npz(path: Path, where: str, images: str, labels: str) -> Arrays:
    small = read_arrays(path, (labels, "classes"))
    return _part(in_npz(path, images), small[labels], small.get("classes"), where)


def part_of_pair(images: Path, labels: Path) -> Arrays:
    """One part as two ``.npy`` files."""
    return _part(in_npy(images), in_npy(labels).load(), None, str(images))


def _part(images: Stored, labels: np.ndarray, names: np.ndarray | None, where: str) -> Arrays:
    if names is not None and names.ndim != 1:
        raise DataError(f"{where}: classes have shape {names.shape}; expected one name a class")
    classes = tuple(_text(name) for name in names) if names is not None else ()
    if images.dtype.kind not in "buif" or len(images.shape) not in (3, 4):
        raise DataError(
            f"{where}: images are {images.dtype} {images.shape}, labels {labels.dtype}; expected {SHAPES}"
        )
    if len(images) != len(labels) or not len(labels):
        raise DataError(
            f"{where}: images are {images.dtype} {images.shape}, labels {labels.dtype} of shape"
            f" {labels.shape}; expected {SHAPES}: a label for every image, and one image at least"
        )
    return Arrays(where, images, Targets(_targets(labels, where), classes))


def _text(name: object) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)


def _targets(labels: np.ndarray, where: str) -> list[int] | list[str]:
    """Labels ``[n]`` or ``[n, 1]``, numbers or names, or one-hot ``[n, K]``."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and labels.dtype.kind in "buif":
        hot = labels != 0
        if not ((hot.sum(1) == 1).all() and (labels[hot] == 1).all()):
            raise DataError(
                f"{where}: labels {labels.dtype} {labels.shape} are not one-hot rows (a single 1, else 0);"
                " expected one class an image"
            )
        labels = hot.argmax(1)
    if labels.ndim != 1 or labels.dtype.kind not in "buifUS":
        raise DataError(
            f"{where}: labels {labels.dtype} of shape {labels.shape}; expected numbers or names [n], [n, 1],"
            " or one-hot [n, classes]"
        )
    if labels.dtype.kind in "US":
        return [_text(value) for value in labels.tolist()]
    return [int(value) for value in whole_numbers(labels, where)]


def images_in_file(path: Path) -> Arrays:
    """The images of an ``.npz`` or ``.npy``, without labels."""
    if path.suffix == ".npy":
        images = in_npy(path)
    else:
        names = [name for name in array_names(path) if name in IMAGES]
        if len(names) != 1:
            raise DataError(f"{path} holds {short(array_names(path))}; expected images")
        images = in_npz(path, names[0])
    if images.dtype.kind not in "buif" or len(images.shape) not in (3, 4):
        raise DataError(
            f"{path}: images are {images.dtype} {images.shape}; expected uint8 [n, h, w], [n, h, w, c] or [n,"
            " c, h, w]"
        )
    return Arrays(str(path), images, Targets(()))
