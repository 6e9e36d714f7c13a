"""Copies on disk of data beyond memory: made once, known by what they are of."""

import os
import pickle
import shutil
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.data_archives import tar
from tests.support.data_beyond_memory import (
    COLOURED,
    COUNT,
    GREY,
    LABELS,
    NHWC,
    PNGS,
    Make,
    arrow,
    gzipped_idx,
    idx,
    keras,
    table_of_paths,
    tables,
    zipped,
)
from tests.support.data_parquet import written
from zooaudit.data import copies
from zooaudit.data.on_disk import in_memory
from zooaudit.data.readers import read_dataset
from zooaudit.data.reading import Reading
from zooaudit.errors import DataError

pytestmark = pytest.mark.usefixtures("small_memory")


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
        monkeypatch.setattr(f"tests.support.data_beyond_memory.{name}", images[::-1])


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
    with pytest.raises(DataError, match="holds other data here than where it was first read"):
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
    with pytest.raises(DataError, match="data holds other data here than where it was first read"):
        made[0].read(1, 2)


def test_what_cannot_be_written_says_where_else(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(
        DataError,
        match=r"cannot be written or read \(.*\); expected a folder for a copy of .*train\.parquet: set ZOO",
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
        DataError,
        match=r"is too large for memory, .* has 0\.3 GB left; expected .* GB more: set ZOOAUDIT_CACHE",
    ):
        read_dataset(place, "d")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.suffix != ".lock"]
