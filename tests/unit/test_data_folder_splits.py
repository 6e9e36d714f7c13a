"""Which folders are splits."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.data_folders import refused, told
from tests.support.data_readers import class_folders
from tests.support.makers import pixels
from zooaudit.data.readers import read_dataset
from zooaudit.data.reading import Reading


def test_the_data_may_lie_deeper_and_it_is_said(tmp_path: Path) -> None:
    class_folders(tmp_path / "download" / "pets")
    (tmp_path / "download" / "README.md").write_text("x")
    data = read_dataset(tmp_path, "mine")
    assert len(data.train) == 12 and told(data) == f"the data is in {tmp_path / 'download' / 'pets'}"
    class_folders(tmp_path / "download" / "cars")
    refused(tmp_path, "holds 2 data sets", "download/cars", "download/pets", "give its folder with --data")


@pytest.mark.parametrize(
    ("train", "test"), [("Train", "TEST"), ("training", "Validation"), ("train", "eval"), ("TRAIN", "dev")]
)
def test_splits_by_their_usual_names_in_any_case(train: str, test: str, tmp_path: Path) -> None:
    class_folders(tmp_path)
    (tmp_path / "train").rename(tmp_path / train)
    (tmp_path / "test").rename(tmp_path / test)
    assert len(read_dataset(tmp_path, "mine").train) == 12


def test_which_of_several_splits_is_read_is_said_and_settled(tmp_path: Path) -> None:
    class_folders(tmp_path)
    class_folders(tmp_path, [("val", pixels(3, seed=9), np.arange(3))])
    data = read_dataset(tmp_path, "mine")
    assert (
        len(data.test) == 6 and told(data) == "the split test is read, val is not: --test-split chooses one"
    )
    chosen = read_dataset(tmp_path, "mine", Reading(test_split="val", train_split="test"))
    assert (len(chosen.train), len(chosen.test)) == (6, 3) and told(chosen) == ""
    refused(tmp_path, "expected fold1.npz", "--test-split", reading=Reading(test_split="fold1"))


def test_a_split_in_two_forms_is_refused_until_told_which(tmp_path: Path) -> None:
    folder = class_folders(tmp_path)
    other = pixels(12, seed=5)
    np.savez(folder / "train.npz", images=other, labels=np.arange(12) % 3, classes=["ant", "bee", "cat"])
    refused(folder, "train exists as .npz and as class folders", "--data-kind npz or --data-kind folders")
    (folder / "test.npz").write_bytes((folder / "train.npz").read_bytes())
    assert np.array_equal(read_dataset(folder, "mine", Reading(kind="npz")).train.images.numpy(), other)
    assert len(read_dataset(folder, "mine", Reading(kind="folders")).test) == 6
    refused(
        folder,
        "train is .npz, class folders; --data-kind parquet is not there",
        reading=Reading(kind="parquet"),
    )


def test_a_folder_between_the_split_and_its_classes_is_no_class(tmp_path: Path) -> None:
    folder = class_folders(tmp_path)
    (folder / "classes").mkdir()
    for name in ("ant", "bee", "cat"):
        (folder / "train" / name).rename(folder / "classes" / name)
    (folder / "classes").rename(folder / "train" / "images")
    refused(
        folder,
        f"{folder}/train has one folder, images, with ant, bee, cat in it; expected one per class: move these"
        " into",
    )


def test_published_files_beside_a_split_are_refused_until_told_which(tmp_path: Path) -> None:
    folder = class_folders(tmp_path)
    arrays = {"x_train": pixels(3), "y_train": [0, 1, 2], "x_test": pixels(3), "y_test": [0, 1, 2]}
    np.savez(folder / "mnist.npz", **arrays)
    refused(folder, "holds an .npz with x_train", "and also train as class folders", "--data-kind folders")
    assert len(read_dataset(folder, "mine", Reading(kind="folders")).train) == 12
    assert len(read_dataset(folder / "mnist.npz", "mine").train) == 3
