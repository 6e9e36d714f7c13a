"""Read users' images: detect the kind of a folder or file, and read its train and test as one
:class:`Dataset`.

A file that cannot be used raises :class:`~zooaudit.errors.DataError` with the file, the row if there is one,
what was found, what was expected, and the option that resolves it.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from zooaudit.data.array_pixels import to_tensors
from zooaudit.data.arrays import Arrays, parts_of_keras
from zooaudit.data.cifar import find_cifar, read_cifar
from zooaudit.data.classes import numbered
from zooaudit.data.decode import decode_all, strictly
from zooaudit.data.find_splits import TRAIN_NAMES, WORDS, Part, candidates, parts, split_names
from zooaudit.data.folders import Undecoded
from zooaudit.data.idx import has_idx, read_idx
from zooaudit.data.images import Dataset, ImageSet
from zooaudit.data.large import Source, left_on_disk
from zooaudit.data.messages import short
from zooaudit.data.on_disk import Images
from zooaudit.data.pixels import refuse_dark_sixteen
from zooaudit.data.places import default_cache
from zooaudit.data.reading import PLAIN, Reading
from zooaudit.data.reading_notes import Met, found
from zooaudit.data.tiny_imagenet import find_tiny_imagenet, read_tiny_imagenet
from zooaudit.data.zips import unpacked
from zooaudit.errors import DataError


def read_dataset(place: Path, name: str, reading: Reading = PLAIN) -> Dataset:
    """Read a user's data: a folder with train and test in one of the forms in docs/data.md; a zip of such a
    folder; a Keras ``.npz``.

    Raises:
        DataError: it cannot be read, or could be read in more than one way.
    """
    if place.suffix.lower() == ".zip" and place.is_file():
        with unpacked(place) as folder:
            return _read(folder, place, name, reading)
    return _read(place, place, name, reading)


def _read(folder: Path, place: Path, name: str, reading: Reading) -> Dataset:
    met = Met()
    train, test = _parts(folder, reading, met)
    labels = numbered(train.targets, test.targets, str(folder), reading, met)
    source = Source(place, folder, default_cache())
    images: Sequence[Images] | None = left_on_disk([train, test], reading, met, source)
    if images is None:
        with strictly():
            images = _images([train, test], reading, met, source)
    refuse_dark_sixteen(met, str(folder))
    if reading.value_range and not met.ranged:
        raise DataError(
            f"{folder}: all images are of 8 bits, from 0 to 255; --value-range is for others: leave it out"
        )
    result = found(met, str(reading.sizing or ""))
    return Dataset(
        name, ImageSet(images[0], labels[0]), ImageSet(images[1], labels[1]), labels[2], str(place), result
    )


def _parts(folder: Path, reading: Reading, met: Met) -> Sequence[Part]:
    if folder.is_file() and folder.suffix.lower() == ".npz":
        return _keras([folder], met) or _no_folder(folder)
    if not folder.is_dir():
        _no_folder(folder)
    if tiny := find_tiny_imagenet(folder):
        met.kind = "the tiny-imagenet-200 folder"
        return read_tiny_imagenet(tiny)
    if reading.kind:
        return parts(folder, reading, met)
    return _published(folder, reading, met) or parts(folder, reading, met)


def _published(folder: Path, reading: Reading, met: Met) -> Sequence[Part] | None:
    """Both parts of a folder in a published format: IDX, CIFAR-10, Keras."""
    both: Sequence[Part] | None = None
    if has_idx(folder):
        met.kind, both = "IDX files", (read_idx(folder, "train"), read_idx(folder, "t10k"))
    elif cifar := find_cifar(folder):
        met.kind, both = "CIFAR-10's binary version", read_cifar(cifar)
    else:
        both = _keras(sorted(folder.glob("*.npz")), met)
    if both and (
        other := next(
            (s for n in split_names(reading.train_split, TRAIN_NAMES) for s in candidates(folder, n, folder)),
            None,
        )
    ):
        raise DataError(
            f"{folder} holds {met.kind}, and also {other.name} as {WORDS[other.kind]}; expected one of them:"
            f" --data-kind {other.kind}, or move that away"
        )
    return both


def _no_folder(place: Path) -> Sequence[Part]:
    raise DataError(
        f"{place} is not a folder; expected one with train and test inside, a .zip of one, or an .npz with"
        " x_train, y_train, x_test, y_test"
    )


def _keras(files: list[Path], met: Met) -> Sequence[Part] | None:
    pairs = {path: pair for path in files if (pair := parts_of_keras(path))}
    if len(pairs) > 1:
        raise DataError(
            f"{short(pairs)} each hold x_train and x_test; expected one: give the file itself with --data"
        )
    met.kind = "an .npz with x_train, y_train, x_test, y_test" if pairs else ""
    return next(iter(pairs.values()), None)


def _images(both: list[Part], reading: Reading, met: Met, source: Source) -> list[Tensor]:
    """Pixels of train and test, uint8 ``[n, c, h, w]``, both grey or both coloured."""
    arrays = [part for part in both if isinstance(part, Arrays)]
    ready = iter(to_tensors(arrays, reading, met, source.cache if source.lasts else None) if arrays else ())
    made = [
        (
            decode_all(part.items(), part.count, part.where, reading, met)
            if isinstance(part, Undecoded)
            else next(ready)
        )
        for part in both
    ]
    if {image.shape[1] for image in made} == {1, 3}:
        met.note(
            "images of one split are all grey, of the other coloured: grey ones became coloured; --colour"
            " grey makes all grey"
        )
        made = [image if image.shape[1] == 3 else image.expand(-1, 3, -1, -1).contiguous() for image in made]
    return made


def memory(dataset: Dataset) -> int:
    """Bytes of the images of train and test in memory."""
    images = [part.images for part in (dataset.train, dataset.test)]
    return sum(i.numel() * torch.uint8.itemsize for i in images if isinstance(i, Tensor))
