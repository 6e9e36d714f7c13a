"""What a stranger's manifest names is looked at before anything is read or written by it: names, digests,
sizes, and what Parquet holds."""

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.support.forged import CONTENT, SHA, manifest
from tests.support.parquet_bombs import bomb
from zooaudit.cli.main import main
from zooaudit.data import limited_parquet
from zooaudit.data.limited_parquet import Reader
from zooaudit.errors import DamagedArtifactError, DataError, InputError
from zooaudit.kits.kit import asked_as
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.local import LocalStore
from zooaudit.storage.opening import open_store

SOUND = {"sha256": SHA, "bytes": len(CONTENT)}


def forged(root: Path, kind: str = "report", id_: str = "r", **changes: Any) -> Artifacts:
    """A store with the one forged manifest."""
    store = LocalStore(root)
    store.create("zooaudit.json", b'{"format":1}')
    store.create(f"objects/{SHA[:2]}/{SHA}", CONTENT)
    store.create(f"manifests/{kind}/{id_}.json", manifest(kind, id_, **changes))
    return open_store(str(root))


@pytest.mark.parametrize(
    "name",
    [
        "{abs}",
        "../../escaped.txt",
        "a/b",
        "..",
        ".",
        "",
        "x" * 300,
        "a\x00b",
        "a\n",
        ".bashrc",
        "-rf",
        "Makefile",
    ],
)
def test_a_report_writes_no_path_that_a_manifest_names(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "escaped.txt"
    forged(tmp_path / "store", files={name.replace("{abs}", str(target)): SOUND})
    out = tmp_path / "x" / "out"
    assert main(["report", "--store", str(tmp_path / "store"), "--run", "r", "--out", str(out)]) == 3
    assert "expected" in capsys.readouterr().err
    assert (
        not [p for p in tmp_path.rglob("*") if p.is_file() and p.is_relative_to(tmp_path / "x")]
        and not target.exists()
    )


@pytest.mark.parametrize(
    "entry",
    [
        {"sha256": "../../../../../../dev/zero", "bytes": 5},
        {"sha256": "/dev/zero", "bytes": 5},
        {"sha256": SHA.upper(), "bytes": 6},
        {"sha256": SHA[:-1], "bytes": 6},
        {"sha256": SHA + "\n", "bytes": 6},
        {"sha256": 5, "bytes": 6},
        {"sha256": SHA},
        {"bytes": 6},
        [],
        {"sha256": SHA, "bytes": -1},
        {"sha256": SHA, "bytes": True},
        {"sha256": SHA, "bytes": 1e9},
        {"sha256": SHA, "bytes": 2**60},
    ],
)
def test_digests_are_64_hex_digits_and_sizes_are_numbers(entry: Any, tmp_path: Path) -> None:
    store = forged(tmp_path, files={"report.html": entry})
    with pytest.raises(DamagedArtifactError, match=r"manifests/report/r.json.* expected"):
        store.load("report", "r")
    assert [(kind, id_) for kind, id_, _ in store.check()] == [("report", "r")]


@pytest.mark.parametrize("kind", ["../../etc", "/etc", "a/b", "", "..", ".x"])
def test_a_kind_is_a_plain_name_too(kind: str, tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    for use in (
        lambda: store.load(kind, "x"),
        lambda: store.has(kind, "x"),
        lambda: store.ids(kind),
        lambda: store.save(kind, "x", {}, {}),
    ):
        with pytest.raises(InputError, match=r"cannot name a run or artifact"):
            use()


def test_a_run_that_used_what_no_store_has_is_refused(tmp_path: Path) -> None:
    forged(tmp_path / "store", meta={"used": {"../../..": ["passwd"]}})
    assert (
        main(
            ["store", "copy", "--store", str(tmp_path / "store"), "--to", str(tmp_path / "to"), "--run", "r"]
        )
        == 2
    )


def test_nothing_that_cannot_be_read_again_is_saved(artifacts: Artifacts) -> None:
    with pytest.raises(InputError, match=r"'\.\./x' cannot name"):
        artifacts.save("thing", "one", {"../x": b""}, {})


def test_content_is_not_read_beyond_its_stated_size(artifacts: Artifacts) -> None:
    artifact = artifacts.save("thing", "one", {"a": CONTENT}, {})
    store = artifacts._store
    store.delete(f"objects/{SHA[:2]}/{SHA}")
    store.create(f"objects/{SHA[:2]}/{SHA}", CONTENT * 1000)
    with pytest.raises(DamagedArtifactError, match=r"thing one: a: .*has 6,000 bytes; expected 6 at most"):
        artifact.read("a")
    with pytest.raises(DamagedArtifactError, match=r"expected 10 at most"):
        store.read(f"objects/{SHA[:2]}/{SHA}", 10)


def test_a_store_of_devices_and_pipes_is_damaged_and_holds_nobody_up(tmp_path: Path) -> None:
    store = forged(tmp_path, files={"report.html": SOUND})
    path = tmp_path / "objects" / SHA[:2] / SHA
    for make in (lambda: path.symlink_to("/dev/zero"), lambda: os.mkfifo(path)):
        path.unlink()
        make()
        with pytest.raises(DamagedArtifactError, match=r"report\.html.* is not a plain file"):
            store.load("report", "r").read("report.html")
    (tmp_path / "zooaudit.json").unlink()
    (tmp_path / "zooaudit.json").symlink_to(tmp_path / "large")
    with open(tmp_path / "large", "wb") as large:
        large.truncate(2**40)
    with pytest.raises(DamagedArtifactError, match=r"expected 4,096 at most"):
        open_store(str(tmp_path))


def test_what_lies_among_the_manifests_and_is_none_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = forged(tmp_path)
    for stray in (".DS_Store", "a b.json", "deep/er.json"):
        path = tmp_path / "manifests" / "report" / stray
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"?")
    assert store.ids("report") == ["r"] and store.kinds() == {"report": 1}
    assert main(["store", "check", "--store", str(tmp_path), "--repair"]) == 0
    said = capsys.readouterr().out
    assert said.count("is not a manifest's name") == 3 and "1 artifacts" in said


def test_a_kit_cannot_say_where_its_ledger_lies(artifacts: Artifacts) -> None:
    kit = artifacts.save("kit", "k", {}, {"facts": {"asked_as": "../../../tmp/x"}})
    with pytest.raises(DamagedArtifactError, match=r"asked as '../../../tmp/x'; expected a kit's id"):
        asked_as(kit)
    assert asked_as(artifacts.save("kit", "l", {}, {"facts": {"asked_as": "0a1b"}})) == "0a1b"
    assert asked_as(artifacts.save("kit", "m", {}, {"facts": {}})) == "m"


# Parquet


SCHEMA = pa.schema([("p", pa.list_(pa.float32()))])


def test_a_strangers_parquet_bomb_goes_off_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limited_parquet, "MEMORY_BYTES", 32 * 2**20)
    monkeypatch.setattr(limited_parquet, "TABLE_BYTES", 8 * 2**20)
    artifacts, body = open_store("memory:"), bomb(2_000_000, 20)
    assert len(body) < 20_000
    artifacts.save("thing", "bomb", {"a.parquet": body}, {})
    artifacts.save("thing", "good", {"a.parquet": bomb(3)}, {})
    theirs = Artifacts(artifacts._store, limited=True)
    with pytest.raises(DamagedArtifactError, match=r"thing bomb: a\.parquet is not Parquet that can be read"):
        theirs.load("thing", "bomb").table("a.parquet", SCHEMA)
    good = theirs.load("thing", "good")
    assert (
        good.table("a.parquet", SCHEMA).to_pylist()
        == [{"p": [0.0, 0.0, 0.0]}]
        == good.table("a.parquet", SCHEMA, ["p"]).to_pylist()
    )
    with pytest.raises(DamagedArtifactError, match=r"has columns \['p'\]; expected \['q'\]"):
        good.table("a.parquet", pa.schema([("q", pa.int8())]))


def test_a_larger_table_is_read_where_it_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limited_parquet, "MEMORY_BYTES", 32 * 2**20)
    body, one = bomb(2_000_000, 10), Reader()
    with pytest.raises(DataError, match=r"it unpacks to .* expected 1,000 at most"):
        one.table(bomb(1000), most_bytes=1000)
    with pytest.raises(DataError, match=r"unpack|memory|alloc"):
        one.table(body, most_bytes=2**20)
    table, rows = one.table(body, most_bytes=2**28)
    assert rows == len(table) == 10 and len(table.column("p")[9]) == 2_000_000
    table, rows = one.table(body, most_rows=9)
    assert rows == 10 and len(table) == 0 and table.schema.names == ["p"]
