"""Arrays: ``.npz`` as Keras and as this project has it, and pairs of ``.npy``. Nothing in them is ever unpickled."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import torch
from numpy.lib import format as npy
from PIL import Image
from torch import Tensor

from zooaudit.data.classes import Targets
from zooaudit.data.columns import whole_numbers
from zooaudit.data.decode import fitted, refuse_too_much
from zooaudit.data.met import Met
from zooaudit.data.reading import Reading
from zooaudit.data.values import all_to_bytes, certain_range
from zooaudit.data.words import guard, short
from zooaudit.errors import DataError

IMAGES, LABELS = ("images", "image", "x", "data"), ("labels", "label", "y", "targets")
SHAPES = "uint8 [n, h, w], [n, h, w, c] or [n, c, h, w], and integers"


@dataclass(frozen=True)
class Arrays:
    """One part of a data set as arrays, before their numbers are scaled.

    Attributes:
        where: names it in errors.
        images: of any type and layout.
    """

    where: str
    images: np.ndarray
    targets: Targets


def read_arrays(path: Path, wanted: tuple[str, ...] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz``, by name, or those ``wanted``.

    Raises:
        DataError: it is none, holds Python objects, or more than this machine's memory takes.
    """
    return guard(path, ".npz", lambda p: _unpacked(p, wanted))


def array_names(path: Path) -> list[str]:
    """Names of the arrays in an ``.npz``; only its list of contents is read."""

    def listed(p: Path) -> list[str]:
        with zipfile.ZipFile(p) as archive:
            return sorted(name.removesuffix(".npy") for name in archive.namelist())

    return guard(path, ".npz", listed)


def _unpacked(path: Path, wanted: tuple[str, ...] | None) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        members = {m.filename.removesuffix(".npy"): m for m in archive.infolist() if m.filename.endswith(".npy")}
        chosen = {name: m for name, m in members.items() if wanted is None or name in wanted}
        refuse_too_much(sum(m.file_size for m in chosen.values()), f"{path}: its arrays")
        made = {}
        for name, member in chosen.items():
            with archive.open(member) as file:
                _check_header(file, member.file_size, f"{path}: {name}")
            with archive.open(member) as file:
                made[name] = npy.read_array(file, allow_pickle=False)
        return made


def read_npy(path: Path) -> np.ndarray:
    """One ``.npy``; errors as :func:`read_arrays`."""

    def whole(p: Path) -> np.ndarray:
        with p.open("rb") as file:
            _check_header(file, p.stat().st_size, str(p))
            refuse_too_much(p.stat().st_size, f"{p}: its array")
            file.seek(0)
            return np.asarray(npy.read_array(file, allow_pickle=False))

    return guard(path, ".npy", whole)


def _check_header(file: IO[bytes], size: int, where: str) -> None:
    """A header whose array is all that the file holds: one that claims more would have memory taken for it."""
    version = npy.read_magic(file)
    header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = header(file)
    if dtype.hasobject:
        raise ValueError(f"{where.rpartition(': ')[2]} holds Python objects, which would have to be unpickled: never done")
    stated = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if stated != size - file.tell():
        raise ValueError(
            f"{where.rpartition(': ')[2]}: its header says {stated:,} bytes of {dtype} {shape}, there are {size - file.tell():,}"
        )


def part_of_npz(path: Path) -> Arrays:
    """One part: ``images`` and ``labels`` (or ``x`` and ``y``), optional ``classes``."""
    arrays = read_arrays(path, (*IMAGES, *LABELS, "classes"))
    return _part(arrays, str(path), array_names(path))


def parts_of_keras(path: Path) -> tuple[Arrays, Arrays] | None:
    """Train and test of one ``.npz`` with ``x_train``, ``y_train``, ``x_test``, ``y_test`` (or ``train_images``, ``train_labels``, ...);
    None if it has no such names."""
    names = array_names(path)
    for pattern in ("{0}_{1}", "{1}_{0}"):
        asked = [
            next((n for kind in kinds if (n := pattern.format(kind, part)) in names), None)
            for part in ("train", "test") for kinds in (IMAGES, LABELS)
        ]  # fmt: skip
        if all(asked):
            arrays = read_arrays(path, (*(str(n) for n in asked), "classes"))
            found = [{"images": arrays[str(asked[i])], "labels": arrays[str(asked[i + 1])]} for i in (0, 2)]
            extra = {"classes": arrays["classes"]} if "classes" in arrays else {}
            return _part(found[0] | extra, f"{path}: train", names), _part(found[1] | extra, f"{path}: test", names)
    return None


def part_of_pair(images: Path, labels: Path) -> Arrays:
    """One part as two ``.npy`` files."""
    arrays = {"images": read_npy(images), "labels": read_npy(labels)}
    return _part(arrays, str(images), sorted(arrays))


def _part(arrays: Mapping[str, np.ndarray], where: str, names: list[str]) -> Arrays:
    found = [[arrays[n] for n in kinds if n in arrays] for kinds in (IMAGES, LABELS)]
    if any(len(kind) != 1 for kind in found):
        raise DataError(f"{where} holds {names}; expected images and labels")
    if "classes" in arrays and arrays["classes"].ndim != 1:
        raise DataError(f"{where}: classes have shape {arrays['classes'].shape}; expected one name a class")
    images, labels = found[0][0], found[1][0]
    classes = tuple(_text(name) for name in arrays["classes"]) if "classes" in arrays else ()
    if images.dtype.kind not in "buif" or images.ndim not in (3, 4):
        raise DataError(f"{where}: images are {images.dtype} {images.shape}, labels {labels.dtype}; expected {SHAPES}")
    if len(images) != len(labels) or not len(labels):
        raise DataError(
            f"{where}: images are {images.dtype} {images.shape}, labels {labels.dtype} of shape {labels.shape}; expected {SHAPES}: "
            "a label for every image, and one image at least"
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
                f"{where}: labels {labels.dtype} {labels.shape} are no one-hot rows (a single 1, else 0); expected one class an image"
            )
        labels = hot.argmax(1)
    if labels.ndim != 1 or labels.dtype.kind not in "buifUS":
        raise DataError(
            f"{where}: labels {labels.dtype} of shape {labels.shape}; expected numbers or names [n], [n, 1], or one-hot [n, classes]"
        )
    if labels.dtype.kind in "US":
        return [_text(value) for value in labels.tolist()]
    return [int(value) for value in whole_numbers(labels, where)]


def to_tensors(parts: list[Arrays], reading: Reading, met: Met) -> list[Tensor]:
    """Images of all parts as uint8 ``[n, c, h, w]``, scaled alike.

    Raises:
        DataError: numbers or shapes that may mean several things.
    """
    where = parts[0].where
    scaled = [part.images for part in parts]
    for part in parts:
        met.modes[f"array of {part.images.dtype}"] += len(part.images)
    if reading.value_range is not None or any(images.dtype != np.uint8 for images in scaled):
        black, white = reading.value_range or certain_range(scaled, where)
        met.ranged += sum(map(len, scaled))
        if (black, white, scaled[0].dtype) != (0, 255, np.dtype(np.uint8)):
            met.note(f"numbers of arrays are scaled: {black:g} becomes 0, {white:g} becomes 255, rounded")
            scaled = [all_to_bytes(images, black, white, part.where) for images, part in zip(scaled, parts, strict=True)]
    else:
        _note_dark(scaled, met)
    return [
        _finished(_channels_first(images, part.where, reading), part.where, reading, met)
        for images, part in zip(scaled, parts, strict=True)
    ]


def _note_dark(images: list[np.ndarray], met: Met) -> None:
    highest = max((int(array.max()) for array in images if array.size), default=255)
    if highest < 64:
        met.note(f"the largest number in the images is {highest} of 255: if {highest} is white, say so: --value-range 0 {highest}")


def _channels_first(images: np.ndarray, where: str, reading: Reading) -> Tensor:
    tensor = torch.from_numpy(images)
    if tensor.ndim == 3:
        return tensor.unsqueeze(1).contiguous()
    first, last = tensor.shape[1] in (1, 3, 4), tensor.shape[3] in (1, 3, 4)
    layout = reading.layout
    if not layout:
        if first == last:
            fits = "both layouts fit" if first else "neither layout has 1, 3 or 4 channels"
            raise DataError(f"{where}: images of shape {images.shape}: {fits}; expected one: --array-layout NHWC or --array-layout NCHW")
        layout = "NCHW" if first else "NHWC"
    return (tensor.permute(0, 3, 1, 2) if layout == "NHWC" else tensor).contiguous()


def _finished(tensor: Tensor, where: str, reading: Reading, met: Met) -> Tensor:
    """Without transparency, and of the colour and size asked for."""
    count, channels, height, width = tensor.shape
    met.sizes[height, width] += count
    if channels == 4:
        tensor = _opaque(tensor, where, reading, met)
        channels = 3
    mode = {"grey": "L", "rgb": "RGB"}.get(reading.colour)
    if channels not in (1, 3) or (reading.sizing is None and mode in (None, "L" if channels == 1 else "RGB")):
        if reading.sizing is not None:
            raise DataError(f"{where}: images have {channels} channels; --size is for grey and coloured ones: resize them first")
        return tensor
    made = [_one(image, mode, reading, met) for image in tensor]
    return torch.stack(made)


def _one(image: Tensor, mode: str | None, reading: Reading, met: Met) -> Tensor:
    array = image[0].numpy() if len(image) == 1 else np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    picture = Image.fromarray(array)
    array = np.array(fitted(picture.convert(mode) if mode else picture, reading, met))
    return torch.from_numpy(array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1)))


def _opaque(tensor: Tensor, where: str, reading: Reading, met: Met) -> Tensor:
    clear = (tensor[:, 3] < 255).flatten(1).any(1)
    if not bool(clear.any()):
        return tensor[:, :3].contiguous()
    if reading.background is None:
        row = int(clear.nonzero()[0])
        raise DataError(
            f"{where}: image {row} has transparent pixels (a fourth channel below 255); expected none: --background white or another colour"
        )
    made = tensor[:, :3].clone()
    met.done[f"have transparent pixels and were put on {reading.background}"] += int(clear.sum())
    for row in clear.nonzero().flatten().tolist():
        over = Image.fromarray(np.ascontiguousarray(tensor[row].permute(1, 2, 0).numpy()), "RGBA")
        under = Image.new("RGBA", over.size, (*reading.background, 255))
        made[row] = torch.from_numpy(np.array(Image.alpha_composite(under, over).convert("RGB"))).permute(2, 0, 1)
    return made


def images_of(path: Path, reading: Reading, met: Met) -> Tensor:
    """Of an ``.npz`` or ``.npy`` the images alone, without labels: uint8 ``[n, c, h, w]``."""
    if path.suffix == ".npy":
        images = read_npy(path)
    else:
        arrays = read_arrays(path, IMAGES)
        if len(arrays) != 1:
            raise DataError(f"{path} holds {short(array_names(path))}; expected images")
        images = next(iter(arrays.values()))
    if images.dtype.kind not in "buif" or images.ndim not in (3, 4):
        raise DataError(f"{path}: images are {images.dtype} {images.shape}; expected uint8 [n, h, w], [n, h, w, c] or [n, c, h, w]")
    return to_tensors([Arrays(str(path), images, Targets(()))], reading, met)[0]
