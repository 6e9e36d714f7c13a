"""Every form of data, made too large for memory: the same pixels, labels and classes as in memory, or a
refusal that says what to do."""

import gzip
import io
import json
import os
import pickle
import shutil
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from tests.support.data_archives import shards, tar
from tests.support.data_folders import class_folder
from tests.support.data_parquet import saved, written
from tests.support.makers import pixels, png, write_idx
from zooaudit.cli.main import main
from zooaudit.data import array_pixels, copies, large
from zooaudit.data.images import Dataset
from zooaudit.data.on_disk import ImagesOnDisk, in_memory
from zooaudit.data.readers import read_dataset
from zooaudit.data.reading import PLAIN, Reading, Sizing
from zooaudit.data.unlabelled import read_foreign
from zooaudit.errors import DataError

pytestmark = pytest.mark.usefixtures("small_memory")

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


def snapshot(folder: Path) -> Path:
    """What a hub holds: several files of a split, in ``data``."""
    table = pa.table(
        {
            "image": [{"bytes": raw, "path": f"{i}.png"} for i, raw in enumerate(PNGS)],
            "label": LABELS.tolist(),
        }
    )
    (folder / "data").mkdir(parents=True)
    for i, (start, end) in enumerate(((0, 5), (5, 5), (5, 12))):
        pq.write_table(
            table.slice(start, end - start),
            folder / "data" / f"train-{i:05}-of-00003.parquet",
            row_group_size=2,
        )
    pq.write_table(table.slice(3, 7), folder / "data" / "test-00000-of-00001.parquet")
    return folder


def paths(folder: Path) -> Path:
    (folder / "images").mkdir(parents=True)
    for i, raw in enumerate(PNGS):
        (folder / "images" / f"{i}.png").write_bytes(raw)
    rows = [{"bytes": None, "path": f"images/{i}.png"} for i in range(COUNT)]
    return written(
        folder,
        {
            "image": pa.array(rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            "label": LABELS.tolist(),
        },
    )


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
        (folder / f"{part}.csv").write_text(
            "path,label\n" + "".join(f"images/{i}.png,{LABELS[i]}\n" for i in range(COUNT))
        )
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
def test_encoded_images(
    make: Make, reading: Reading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both(make(tmp_path / "data"), monkeypatch, reading)


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


def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "zooaudit.data.decode.psutil.virtual_memory", lambda: type("Memory", (), {"available": 500})()
    )


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


def test_a_damaged_member_of_a_zip_names_itself(tmp_path: Path) -> None:
    place = zipped(zipfile.ZIP_STORED, class_folder)(tmp_path)
    images = read_dataset(place, "d").train.images
    with zipfile.ZipFile(place) as archive:
        info = archive.getinfo("train/c1/04.png")
    for at in (info.header_offset + 80, info.header_offset):
        raw = bytearray(place.read_bytes())
        raw[at] ^= 1
        place.write_bytes(raw)
        with pytest.raises(DataError, match=r"data\.zip/train/c1/04\.png: it is damaged, or the zip changed"):
            images[12:24]
    place.unlink()
    with pytest.raises(DataError, match=r"data\.zip cannot be read any more"):
        images[12:24]


def test_a_zip_packed_otherwise_is_unpacked_by_its_owner(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"packed by method 12, .* expected members that are stored or deflated: unpack it"
    ):
        read_dataset(zipped(zipfile.ZIP_BZIP2, class_folder)(tmp_path), "d")


@pytest.mark.parametrize(
    "make", [tables, keras, idx, gzipped_idx, zipped(zipfile.ZIP_STORED, table_of_paths)]
)
def test_other_data_in_the_same_place_takes_nothing_of_the_first(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read_dataset(make(tmp_path / "data"), "d")
    whole, digest = in_memory(first.train.images).clone(), first.digest
    shutil.rmtree(tmp_path / "data")
    turn_round(monkeypatch)
    again = read_dataset(make(tmp_path / "data"), "d")
    assert again.digest != digest and torch.equal(in_memory(again.train.images), whole.flip(0))


def test_another_column_or_ending_has_a_copy_of_its_own(tmp_path: Path) -> None:
    rows = [{"bytes": raw, "path": None} for raw in PNGS]
    table = written(tmp_path / "table", {"a": rows, "b": rows[::-1], "label": LABELS.tolist()})
    members = [
        m
        for i in range(COUNT)
        for m in ((f"{i}.a.png", PNGS[i]), (f"{i}.b.png", PNGS[-1 - i]), (f"{i}.cls", b"%d" % LABELS[i]))
    ]
    for part in ("train", "test"):
        tar(tmp_path / "tar" / f"{part}.tar", members)
    for place, ending in ((table, ""), (tmp_path / "tar", ".png")):
        for name, expected in (("a", COLOURED), ("b", COLOURED[::-1]), ("a", COLOURED)):
            images = read_dataset(place, "d", Reading(image_column=name + ending)).train.images
            assert np.array_equal(in_memory(images).numpy(), expected)


def turn_round(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, images in (("PNGS", PNGS), ("NHWC", NHWC), ("GREY", GREY)):
        monkeypatch.setattr(f"tests.unit.test_data_beyond_memory.{name}", images[::-1])


@pytest.mark.parametrize("make", [tables, arrow, keras, gzipped_idx])
def test_a_copy_that_is_not_whole_is_made_again(make: Make, tmp_path: Path) -> None:
    place = make(tmp_path / "data")
    whole = in_memory(read_dataset(place, "d").train.images)
    shutil.rmtree(tmp_path / "cache" / "decoded", ignore_errors=True)
    for path in (tmp_path / "cache" / "encoded").glob("*"):
        if not path.name.endswith(".lock"):
            raw = path.read_bytes()
            path.write_bytes(raw[:100])
            path.with_name(path.name + ".part").write_bytes(raw[:200])
    copies._opened.cache_clear()
    assert torch.equal(in_memory(read_dataset(place, "d").train.images), whole)
    assert not list((tmp_path / "cache").rglob("*.part"))


@pytest.mark.parametrize("make", [tables, keras, gzipped_idx])
def test_another_machine_makes_its_own_copy_of_the_same(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = make(tmp_path / "data")
    images = read_dataset(place, "d").train.images
    whole, sent = in_memory(images).clone(), pickle.dumps(images)
    shutil.rmtree(tmp_path / "cache")
    copies._opened.cache_clear()
    there = pickle.loads(sent)  # noqa: S301
    there._kept = there._kept and tmp_path / "there"
    assert torch.equal(in_memory(there), whole) and list((tmp_path / "cache" / "encoded").glob("*"))
    shutil.rmtree(tmp_path / "cache")
    copies._opened.cache_clear()
    turn_round(monkeypatch)
    shutil.rmtree(tmp_path / "data")
    make(tmp_path / "data")
    there = pickle.loads(sent)  # noqa: S301
    there._kept = there._kept and tmp_path / "elsewhere"
    with pytest.raises(DataError, match="holds other data here than where it was read first"):
        in_memory(there)


def test_who_comes_second_waits_and_finds_it_made(tmp_path: Path) -> None:
    written: list[int] = []

    def write(sink: copies.Sink) -> None:
        written.append(1)
        time.sleep(0.1)
        sink.write(b"abc")

    copy = copies.Copy(tmp_path / "copy", "data", write, 3)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: copy.made(), range(4)))
    assert len(set(made)) == 1 and len(written) == 1 and made[0].read(1, 2) == b"bc"
    with pytest.raises(DataError, match="was cut short"):
        made[0].read(2, 100)
    other = copies.Copy(tmp_path / "other", "data", lambda sink: sink.write(b"xyz"), 3).made()
    os.replace(other.path, copy.path)
    copies._opened.cache_clear()
    with pytest.raises(DataError, match="data holds other data here than where it was read first"):
        made[0].read(1, 2)


def test_what_cannot_be_written_says_where_else(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(
        DataError,
        match=r"cannot be written or read \(.*\); expected a place for .*train\.parquet holds: set ZOO",
    ):
        read_dataset(tables(tmp_path / "data"), "d")


def test_damage_in_a_copy_is_seen(tmp_path: Path) -> None:
    images = read_dataset(tables(tmp_path / "data"), "d").train.images
    for path in (tmp_path / "cache" / "encoded").glob("*"):
        raw = bytearray(path.read_bytes())
        raw[40:41] = bytes([raw[40] ^ 1]) if raw else b""
        path.write_bytes(raw)
    with pytest.raises(DataError, match=r"train\.parquet row 0: its copy in .* is damaged; delete that file"):
        images[:1]


@pytest.mark.parametrize("make", [tables, keras, gzipped_idx])
def test_a_disk_without_room_is_noticed(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = make(tmp_path / "data")
    usage = type(shutil.disk_usage("."))(100, 50, 2**28)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(
        DataError, match=r"is too large for memory, .* has 0\.3 GB left; expected room for .* ZOOAUDIT_CACHE"
    ):
        read_dataset(place, "d")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_a_small_file_of_a_huge_value_that_all_rows_repeat_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zooaudit.data.packed.LARGE", 2**20)
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(
        buffer, "PNG"
    )
    table = pa.table(
        {
            "image": pa.array([buffer.getvalue()] * 3000).dictionary_encode(),
            "label": [i % 2 for i in range(3000)],
        }
    )
    for part in ("train", "test"):
        pq.write_table(table, tmp_path / f"{part}.parquet")
    with pytest.raises(
        DataError,
        match=r"train\.parquet holds more than 0\.0 GiB unpacked, as no images of a file of this size do",
    ):
        read_dataset(tmp_path, "d")


@pytest.mark.parametrize(
    ("make", "reading", "said"),
    [
        (
            npy(COLOURED.astype(np.float32) * 3),
            PLAIN,
            "images are float32 from 0 to 765, which may stand for more than one range",
        ),
        (npy(np.where(COLOURED == 7, np.nan, COLOURED / 255)), PLAIN, "numbers that are not finite"),
        (
            npy(COLOURED.astype(np.uint16)),
            Reading(value_range=(0, 100)),
            r"its numbers lie in \[0, 255\]; expected \[0, 100\]",
        ),
        (npy(CLEAR), PLAIN, "image 2 has transparent pixels"),
        (npy(pixels(COUNT, channels=3, size=3)), PLAIN, "both layouts fit"),
        (npz(COLOURED, (COLOURED / 255).astype(np.float32)), PLAIN, "expected one type in train and test"),
    ],
)
def test_what_memory_would_refuse_is_refused_before_it_is_used(
    make: Make, reading: Reading, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zooaudit.data.stored.BLOCK", 300)
    place = make(tmp_path / "data")
    for limit in (100, 2**30):
        monkeypatch.setattr(large, "IN_MEMORY", limit)
        with pytest.raises(DataError, match=said):
            read_dataset(place, "d", reading)


def test_files_that_are_cut_short_are_refused(tmp_path: Path) -> None:
    for make, name, said in (
        (idx, "train-images-idx3-ubyte", "holds 900 bytes; its header says"),
        (gzipped_idx, "train-images-idx3-ubyte.gz", "IDX file"),
    ):
        place = make(tmp_path / name)
        path = place / name
        path.write_bytes(path.read_bytes()[: 916 if make is idx else 700])
        with pytest.raises(DataError, match=said):
            read_dataset(place, "d")
    place = npz(COLOURED)(tmp_path / "npz")
    raw = bytearray((place / "train.npz").read_bytes())
    raw[600] ^= 1
    (place / "train.npz").write_bytes(raw)
    with pytest.raises(DataError, match=r"train\.npz: not a readable \.npz file \(Bad CRC-32"):
        read_dataset(place, "d")


def test_an_array_that_shrinks_while_it_is_used_is_an_error_and_no_crash(tmp_path: Path) -> None:
    place = npy(COLOURED)(tmp_path / "data")
    images = read_dataset(place, "d").train.images
    os.truncate(place / "x_train.npy", 1000)
    with pytest.raises(DataError, match=r"x_train\.npy is shorter than when it was read first"):
        images[:]
    (place / "x_train.npy").unlink()
    with pytest.raises(DataError, match=r"x_train\.npy cannot be read any more"):
        images[:]


@pytest.mark.parametrize(
    "make", [snapshot, shards, zipped(zipfile.ZIP_DEFLATED, class_folder), keras, gzipped_idx, npy(NHWC)]
)
def test_the_whole_command(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = make(tmp_path / "data")
    output, sheets = [], []
    for limit in (100, 2**30):
        monkeypatch.setattr(large, "IN_MEMORY", limit)
        assert main(["data", "--data", str(place), "--json", "--out", str(tmp_path / str(limit))]) == 0
        output.append(json.loads(capsys.readouterr().out))
        sheets.append((tmp_path / str(limit) / "examples.png").read_bytes())
    same = ("train", "test", "image_shape", "classes", "class_counts", "kind", "sizes", "modes", "formats")
    assert {k: output[0][k] for k in same} == {k: output[1][k] for k in same} and sheets[0] == sheets[1]
    assert (output[0]["memory_bytes"], output[1]["memory_bytes"] > 0) == (0, True)
    assert any("too many for memory" in note for note in output[0]["notes"])


def test_unlabelled_images_and_all_at_once_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = class_folder(tmp_path / "data")
    images = read_dataset(place, "d").train.images
    assert len(read_foreign(place / "train", (3, 8, 8))) == 36
    no_memory(monkeypatch)
    with pytest.raises(
        DataError,
        match=(
            r"more than 1 images of another task \(fewer do, too\), put together, take .*, this machine has"
        ),
    ):
        read_foreign(place / "train", (3, 8, 8))
    with pytest.raises(DataError, match=r"36 images of 3, 8, 8, all at once, take"):
        in_memory(images)
