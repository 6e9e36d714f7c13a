"""Every form of data, made too large for memory: the same pixels, labels and classes as in memory, or a refusal that says what to do."""

import gzip
import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from tests.makers import pixels, png, write_idx
from tests.test_data_archives import shards
from tests.test_data_large import class_folder
from tests.test_data_parquet import saved, written
from zooaudit.cli import main
from zooaudit.data import array_pixels, copies, large, parquet
from zooaudit.data.images import Dataset
from zooaudit.data.on_disk import ImagesOnDisk, in_memory
from zooaudit.data.readers import read_dataset
from zooaudit.data.reading import PLAIN, Reading, Sizing
from zooaudit.errors import DataError

COUNT = 12
GREY, COLOURED = pixels(COUNT, size=9, seed=4), pixels(COUNT, channels=3, size=9, seed=5)
for _images in (GREY, COLOURED):
    _images.flat[:2] = (0, 255)  # a range that is filled
NHWC = np.ascontiguousarray(COLOURED.transpose(0, 2, 3, 1))
CLEAR = np.concatenate(
    [NHWC, np.where(np.arange(COUNT) % 4 == 2, 100, 255).astype(np.uint8)[:, None, None, None].repeat(9, 1).repeat(9, 2)], 3
)
LABELS = np.arange(COUNT) % 3
PNGS = [png(image) for image in COLOURED]
Make = Callable[[Path], Path]


@pytest.fixture(autouse=True)
def small_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing fits; and the cache is the test's own."""
    monkeypatch.setattr(large, "IN_MEMORY", 100)
    monkeypatch.setenv("ZOOAUDIT_CACHE", str(tmp_path / "cache"))


def both(place: Path, monkeypatch: pytest.MonkeyPatch, reading: Reading = PLAIN) -> tuple[Dataset, Dataset]:
    """Read on disk, and in memory: alike."""
    lazy = read_dataset(place, "d", reading)
    with monkeypatch.context() as patch:
        patch.setattr(large, "IN_MEMORY", 2**30)
        whole = read_dataset(place, "d", reading)
    for name in ("train", "test"):
        left, right = getattr(lazy, name), getattr(whole, name)
        assert isinstance(left.images, ImagesOnDisk) and isinstance(right.images, torch.Tensor)
        shuffled = torch.randperm(len(right), generator=torch.Generator().manual_seed(1))
        assert torch.equal(left.images[shuffled], right.images[shuffled]) and torch.equal(in_memory(left.images), right.images)
        assert torch.equal(pickle.loads(pickle.dumps(left.images))[:], right.images) and torch.equal(left.labels, right.labels)  # noqa: S301
    assert lazy.classes == whole.classes and lazy.found and whole.found
    assert (lazy.found.sizing, lazy.found.kind) == (whole.found.sizing, whole.found.kind)
    notes = {n for n in whole.found.notes if "scaled" in n or "transparent" in n or "--value-range" in n or "all grey" in n}
    assert notes <= set(lazy.found.notes), (notes, lazy.found.notes)
    return lazy, whole


def tables(folder: Path, **options: Any) -> Path:
    names = {"label": ["ant", "bee", "cat"]}
    return written(folder, {"image": [{"bytes": raw, "path": None} for raw in PNGS], "label": LABELS.tolist()}, names, **options)


def snapshot(folder: Path) -> Path:
    """What a hub holds: several files of a split, in ``data``."""
    table = pa.table({"image": [{"bytes": raw, "path": f"{i}.png"} for i, raw in enumerate(PNGS)], "label": LABELS.tolist()})
    (folder / "data").mkdir(parents=True)
    for i, (start, end) in enumerate(((0, 5), (5, 5), (5, 12))):
        pq.write_table(table.slice(start, end - start), folder / "data" / f"train-{i:05}-of-00003.parquet", row_group_size=2)
    pq.write_table(table.slice(3, 7), folder / "data" / "test-00000-of-00001.parquet")
    return folder


def paths(folder: Path) -> Path:
    (folder / "images").mkdir(parents=True)
    for i, raw in enumerate(PNGS):
        (folder / "images" / f"{i}.png").write_bytes(raw)
    rows = [{"bytes": None, "path": f"images/{i}.png"} for i in range(COUNT)]
    return written(folder, {"image": pa.array(rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())])), "label": LABELS.tolist()})


def arrow(folder: Path) -> Path:
    for part in ("train", "test"):
        saved(folder, part)
    return folder


def zipped(method: int, inside: Make, **how: Any) -> Make:
    def make(folder: Path) -> Path:
        inside(folder / "unpacked")
        with zipfile.ZipFile(folder / "data.zip", "w", method, **how) as archive:
            for path in sorted((folder / "unpacked").rglob("*")):
                archive.write(path, f"./{path.relative_to(folder / 'unpacked')}")
        shutil.rmtree(folder / "unpacked")
        return folder / "data.zip"

    return make


def table_of_paths(folder: Path) -> Path:
    (folder / "images").mkdir(parents=True)
    for i, raw in enumerate(PNGS):
        (folder / "images" / f"{i}.png").write_bytes(raw)
    for part in ("train", "test"):
        (folder / f"{part}.csv").write_text("path,label\n" + "".join(f"images/{i}.png,{LABELS[i]}\n" for i in range(COUNT)))
    return folder


@pytest.mark.parametrize(
    "make",
    [
        tables,
        lambda folder: tables(folder, compression="zstd", use_dictionary=False, row_group_size=5),
        snapshot,
        paths,
        arrow,
        shards,
        lambda folder: shards(folder, "json"),
        zipped(zipfile.ZIP_STORED, class_folder),
        zipped(zipfile.ZIP_DEFLATED, class_folder),
        zipped(zipfile.ZIP_DEFLATED, table_of_paths),
    ],
)
@pytest.mark.parametrize("reading", [PLAIN, Reading(sizing=Sizing(5, 6), colour="grey")])
def test_encoded_images(make: Make, reading: Reading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both(make(tmp_path / "data"), monkeypatch, reading)


def npz(images: np.ndarray, test: np.ndarray | None = None, save: Any = np.savez) -> Make:
    def make(folder: Path) -> Path:
        folder.mkdir()
        save(folder / "train.npz", images=images, labels=LABELS, classes=np.array(["ant", "bee", "cat"]))
        save(folder / "test.npz", images=images if test is None else test, labels=LABELS, classes=np.array(["ant", "bee", "cat"]))
        return folder

    return make


def npy(images: np.ndarray) -> Make:
    def make(folder: Path) -> Path:
        folder.mkdir()
        for part in ("train", "test"):
            np.save(folder / f"x_{part}.npy", images if part == "train" else images[::-1].copy())
            np.save(folder / f"y_{part}.npy", LABELS if part == "train" else LABELS[::-1].copy())
        return folder

    return make


def keras(folder: Path) -> Path:
    folder.mkdir()
    np.savez_compressed(folder / "mine.npz", x_train=NHWC, y_train=LABELS[:, None], x_test=NHWC[:6] // 2, y_test=LABELS[:6])
    return folder / "mine.npz"


def idx(folder: Path) -> Path:
    return write_idx(folder, (GREY[:, 0], LABELS), (GREY[:7, 0], LABELS[:7]))


def gzipped_idx(folder: Path) -> Path:
    for path in sorted(idx(folder).iterdir()):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    return folder


ARRAYS: list[tuple[Make, Reading]] = [
    (npy(COLOURED), PLAIN),
    (npy(NHWC), PLAIN),
    (npy(GREY[:, 0]), PLAIN),
    (npy(NHWC), Reading(sizing=Sizing(5, 6))),
    (npy(NHWC), Reading(colour="grey")),
    (npy(GREY), Reading(colour="rgb")),
    (npy((COLOURED / 255).astype(np.float32)), PLAIN),
    (npy((COLOURED / 255).astype(np.float16)), PLAIN),
    (npy((NHWC / 127.5 - 1).astype(">f8")), PLAIN),
    (npy(COLOURED.astype(np.uint16) * 257), PLAIN),
    (npy(COLOURED.astype(np.int32) * 16), Reading(value_range=(0, 4095), sizing=Sizing(4, 4, "squash"))),
    (npy(COLOURED.astype(np.int64)), PLAIN),
    (npy(GREY > 100), PLAIN),
    (npy(GREY // 8), PLAIN),
    (npy(GREY // 8), Reading(value_range=(0, 31))),
    (npy(CLEAR), Reading(background=(255, 0, 7))),
    (npy((CLEAR / 255).astype(np.float32)), Reading(background=(255, 0, 7))),
    (npy(np.concatenate([NHWC, np.full_like(NHWC[..., :1], 255)], 3)), PLAIN),
    (npy(pixels(COUNT, channels=3, size=3)), Reading(layout="NHWC")),
    (npy(pixels(COUNT, channels=5)), Reading(layout="NCHW")),
    (npz(COLOURED), PLAIN),
    (npz((NHWC / 255).astype(np.float32), save=np.savez_compressed), PLAIN),
    (npz(NHWC, GREY), PLAIN),
    (npz((COLOURED / 255 * 0.95).astype(np.float32), (COLOURED / 255).astype(np.float32)), PLAIN),
    (npz(COLOURED, (COLOURED / 1).astype(np.float32)), Reading(value_range=(0, 255))),
    (keras, PLAIN),
    (idx, PLAIN),
    (gzipped_idx, PLAIN),
    (gzipped_idx, Reading(sizing=Sizing(6, 6))),
]


@pytest.mark.parametrize(("make", "reading"), ARRAYS)
@pytest.mark.parametrize("block", [1, 10**6])
def test_arrays(make: Make, reading: Reading, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zooaudit.data.stored.BLOCK", block)
    both(make(tmp_path / "data"), monkeypatch, reading)


@pytest.mark.parametrize(("make", "reading"), ARRAYS)
def test_arrays_that_are_large_and_become_small(make: Make, reading: Reading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory at the end, yet never read whole."""
    monkeypatch.setattr(large, "IN_MEMORY", 2**30)
    monkeypatch.setattr("zooaudit.data.stored.BLOCK", 500)
    place = make(tmp_path / "data")
    whole = read_dataset(place, "d", reading)
    monkeypatch.setattr(array_pixels, "WHOLE", 100)
    monkeypatch.setattr(array_pixels.Numbers, "__post_init__", _by_row, raising=False)
    parts = read_dataset(place, "d", reading)
    assert parts.digest == whole.digest and parts.found == whole.found
    assert torch.equal(parts.train.images[:], whole.train.images[:]) and torch.equal(parts.test.images[:], whole.test.images[:])


def _by_row(made: array_pixels.Numbers) -> None:
    assert made.rows is not None
