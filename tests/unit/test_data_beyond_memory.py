"""Every form of data, made too large for memory: the same pixels, labels and classes as in memory, or a
refusal that says what to do."""

import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.support.data_archives import shards
from tests.support.data_beyond_memory import (
    CLEAR,
    COLOURED,
    COUNT,
    LABELS,
    NHWC,
    PNGS,
    Make,
    arrow,
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
from tests.support.data_folders import class_folder
from tests.support.data_parquet import written
from tests.support.makers import pixels
from zooaudit.cli.main import main
from zooaudit.data import large
from zooaudit.data.on_disk import in_memory
from zooaudit.data.readers import read_dataset
from zooaudit.data.reading import PLAIN, Reading, Sizing
from zooaudit.data.unlabelled import read_foreign
from zooaudit.errors import DataError

pytestmark = pytest.mark.usefixtures("small_memory")


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


def test_a_damaged_member_of_a_zip_names_itself(tmp_path: Path) -> None:
    place = zipped(zipfile.ZIP_STORED, class_folder)(tmp_path)
    images = read_dataset(place, "d").train.images
    with zipfile.ZipFile(place) as archive:
        info = archive.getinfo("train/c1/04.png")
    for at in (info.header_offset + 80, info.header_offset):
        raw = bytearray(place.read_bytes())
        raw[at] ^= 1
        place.write_bytes(raw)
        with pytest.raises(
            DataError, match=r"data\.zip/train/c1/04\.png: it is damaged, or the zip has changed"
        ):
            images[12:24]
    place.unlink()
    with pytest.raises(DataError, match=r"data\.zip cannot be read any more"):
        images[12:24]


def test_a_zip_packed_otherwise_is_unpacked_by_its_owner(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"packed by method 12, .* expected members that are stored or deflated: unpack it"
    ):
        read_dataset(zipped(zipfile.ZIP_BZIP2, class_folder)(tmp_path), "d")


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
            "images are float32 from 0 to 765, which more than one range fits",
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
    with pytest.raises(DataError, match=r"x_train\.npy can no longer be read"):
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
            r"more than 1 images of another task \(fewer are enough\), put together, take .*, this machine"
        ),
    ):
        read_foreign(place / "train", (3, 8, 8))
    with pytest.raises(DataError, match=r"36 images of 3, 8, 8, all at once, take"):
        in_memory(images)
