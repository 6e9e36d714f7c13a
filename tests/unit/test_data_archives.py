"""WebDataset tar files and zips of data folders: whole or refused, whatever they were made by."""

import json
import stat
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.support.data_archives import IMAGES, LABELS, PNGS, Members, samples, shards, tar, zipped
from tests.support.data_folders import refused, told
from tests.support.data_readers import class_folders, npz_files
from tests.support.makers import pixels, png
from zooaudit.data.readers import read_dataset
from zooaudit.data.reading import Reading


def check(folder: Path, reading: Reading | None = None) -> str:
    data = read_dataset(folder, "mine", reading or Reading())
    assert np.array_equal(data.train.images.numpy(), IMAGES) and np.array_equal(
        data.test.images.numpy(), IMAGES
    )
    assert data.train.labels.tolist() == LABELS
    return told(data)


@pytest.mark.parametrize("label", ["cls", "json", "cls.txt"])
def test_samples_are_read_in_order(label: str, tmp_path: Path) -> None:
    assert check(shards(tmp_path, label)) == ""


def test_shards_in_a_folder_a_split_and_numbered_of_how_many(tmp_path: Path) -> None:
    for part in ("train", "val"):
        tar(tmp_path / part / "00000.tar", samples(range(7)))
        tar(tmp_path / part / "00001.tar", samples(range(7, 12)))
    check(tmp_path)
    (tmp_path / "train" / "00000.tar").rename(tmp_path / "train" / "x-00000-of-00003.tar")
    (tmp_path / "train" / "00001.tar").rename(tmp_path / "train" / "x-00001-of-00003.tar")
    refused(tmp_path, "number 2 is missing: fetch the rest")


def test_a_gap_in_the_numbers_of_shards_is_seen(tmp_path: Path) -> None:
    folder = shards(tmp_path)
    (folder / "train-000001.tar").rename(folder / "train-000002.tar")
    refused(folder, "train-000000.tar, train-000002.tar; number 1 is missing")


def test_names_as_classes_and_odd_members(tmp_path: Path) -> None:
    names = ["cat", "ant", "bee"]
    members = [
        m
        for i in range(12)
        for m in ((f"./a.b/{i}.PNG", PNGS[i]), (f"./a.b/{i}.cls", names[LABELS[i]].encode()))
    ]
    members += [("./a.b/._0.png", b"\0\5\x16\7"), ("README", b"x"), (".DS_Store", b"x")]
    for part in ("train", "test"):
        tar(tmp_path / f"{part}.tar", members)
    data = read_dataset(tmp_path, "mine")
    assert data.classes == ("ant", "bee", "cat") and np.array_equal(data.train.images.numpy(), IMAGES)
    assert [data.classes[y] for y in data.train.labels.tolist()] == [names[i] for i in LABELS]


def test_a_tar_that_is_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    """Python's tarfile takes one that ends between two members for whole."""
    folder = shards(tmp_path)
    path = folder / "train-000000.tar"
    whole = path.read_bytes()
    with tarfile.open(path) as archive:
        last = archive.getmembers()[-4]
    between = last.offset
    path.write_bytes(whole[:between])
    with tarfile.open(path) as archive:
        assert len(archive.getmembers()) == 10, "the fault that is looked for"
    refused(folder, str(path), "has no end: the file is cut short")
    for cut in (between + 100, last.offset_data + 10, between + 512 * 5, 100, 0):
        path.write_bytes(whole[:cut])
        refused(folder, str(path))
    path.write_bytes(whole + whole)
    refused(folder, str(path), "goes on after its end")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            [("a.png", PNGS[0])],
            "sample a has png; expected cls (or json) for its class: --label-column ENDING",
        ),
        (
            [("a.cls", b"0")],
            "sample a has cls, none of them images; expected one image: --image-column ENDING",
        ),
        (
            [("a.png", PNGS[0]), ("a.jpg", PNGS[0]), ("a.cls", b"0")],
            "sample a has png, jpg, cls, 2 of them images",
        ),
        ([("a.png", PNGS[0]), ("a.cls", b"0"), ("a.png", PNGS[1])], "a.png comes twice"),
        ([("a.png", PNGS[0]), ("a.cls", b" ")], "a.cls is empty; expected the class of one image"),
        ([("a.png", PNGS[0]), ("a.json", b"{")], "a.json: not readable JSON"),
        ([("a.png", PNGS[0]), ("a.json", b'{"caption": "x"}')], "expected a field label, labels, fine_label"),
        ([("a.png", PNGS[0][:40]), ("a.cls", b"0")], "train.tar: a.png: not a readable image"),
        ([], "holds no samples"),
    ],
)
def test_samples_that_are_not_whole_are_named(members: Members, message: str, tmp_path: Path) -> None:
    tar(tmp_path / "test.tar", [("a.png", PNGS[0]), ("a.cls", b"0")])
    refused(tar(tmp_path / "train.tar", members).parent, message)


def test_which_ending_is_the_image_and_which_field_the_class(tmp_path: Path) -> None:
    wrong = png(pixels(1, seed=99)[0])
    for part in ("train", "test"):
        members: Members = []
        for i in range(12):
            members += [
                (f"{i}.png", PNGS[i]),
                (f"{i}.seg.png", wrong),
                (f"{i}.json", json.dumps({"a": {}, "kind": LABELS[i]}).encode()),
            ]
        tar(tmp_path / f"{part}.tar", members)
    check(tmp_path, Reading(label_column="json.kind"))
    other = read_dataset(tmp_path, "mine", Reading(label_column="json.kind", image_column="seg.png"))
    assert not np.array_equal(other.train.images.numpy(), IMAGES)


def test_links_and_compressed_tars_are_refused(tmp_path: Path) -> None:
    folder = shards(tmp_path)
    with tarfile.open(folder / "train-000000.tar", "a") as archive:
        info = tarfile.TarInfo("x.png")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    refused(folder, "x.png is a link or not a regular file")
    with tarfile.open(folder / "train-000000.tar", "w:gz") as archive:
        archive.add(__file__, "x.py")
    refused(folder, "is compressed; expected a plain tar: gunzip it")


def test_a_zip_is_read_as_its_folder_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    for i, write in enumerate((class_folders, npz_files)):
        (tmp_path / str(i)).mkdir()
        folder = write(tmp_path / str(i))
        path = zipped(folder, tmp_path / f"{i}.zip", "pets/")
        data = read_dataset(path, "mine")
        assert data.digest == read_dataset(folder, "mine").digest and data.source == str(path)
    (folder / "train.npz").write_bytes(b"x")
    refused(zipped(folder, tmp_path / "bad.zip"), f"{tmp_path}/bad.zip/train.npz: not a readable .npz file")
    assert not list(scratch.iterdir())


def test_a_zip_that_is_damaged_or_a_trap_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(class_folders(tmp_path / "data"), tmp_path / "data.zip")
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    refused(path, "not a readable zip file")
    damaged = bytearray(whole)
    damaged[len(whole) // 3] ^= 255
    path.write_bytes(bytes(damaged))
    refused(path, str(path))
    for name in ("../x.png", "/x.png", "a\\..\\..\\x.png"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, "x")
        refused(path, f"{name} leads out of it")
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("train/a/x.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    refused(path, "train/a/x.png is a link; expected files")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train/a/x.png", bytes(3_000_000))
    monkeypatch.setattr("zooaudit.data.zips.LARGE", 2**20)
    refused(path, "as no images do; unpack it yourself if you trust it")
    path.write_bytes(whole)
    monkeypatch.setattr("zooaudit.data.zips.shutil.disk_usage", lambda _: type("Usage", (), {"free": 100})())
    refused(path, "free some, or set TMPDIR")
