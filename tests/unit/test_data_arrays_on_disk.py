"""Arrays that are larger than memory."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.data_archives import shards
from tests.support.data_beyond_memory import (
    CLEAR,
    COLOURED,
    COUNT,
    GREY,
    LABELS,
    LATE,
    NHWC,
    PNGS,
    Make,
    both,
    gzipped_idx,
    idx,
    keras,
    no_memory,
    npy,
    npz,
    table_of_paths,
    tables,
    zipped,
)
from tests.support.data_parquet import written
from tests.support.makers import pixels
from zooaudit.data import array_pixels, large
from zooaudit.data.readers import read_dataset
from zooaudit.data.reading import PLAIN, Reading, Sizing
from zooaudit.errors import DataError

pytestmark = pytest.mark.usefixtures("small_memory")

ARRAYS: list[tuple[Make, Reading]] = [
    (npy(COLOURED), PLAIN),
    (npy(NHWC), PLAIN),
    (npy(GREY[:, 0]), PLAIN),
    (npy(NHWC), Reading(sizing=Sizing(5, 6))),
    (npy(NHWC), Reading(colour="grey")),
    (npy(GREY), Reading(colour="rgb")),
    (npy((COLOURED / 255).astype(np.float32)), PLAIN),
    (npy((COLOURED / 255).astype(np.float16)), PLAIN),
    (npy(LATE), PLAIN),
    (
        npz(COLOURED // 8, np.where(np.arange(COUNT)[:, None, None, None] == 7, COLOURED, COLOURED // 8)),
        PLAIN,
    ),
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
def test_arrays(
    make: Make, reading: Reading, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zooaudit.data.stored.BLOCK", block)
    both(make(tmp_path / "data"), monkeypatch, reading)


@pytest.mark.parametrize(("make", "reading"), ARRAYS)
def test_arrays_that_are_large_and_become_small(
    make: Make, reading: Reading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In memory at the end, yet never read whole."""
    monkeypatch.setattr(large, "IN_MEMORY", 2**30)
    monkeypatch.setattr("zooaudit.data.stored.BLOCK", 500)
    place = make(tmp_path / "data")
    whole = read_dataset(place, "d", reading)
    monkeypatch.setattr(array_pixels, "WHOLE", 100)
    monkeypatch.setattr(array_pixels.Numbers, "__post_init__", _by_row, raising=False)
    parts = read_dataset(place, "d", reading)
    assert parts.digest == whole.digest and parts.found == whole.found
    assert torch.equal(parts.train.images[:], whole.train.images[:]) and torch.equal(
        parts.test.images[:], whole.test.images[:]
    )


def _by_row(made: array_pixels.Numbers) -> None:
    assert made.rows is not None


@pytest.mark.parametrize("inside", [tables, npy(COLOURED), shards])
def test_in_a_zip_only_files_stay_on_disk(
    inside: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others are read into memory, or it is said what to do."""
    place = zipped(zipfile.ZIP_DEFLATED, inside)(tmp_path)
    monkeypatch.setattr(array_pixels, "WHOLE", 100)
    assert (
        isinstance(read_dataset(place, "d").train.images, torch.Tensor) and not (tmp_path / "cache").exists()
    )
    no_memory(monkeypatch)
    with pytest.raises(
        DataError,
        match=r"data\.zip: 24 images of .* \(they could .* if the zip were unpacked, .*\) take .*; --size",
    ):
        read_dataset(place, "d")


def test_numbers_by_column_are_held_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = npy(np.asfortranarray(COLOURED))(tmp_path / "data")
    assert np.array_equal(read_dataset(place, "d").train.images[:].numpy(), COLOURED)
    no_memory(monkeypatch)
    with pytest.raises(
        DataError, match=r"24 images of 3, 9, 9 \(they could stay on disk as \.npy in C order: .*\) take"
    ):
        read_dataset(place, "d")


def test_rows_that_are_images_and_paths_are_not_mixed(tmp_path: Path) -> None:
    folder = table_of_paths(tmp_path / "data")
    for path in folder.glob("*.csv"):
        path.unlink()
    for first, said in (
        ("bytes", "image is a path, in rows before it is the image itself"),
        ("path", "the image itself, in rows before"),
    ):
        rows = [
            (
                {"bytes": raw, "path": None}
                if (i < 5) == (first == "bytes")
                else {"bytes": None, "path": f"images/{i}.png"}
            )
            for i, raw in enumerate(PNGS)
        ]
        with pytest.raises(
            DataError, match=f"train.parquet row 5: .*{said}.*; expected one or the other, .*write them alike"
        ):
            read_dataset(written(folder, {"image": rows, "label": LABELS.tolist()}), "d")
