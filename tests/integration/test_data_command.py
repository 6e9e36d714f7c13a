"""``zooaudit data`` and the options that say how data is read; data in a bucket."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cluster.seaweed import Seaweed
from tests.support.data_archives import zipped
from tests.support.data_folders import tree
from tests.support.data_readers import class_folders
from tests.support.makers import pixels, png
from tests.support.terminal import one_line
from zooaudit.cli.main import main, make_parser
from zooaudit.cli.own_data import options_of, reading_of
from zooaudit.data.readers import read_dataset
from zooaudit.data.reading import Reading, Sizing
from zooaudit.data.resolve import resolve
from zooaudit.data.unlabelled import read_foreign, read_log
from zooaudit.errors import ConfigError, DataError, InputError, StoreError
from zooaudit.storage import s3
from zooaudit.storage.fetched import fetched
from zooaudit.storage.s3_client import make_client

Capture = pytest.CaptureFixture[str]
S3 = pytest.mark.s3


def mixed(folder: Path) -> Path:
    """Class folders with images of two sizes, one of them transparent, and what is skipped."""
    for part in ("train", "test"):
        for i, name in enumerate(("10", "9")):
            place = folder / part / name
            place.mkdir(parents=True)
            (place / "0.png").write_bytes(png(pixels(1, channels=3, size=8)[0]))
            (place / "1.png").write_bytes(png(pixels(1, channels=3, size=10)[0]))
            (place / "Thumbs.db").write_bytes(b"x")
            if i:
                clear = np.full((8, 8, 4), 128, np.uint8)
                Image.fromarray(clear).save(place / "2.png")
                (place / "raw.heic").write_bytes(b"x")
    return folder


def test_the_command_shows_what_was_read(tmp_path: Path, capsys: Capture) -> None:
    folder = mixed(tmp_path / "pets")
    more = ["--size", "8", "--background", "white", "--out", str(tmp_path / "look")]
    assert main(["data", "--data", str(folder), *more]) == 0
    shown = capsys.readouterr().out
    for line in (
        "name         pets",
        "kind         class folders",
        "train        5 images",
        "test         5 images",
        "image        8 x 8, coloured: scaled to a shorter side of 8 (bilinear), the middle 8x8 cut out",
        "found        8 x 8 (6), 10 x 10 (4); RGB (8), RGBA (2); PNG (10)",
        "memory       1.92 kB for the images",
        "classes      2, order: alphabetical",
        "      0 10                                   2 train         2 test",
        "      1 9                                    3 train         3 test",
        "skipped      4 hidden or the system's own: ",
        "skipped      2 looks like an image, but is of a kind that is not read: ",
        "natural order differs: 9, 10",
        "note         2 of 10 images have transparent pixels and were put on (255, 255, 255)",
    ):
        assert line in shown, shown
    with Image.open(tmp_path / "look" / "examples.png") as sheet:
        assert np.array_equal(
            np.asarray(sheet)[:48:6, 150:198:6], pixels(1, channels=3, size=8)[0].transpose(1, 2, 0)
        )
    assert main(["data", "--data", str(folder), *more, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["class_counts"] == {"train": [2, 3], "test": [2, 3]} and facts["classes"] == ["10", "9"]
    assert facts["sizes"] == [[8, 8, 6], [10, 10, 4]] and facts["sizing"].startswith(
        "scaled to a shorter side of 8"
    )


def test_options_settle_what_is_refused(tmp_path: Path, capsys: Capture) -> None:
    folder = mixed(tmp_path / "pets")
    for options, flag in (([], "--background white"), (["--background", "white"], "--size HEIGHTxWIDTH")):
        assert main(["data", "--data", str(folder), *options]) == 2
        assert flag in one_line(capsys)
    natural = [
        "--classes",
        "natural",
        "--size",
        "8x6",
        "--fit",
        "squash",
        "--filter",
        "bicubic",
        "--background",
        "black",
        "--colour",
        "grey",
    ]
    assert main(["data", "--data", str(folder), *natural, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (
        facts["classes"] == ["9", "10"]
        and facts["image_shape"] == [1, 8, 6]
        and facts["sizing"] == "squashed to 8x6 (bicubic)"
    )
    assert main(["data", "--data", str(folder), "--value-range", "1", "0"]) == 2
    assert "--value-range 1 0: expected the number of black and a larger one of white" in one_line(capsys)
    assert main(["data", "--dataset", "digits", "--size", "8"]) == 2
    assert "options that say how images are read go with --data" in one_line(capsys)


def test_plan_follows_data_of_any_kind(tmp_path: Path, capsys: Capture) -> None:
    np.savez(
        tmp_path / "mnist.npz",
        x_train=pixels(60),
        y_train=np.arange(60) % 3,
        x_test=pixels(12) / 255.0,
        y_test=np.arange(12) % 3,
    )
    assert main(["plan", "--recipe", "digits", "--data", str(tmp_path / "mnist.npz")]) == 2
    assert "expected one type in train and test" in one_line(capsys)
    np.savez(
        tmp_path / "mnist.npz",
        x_train=pixels(60) / 255.0,
        y_train=np.arange(60) % 3,
        x_test=pixels(12) / 255.0,
        y_test=np.arange(12) % 3,
    )
    assert (
        main(["plan", "--recipe", "digits", "--data", str(tmp_path / "mnist.npz"), "--value-range", "0", "1"])
        == 0
    )


def test_many_classes_take_a_screen(tmp_path: Path, capsys: Capture) -> None:
    assert main(["data", "--data", str(tree(tmp_path, [f"c{i:03}" for i in range(60)]))]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 45 and "  ... 30 more (--json has all)" in lines


def test_logs_are_read_as_the_data_is(tmp_path: Path) -> None:
    """Transparent, of two sizes, in a zip: the same options settle it."""
    for i in range(24):
        Image.fromarray(np.full((8 + i % 2, 8, 4), (10, 20, 30, 0), np.uint8)).save(tmp_path / f"{i}.png")
    path = zipped(tmp_path, tmp_path.parent / f"{tmp_path.name}.zip")
    with pytest.raises(DataError, match=r"zip/0.png: it has transparent pixels.*--background white"):
        read_log(path, (3, 8, 8))
    rows: list[str] = []
    with pytest.raises(DataError, match=r"holds images of \(3, 9, 8\).*--size"):
        read_log(path, (3, 8, 8), Reading(background=(7, 8, 9)))
    log = read_log(path, (3, 8, 8), Reading(background=(7, 8, 9), sizing=Sizing(8, 8)), rows.append)
    assert log.shape == (24, 3, 8, 8) and log[:, :, 0, 0].unique(dim=0).tolist() == [[7, 8, 9]]
    assert any("24 of 24 images have transparent pixels" in text for text in rows)
    assert read_foreign(path, (1, 5, 5), Reading(background=(7, 7, 7))).unique().tolist() == [7]


def upload(url: str, source: Path, **extra: str) -> None:
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    client = make_client()
    for path in source.rglob("*"):
        if path.is_file():
            client.put_object(
                Bucket=bucket,
                Key=f"{prefix}/{path.relative_to(source).as_posix()}",
                Body=path.read_bytes(),
                **extra,
            )


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZOOAUDIT_STORE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@S3
def test_data_in_a_bucket_is_fetched_once_and_checked(
    bucket: str, cache: Path, tmp_path: Path, capsys: Capture
) -> None:
    folder = class_folders(tmp_path / "data")
    upload(bucket, folder)
    assert main(["data", "--data", bucket, "--json"]) == 0
    out, err = capsys.readouterr()
    here = read_dataset(folder, "mine")
    facts = json.loads(out)
    assert facts["digest"] == here.digest and facts["source"] == bucket and "fetching 18 of 18 files" in err
    said: list[str] = []
    place = fetched(bucket, said.append)
    assert said == []
    (place / "train" / "ant" / "000.png").write_bytes(
        b"damaged".ljust((place / "train" / "ant" / "000.png").stat().st_size)
    )
    (place / "train" / "ant" / "stranger.png").write_bytes((place / "train" / "bee" / "001.png").read_bytes())
    assert read_dataset(fetched(bucket, said.append), "mine").digest == here.digest
    assert [text.partition(" files")[0] for text in said] == ["data: fetching 1 of 18"]


@S3
def test_what_changes_in_the_bucket_changes_here(bucket: str, cache: Path, tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "data")
    upload(bucket, folder)
    fetched(bucket)
    name, prefix = bucket.removeprefix("s3://").partition("/")[::2]
    new = png(pixels(1, seed=77)[0])
    make_client().put_object(Bucket=name, Key=f"{prefix}/train/ant/000.png", Body=new)
    make_client().delete_object(Bucket=name, Key=f"{prefix}/train/ant/003.png")
    place = fetched(bucket)
    assert (place / "train" / "ant" / "000.png").read_bytes() == new and not (
        place / "train" / "ant" / "003.png"
    ).exists()


@S3
def test_one_file_in_a_bucket(bucket: str, cache: Path, tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "data")
    (tmp_path / "up").mkdir()
    zipped(folder, tmp_path / "up" / "pets.zip")
    zipped(folder, tmp_path / "up" / "pets.zip.old")
    upload(bucket, tmp_path / "up")
    path = fetched(f"{bucket}/pets.zip")
    assert (
        path.name == "pets.zip" and read_dataset(path, "mine").digest == read_dataset(folder, "mine").digest
    )


@S3
def test_a_bucket_that_may_only_be_read_will_do(
    own_server: Seaweed, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload("s3://zoo/mine", class_folders(tmp_path / "data"))
    config = json.loads((own_server.folder / "s3.json").read_text())
    config["identities"].append(
        {
            "name": "reader",
            "credentials": [{"accessKey": "r", "secretKey": "rr"}],
            "actions": ["Read", "List"],
        }
    )
    (own_server.folder / "s3.json").write_text(json.dumps(config))
    own_server.kill()
    own_server.start()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "r")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "rr")
    assert len(read_dataset(fetched("s3://zoo/mine"), "mine").train) == 12


@S3
def test_what_is_wrong_with_a_bucket_is_said(
    bucket: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="holds nothing; expected a data folder"):
        fetched(f"{bucket}/nothing")
    with pytest.raises(InputError, match="expected s3://bucket/prefix"):
        fetched("s3://")
    name, prefix = bucket.removeprefix("s3://").partition("/")[::2]
    make_client().put_object(Bucket=name, Key=f"{prefix}/odd/.partial-x", Body=b"x")
    with pytest.raises(InputError, match="cannot be the name of a file here"):
        fetched(f"{bucket}/odd")
    upload(f"{bucket}/data", class_folders(tmp_path / "data"))
    store = s3.S3Store(f"{bucket}/data", probe=False)
    entry = store.listing("")[0]
    for other in (replace(entry, size=entry.size + 1), replace(entry, etag="0" * 32)):
        with pytest.raises(StoreError, match="changed while it was read, or arrived damaged; read it again"):
            store.download(other, tmp_path / "part")


def test_options_need_data(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="digits is read as it is published"):
        resolve("digits", reading=Reading(colour="grey"))


def test_options_are_told_again_as_they_were_given() -> None:
    given = [
        "--classes",
        "my names.txt",
        "--size",
        "64",
        "--no-antialias",
        "--value-range",
        "-1.0",
        "1.0",
        "--label-column",
        "kind",
    ]
    args = make_parser().parse_args(["audit", "--data", "x", *given])
    result = shlex.split(" ".join(options_of(args)))
    again = make_parser().parse_args(["audit", *result])
    assert (
        reading_of(again) == reading_of(args) != Reading()
        and len(result) == len(given) + len(["--data", "x"])
        and again.data == "x"
    )
    assert options_of(make_parser().parse_args(["audit"])) == []
