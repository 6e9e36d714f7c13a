"""CIFAR-10's binary version: the bytes that its authors describe, and what is said of files
that are something else."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.support.archives import Bomb
from tests.support.makers import cifar_files, pixels
from zooaudit.data.readers import read_dataset
from zooaudit.errors import DataError

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def refused(folder: Path, *expected: str) -> None:
    with pytest.raises(DataError) as caught:
        read_dataset(folder, "cifar10")
    for text in expected:
        assert text in str(caught.value), str(caught.value)


@pytest.mark.parametrize("inside", ["", "cifar-10-batches-bin"])
def test_images_labels_and_names_are_those_that_were_written(inside: str, tmp_path: Path) -> None:
    """From the folder itself or the one that it lies in."""
    images, labels = cifar_files(tmp_path / inside)
    data = read_dataset(tmp_path, "cifar10")
    assert np.array_equal(data.train.images.numpy(), images[:15])
    assert np.array_equal(data.test.images.numpy(), images[15:])
    assert data.train.labels.tolist() + data.test.labels.tolist() == labels.tolist()
    assert data.classes == tuple(NAMES)
    assert data.source == str(tmp_path)


def test_a_record_is_a_label_and_three_planes(tmp_path: Path) -> None:
    cifar_files(tmp_path)
    record = bytes([7]) + bytes([200]) * 1024 + bytes(range(256)) * 4 + bytes([3]) * 1024
    (tmp_path / "test_batch.bin").write_bytes(record)
    data = read_dataset(tmp_path, "cifar10").test
    assert data.labels.tolist() == [7]
    red, green, blue = data.images[0].numpy()
    assert (red == 200).all() and (blue == 3).all()
    assert green[0].tolist() == list(range(32)), "row by row"


@pytest.mark.parametrize(
    "missing", [["data_batch_3.bin"], ["batches.meta.txt"], ["test_batch.bin", "data_batch_1.bin"]]
)
def test_missing_files_are_listed(missing: list[str], tmp_path: Path) -> None:
    cifar_files(tmp_path)
    for name in missing:
        (tmp_path / name).unlink()
    refused(
        tmp_path,
        str(tmp_path),
        "lacks " + ", ".join(sorted(missing)),
        "expected all files",
        "unpack it again",
    )


@pytest.mark.parametrize("size", [0, 3072, 3 * 3073 - 1])
def test_a_file_that_is_cut_short_is_named(size: int, tmp_path: Path) -> None:
    cifar_files(tmp_path)
    path = tmp_path / "data_batch_2.bin"
    path.write_bytes(path.read_bytes()[:size])
    refused(tmp_path, str(path), f"holds {size:,} bytes", "expected records of 3,073")


def test_a_label_without_a_name_is_named(tmp_path: Path) -> None:
    cifar_files(tmp_path)
    path = tmp_path / "data_batch_5.bin"
    raw = bytearray(path.read_bytes())
    raw[2 * 3073] = 10
    path.write_bytes(bytes(raw))
    refused(tmp_path, str(path), "record 2 has label 10", "expected 0 to 9")


@pytest.mark.parametrize("inside", ["", "cifar-10-batches-py"])
def test_the_pickled_version_is_refused_unopened(inside: str, tmp_path: Path) -> None:
    folder = tmp_path / inside
    folder.mkdir(exist_ok=True)
    for name in ("data_batch_1", "test_batch", "batches.meta"):
        (folder / name).write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    refused(
        tmp_path,
        str(folder),
        "pickles, which can run code and are never opened",
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "cifar-10-batches-bin",
        "numpy.savez",
    )
    assert not (tmp_path / "ran").exists()


def test_the_conversion_that_the_refusal_tells_of_works(tmp_path: Path) -> None:
    images = pixels(6, channels=3, size=32)
    data = images.reshape(6, -1)  # as the pickled version has it
    for part in ("train", "test"):
        np.savez(tmp_path / f"{part}.npz", images=data.reshape(-1, 3, 32, 32), labels=[0, 1, 2, 0, 1, 2])
    assert np.array_equal(read_dataset(tmp_path, "cifar10").train.images.numpy(), images)


def test_beside_the_binary_version_the_pickled_one_does_no_harm(tmp_path: Path) -> None:
    cifar_files(tmp_path / "cifar-10-batches-bin")
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"\x80")
    assert len(read_dataset(tmp_path, "cifar10").train) == 15
