"""Reading the formats that users have: the same pixels through each, and what each says of a bad file."""

import gzip
import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.data_readers import (
    PARTS,
    TEST,
    TEST_LABELS,
    TRAIN,
    TRAIN_LABELS,
    Parts,
    class_folders,
    npz_files,
)
from tests.support.makers import pixels, png, write_idx, write_parquet
from zooaudit.data.images import Dataset, ImageSet, to_unit
from zooaudit.data.readers import read_dataset
from zooaudit.errors import DataError

HF = json.dumps({"info": {"features": {"label": {"names": ["ant", "bee", "cat"]}}}})


def parquet_files(folder: Path, parts: Parts = PARTS) -> Path:
    for part, images, labels in parts:
        write_parquet(folder / f"{part}.parquet", [png(i) for i in images], labels.tolist(), HF)
    return folder


def parquet_shards(folder: Path, parts: Parts = PARTS) -> Path:
    for part, images, labels in parts:
        for i, rows in enumerate(np.array_split(np.arange(len(images)), 2)):
            write_parquet(
                folder / part / f"{i:05}.parquet", [png(images[j]) for j in rows], labels[rows].tolist(), HF
            )
    return folder


def idx_files(folder: Path, parts: Parts = PARTS) -> Path:
    (_, train, train_labels), (_, test, test_labels) = parts
    return write_idx(folder, (train[:, 0], train_labels), (test[:, 0], test_labels))


def gzipped_idx(folder: Path, parts: Parts = PARTS) -> Path:
    for path in idx_files(folder, parts).iterdir():
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    return folder


FORMATS: list[Callable[..., Path]] = [
    class_folders,
    parquet_files,
    parquet_shards,
    npz_files,
    idx_files,
    gzipped_idx,
]


def rows(part: ImageSet) -> list[tuple[int, bytes]]:
    return sorted(
        (int(label), image.numpy().tobytes()) for image, label in zip(part.images, part.labels, strict=True)
    )


@pytest.mark.parametrize("write", FORMATS)
def test_every_format_gives_the_same_images(write: Callable[..., Path], tmp_path: Path) -> None:
    data = read_dataset(write(tmp_path), "mine")
    for part, images, labels in ((data.train, TRAIN, TRAIN_LABELS), (data.test, TEST, TEST_LABELS)):
        assert part.images.dtype == torch.uint8
        assert rows(part) == sorted((int(y), x.tobytes()) for x, y in zip(images, labels, strict=True))
    assert data.image_shape == (1, 8, 8)
    assert data.source == str(tmp_path)
    assert data.classes == (("0", "1", "2") if "idx" in write.__name__ else ("ant", "bee", "cat"))


@pytest.mark.parametrize("write", [parquet_files, parquet_shards, npz_files, idx_files])
def test_row_order_is_kept(write: Callable[..., Path], tmp_path: Path) -> None:
    data = read_dataset(write(tmp_path), "mine")
    assert np.array_equal(data.train.images.numpy(), TRAIN)
    assert data.train.labels.tolist() == TRAIN_LABELS.tolist()


@pytest.mark.parametrize("layout", ["n h w c", "n c h w"])
def test_npz_with_colours_in_either_layout(layout: str, tmp_path: Path) -> None:
    images = pixels(4, channels=3)
    for part in ("train", "test"):
        stored = images.transpose(0, 2, 3, 1) if layout == "n h w c" else images
        np.savez_compressed(tmp_path / f"{part}.npz", images=stored, labels=np.array([0, 1, 0, 1]))
    data = read_dataset(tmp_path, "mine")
    assert np.array_equal(data.train.images.numpy(), images)
    assert data.classes == ("0", "1")


def test_grey_images_among_coloured_ones_become_coloured(tmp_path: Path) -> None:
    grey, coloured = pixels(1)[0], pixels(1, channels=3)[0]
    for part in ("train", "test"):
        write_parquet(tmp_path / f"{part}.parquet", [png(grey), png(coloured)], [0, 1])
    images = read_dataset(tmp_path, "mine").train.images.numpy()
    assert np.array_equal(images, np.stack([grey.repeat(3, 0), coloured]))


def test_sixteen_bit_images_keep_their_shades(tmp_path: Path) -> None:
    """Medical and scientific PNGs: 65,535 is white, 32,768 half of it."""
    shades = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
    for part in ("train", "test"):
        (tmp_path / part / "a").mkdir(parents=True)
        Image.fromarray(shades).save(tmp_path / part / "a" / "0.png")
    found = read_dataset(tmp_path, "mine").train.images[0, 0].numpy().astype(int)
    assert np.abs(found - (shades / 257).round()).max() <= 1, found


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_the_test_part_may_be_called_otherwise(name: str, tmp_path: Path) -> None:
    class_folders(tmp_path)
    (tmp_path / "test").rename(tmp_path / name)
    assert len(read_dataset(tmp_path, "mine").test) == 6


def refused(folder: Path, *expected: str) -> None:
    with pytest.raises(DataError) as caught:
        read_dataset(folder, "mine")
    for text in expected:
        assert text in str(caught.value), str(caught.value)


def test_no_folder(tmp_path: Path) -> None:
    refused(
        tmp_path / "nowhere", str(tmp_path / "nowhere"), "is not a folder", "expected one with train and test"
    )


def test_nothing_usable_lists_what_is_there_and_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "photos.rar").write_bytes(b"x")
    refused(tmp_path, str(tmp_path), "photos.rar", "train.npz", "train*.parquet", "a folder per class", "IDX")


def test_no_test_part(tmp_path: Path) -> None:
    shutil.rmtree(class_folders(tmp_path) / "test")
    refused(tmp_path, "holds train", "expected test.npz")


def test_corrupt_image_in_a_class_folder_is_named(tmp_path: Path) -> None:
    path = class_folders(tmp_path) / "train" / "bee" / "001.png"
    path.write_bytes(path.read_bytes()[:60])
    refused(tmp_path, str(path), "not a readable image", "remove or replace it")


def test_image_that_claims_to_be_enormous_is_named(tmp_path: Path) -> None:
    path = class_folders(tmp_path) / "train" / "bee" / "001.png"
    raw = bytearray(path.read_bytes())
    raw[16:24] = (60_000).to_bytes(4, "big") * 2
    raw[29:33] = zlib.crc32(raw[12:29]).to_bytes(4, "big")
    path.write_bytes(bytes(raw))
    refused(tmp_path, str(path), "not a readable image")


def test_class_folder_without_images_is_named(tmp_path: Path) -> None:
    (class_folders(tmp_path) / "train" / "dog").mkdir()
    refused(tmp_path, str(tmp_path / "train" / "dog"), "holds no image", ".png")


def test_part_without_class_folders(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "1.png").write_bytes(png(TRAIN[0]))
    refused(tmp_path, str(tmp_path / "train"), "no subfolders", "expected one per class")


def test_train_and_test_of_other_classes(tmp_path: Path) -> None:
    (class_folders(tmp_path) / "test" / "cat").rename(tmp_path / "test" / "cow")
    refused(tmp_path, "train has classes ant, bee, cat", "test also has cow")


@pytest.mark.parametrize("write", [class_folders, parquet_files])
def test_mixed_sizes_are_listed(write: Callable[..., Path], tmp_path: Path) -> None:
    write(tmp_path)
    other = png(pixels(1, size=9)[0])
    if write is class_folders:
        (tmp_path / "train" / "bee" / "zzz.png").write_bytes(other)
    else:
        write_parquet(tmp_path / "train.parquet", [png(TRAIN[0]), other, png(TRAIN[1])], [0, 1, 2], HF)
    refused(tmp_path, str(tmp_path / "train"), "(8, 8), (9, 9)", "expected one size")


def test_train_and_test_of_other_sizes(tmp_path: Path) -> None:
    npz_files(tmp_path, [("train", TRAIN, TRAIN_LABELS), ("test", pixels(6, size=9), TEST_LABELS)])
    refused(tmp_path, "(1, 8, 8), (1, 9, 9)", "expected one shape")


@pytest.mark.parametrize(("label", "low", "high"), [(7, 0, 7), (-1, -1, 2)])
def test_labels_out_of_range_are_stated(label: int, low: int, high: int, tmp_path: Path) -> None:
    labels = TRAIN_LABELS.copy()
    labels[1] = label
    npz_files(tmp_path, [("train", TRAIN, labels), ("test", TEST, TEST_LABELS)])
    refused(tmp_path, f"train labels lie in [{low}, {high}]", "expected [0, 2] for 3 classes")


def test_images_become_floats_between_0_and_1() -> None:
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1, 1)
    assert to_unit(images).flatten().tolist() == pytest.approx([0, 0.2, 1])
    assert images.flatten().tolist() == [0, 51, 255]


def test_digest_sees_every_pixel_and_label() -> None:
    def dataset(images: np.ndarray, labels: np.ndarray) -> Dataset:
        part = ImageSet(torch.from_numpy(images), torch.from_numpy(labels))
        return Dataset("mine", part, part, ("a", "b", "c"), "here")

    one = TRAIN.copy()
    one[3, 0, 2, 2] ^= 1
    digests = {
        dataset(TRAIN, TRAIN_LABELS).digest,
        dataset(one, TRAIN_LABELS).digest,
        dataset(TRAIN, TRAIN_LABELS[::-1].copy()).digest,
    }
    assert len(digests) == 3
    assert dataset(TRAIN.copy(), TRAIN_LABELS).digest in digests


def test_channel_stats_are_the_mean_and_deviation(digits: Dataset) -> None:
    mean, std = digits.channel_stats
    unit = digits.train.images.double() / 255
    assert mean == pytest.approx([float(unit.mean())], abs=1e-4)
    assert std == pytest.approx([float(unit.std(correction=0))], abs=1e-4)
