"""Data that is too large for memory, made small: what decides that it is left on disk, and that it is read as
it would be in memory."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.data_folders import class_folder
from tests.support.makers import png
from zooaudit.data import large
from zooaudit.data.images import Dataset
from zooaudit.data.on_disk import ImagesOnDisk, in_memory
from zooaudit.data.readers import memory, read_dataset
from zooaudit.data.reading import PLAIN, Reading, Sizing
from zooaudit.errors import DataError

pytestmark = pytest.mark.usefixtures("small_memory")


def both(place: Path, monkeypatch: pytest.MonkeyPatch, reading: Reading = PLAIN) -> tuple[Dataset, Dataset]:
    """Read on disk, and in memory."""
    lazy = read_dataset(place, "d", reading)
    monkeypatch.setattr(large, "IN_MEMORY", 2**30)
    return lazy, read_dataset(place, "d", reading)


@pytest.mark.parametrize(
    ("sizes", "channels", "reading"),
    [
        (((8, 8),), (3,), PLAIN),
        (((8, 8),), (1,), PLAIN),
        (((8, 8),), (1, 3), PLAIN),
        (((8, 8),), (3,), Reading(colour="grey")),
        (((9, 12), (14, 8)), (3,), Reading(sizing=Sizing(6, 5))),
        (((9, 12), (14, 8)), (1, 3), Reading(sizing=Sizing(7, 7, "squash"))),
    ],
)
def test_pixels_are_those_that_memory_would_hold(
    sizes: tuple[tuple[int, int], ...],
    channels: tuple[int, ...],
    reading: Reading,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lazy, whole = both(class_folder(tmp_path / "data", sizes, channels), monkeypatch, reading)
    for name in ("train", "test"):
        left, right = getattr(lazy, name), getattr(whole, name)
        assert isinstance(left.images, ImagesOnDisk) and isinstance(right.images, torch.Tensor)
        assert torch.equal(in_memory(left.images), right.images) and torch.equal(left.labels, right.labels)
    assert lazy.classes == whole.classes and lazy.image_shape == whole.image_shape and memory(lazy) == 0
    assert lazy.found is not None and any("too many for memory" in note for note in lazy.found.notes)


def test_the_digest_follows_content_and_reading(tmp_path: Path) -> None:
    place = class_folder(tmp_path / "data")
    first = read_dataset(place, "d").digest
    assert read_dataset(place, "d").digest == first
    assert read_dataset(place, "d", Reading(colour="grey")).digest != first
    assert read_dataset(place, "d", Reading(sizing=Sizing(8, 8, filter="box"))).digest != first
    changed = place / "train" / "c0" / "03.png"
    changed.write_bytes(png(np.zeros((3, 8, 8), dtype=np.uint8)))
    again = read_dataset(place, "d")
    assert again.digest != first and int(again.train.images[3:4].max()) == 0, "a changed file is decoded anew"


def test_a_part_of_it_has_a_digest_of_its_own(tmp_path: Path) -> None:
    train = read_dataset(class_folder(tmp_path / "data"), "d").train
    parts = [train.take(torch.tensor(rows)).images for rows in ([0, 1], [1, 0], [2, 3])]
    assert len({part.digest for part in parts if isinstance(part, ImagesOnDisk)}) == 3


def test_several_sizes_need_one(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"images have sizes \(8, 8\), \(9, 12\); expected one size: --size HEIGHTxWIDTH"
    ):
        read_dataset(class_folder(tmp_path / "data", ((8, 8), (9, 12))), "d")


def test_a_colour_that_nobody_looked_at_is_no_grey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = class_folder(tmp_path / "data", channels=(1,))
    monkeypatch.setattr(large, "SAMPLE", 2)
    (place / "train" / "c0" / "05.png").write_bytes(png(np.arange(192, dtype=np.uint8).reshape(3, 8, 8)))
    lazy = read_dataset(place, "d")
    with pytest.raises(
        DataError, match=r"05\.png is coloured, .* expected all of one kind: --colour rgb, or grey"
    ):
        in_memory(lazy.train.images)


def test_a_full_disk_is_noticed_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type(shutil.disk_usage("."))(100, 50, 50)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(
        DataError,
        match=r"54 decoded images take 0\.0 GB more in .*cache, which has 0\.0 GB left; .* ZOOAUDIT_CACHE",
    ):
        read_dataset(class_folder(tmp_path / "data"), "d")
