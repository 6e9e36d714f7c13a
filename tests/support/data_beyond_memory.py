"""Data that does not fit into memory, in each layout."""

import gzip
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.data_parquet import saved, written
from tests.support.makers import pixels, png, write_idx
from zooaudit.data import large
from zooaudit.data.images import Dataset
from zooaudit.data.on_disk import ImagesOnDisk, in_memory
from zooaudit.data.readers import read_dataset
from zooaudit.data.reading import PLAIN, Reading

COUNT = 12
GREY, COLOURED = pixels(COUNT, size=9, seed=4), pixels(COUNT, channels=3, size=9, seed=5)
for _images in (GREY, COLOURED):
    _images.flat[:2] = (0, 255)  # a range that is filled
NHWC = np.ascontiguousarray(COLOURED.transpose(0, 2, 3, 1))
CLEAR = np.concatenate(
    [
        NHWC,
        np.where(np.arange(COUNT) % 4 == 2, 100, 255)
        .astype(np.uint8)[:, None, None, None]
        .repeat(9, 1)
        .repeat(9, 2),
    ],
    3,
)
LATE = COLOURED // 4 / np.float32(255)
LATE[5, 0, 3, 3] = 1  # only one image in the middle tells what white is
LABELS = np.arange(COUNT) % 3
PNGS = [png(image) for image in COLOURED]
Make = Callable[[Path], Path]


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
        assert torch.equal(left.take(shuffled).images[:], right.images[shuffled])
        assert torch.equal(left.images[-3:], right.images[-3:])
        assert torch.equal(left.images[shuffled], right.images[shuffled])
        assert torch.equal(in_memory(left.images), right.images)
        sent = pickle.loads(pickle.dumps(left.images))  # noqa: S301
        assert torch.equal(sent[:], right.images) and torch.equal(left.labels, right.labels)
    assert lazy.classes == whole.classes and lazy.found and whole.found
    assert (lazy.found.sizing, lazy.found.kind) == (whole.found.sizing, whole.found.kind)
    notes = {
        n
        for n in whole.found.notes
        if "scaled" in n or "transparent" in n or "--value-range" in n or "all grey" in n
    }
    assert notes <= set(lazy.found.notes), (notes, lazy.found.notes)
    return lazy, whole


def tables(folder: Path, **options: Any) -> Path:
    names = {"label": ["ant", "bee", "cat"]}
    return written(
        folder,
        {"image": [{"bytes": raw, "path": None} for raw in PNGS], "label": LABELS.tolist()},
        names,
        **options,
    )


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
        (folder / f"{part}.csv").write_text(
            "path,label\n" + "".join(f"images/{i}.png,{LABELS[i]}\n" for i in range(COUNT))
        )
    return folder


def npz(images: np.ndarray, test: np.ndarray | None = None, save: Any = np.savez) -> Make:
    def make(folder: Path) -> Path:
        folder.mkdir()
        save(folder / "train.npz", images=images, labels=LABELS, classes=np.array(["ant", "bee", "cat"]))
        save(
            folder / "test.npz",
            images=images if test is None else test,
            labels=LABELS,
            classes=np.array(["ant", "bee", "cat"]),
        )
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
    np.savez_compressed(
        folder / "mine.npz", x_train=NHWC, y_train=LABELS[:, None], x_test=NHWC[:6] // 2, y_test=LABELS[:6]
    )
    return folder / "mine.npz"


def idx(folder: Path) -> Path:
    return write_idx(folder, (GREY[:, 0], LABELS), (GREY[:7, 0], LABELS[:7]))


def gzipped_idx(folder: Path) -> Path:
    for path in sorted(idx(folder).iterdir()):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    return folder


def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "zooaudit.data.decode.psutil.virtual_memory", lambda: type("Memory", (), {"available": 500})()
    )


def arrow(folder: Path) -> Path:
    for part in ("train", "test"):
        saved(folder, part)
    return folder
