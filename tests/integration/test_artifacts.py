"""Artifacts on every store: whole, signed, kept once."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from zooaudit.config import canonical_json, digest_of
from zooaudit.databases import claim_format
from zooaudit.errors import DamagedArtifactError, FormatError, InputError, MissingArtifactError, StoreError
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.encoding import table_to_bytes, tensors_to_bytes
from zooaudit.storage.manifest import digest_of_body
from zooaudit.storage.opening import open_store
from zooaudit.storage.port import Store


def save(artifacts: Artifacts, id_: str = "one", **changes: Any) -> Any:
    fields: dict[str, Any] = {"files": {"a.bin": b"alpha", "b.bin": b"beta"}, "meta": {"n": 1, "name": "x"}}
    return artifacts.save("thing", id_, **(fields | changes))


def test_an_artifact_comes_back_with_its_files_and_facts(artifacts: Artifacts) -> None:
    saved, loaded = save(artifacts), artifacts.load("thing", "one")
    assert (loaded.kind, loaded.id, loaded.meta) == ("thing", "one", {"n": 1, "name": "x"})
    assert {name: loaded.read(name) for name in loaded.files} == {"a.bin": b"alpha", "b.bin": b"beta"}
    assert loaded.digest == saved.digest
    assert artifacts.has("thing", "one")
    assert artifacts.ids("thing") == ["one"]


def test_the_first_one_wins(artifacts: Artifacts) -> None:
    save(artifacts)
    again = save(artifacts, files={"a.bin": b"other"}, meta={"n": 2})
    assert again.meta == {"n": 1, "name": "x"}
    assert again.read("a.bin") == b"alpha"


def test_equal_content_is_kept_once(artifacts: Artifacts) -> None:
    save(artifacts, "one")
    save(artifacts, "two")
    assert artifacts.kinds() == {"thing": 2}
    assert len(list(artifacts._store.keys("objects/"))) == 2


def test_digests_change_with_files_and_facts(artifacts: Artifacts) -> None:
    first = artifacts.save_by_digest("kit", {"a": b"1"}, {"n": 1})
    assert artifacts.save_by_digest("kit", {"a": b"1"}, {"n": 1}).id == first.id
    others = {
        artifacts.save_by_digest("kit", f, m).id
        for f, m in (({"a": b"2"}, {"n": 1}), ({"b": b"1"}, {"n": 1}), ({"a": b"1"}, {"n": 2}))
    }
    assert len(others | {first.id}) == 4
    assert len(first.id) == 16


def test_what_is_missing_is_named(artifacts: Artifacts) -> None:
    with pytest.raises(MissingArtifactError, match=r"manifests/thing/one\.json"):
        artifacts.load("thing", "one")
    assert not artifacts.has("thing", "one")
    assert artifacts.ids("thing") == []
    with pytest.raises(DamagedArtifactError, match=r"thing one holds \['a.bin', 'b.bin'\]; expected c.bin"):
        save(artifacts).read("c.bin")


@pytest.mark.parametrize("name", ["", "a/b", "../up", ".hidden", "-x", "a b", "x" * 201, "ä", "a\n"])
def test_names_that_could_leave_the_store_are_refused(name: str, artifacts: Artifacts) -> None:
    reads = [artifacts.load, artifacts.has, artifacts.remove]
    for use in (lambda: save(artifacts, name), *(lambda read=read: read("thing", name) for read in reads)):
        with pytest.raises(InputError, match=r"cannot name a run or artifact; use letters, digits"):
            use()
    assert list(artifacts._store.keys("")) == []


def test_tensors_and_tables_are_checked(artifacts: Artifacts) -> None:
    tensors = {"v": torch.arange(6.0).view(2, 3).T, "i": torch.tensor([1, 2])}
    schema = pa.schema([("n", pa.int32()), ("p", pa.list_(pa.float32(), 2))])
    table = pa.table({"n": [1, 2], "p": [[0.1, 0.9], [0.5, 0.5]]}, schema=schema)
    files = {"t.safetensors": tensors_to_bytes(tensors), "t.parquet": table_to_bytes(table)}
    artifact = artifacts.save("thing", "typed", files, {})
    assert all(torch.equal(t, tensors[k]) for k, t in artifact.tensors("t.safetensors").items())
    assert artifact.table("t.parquet", schema).equals(table)
    with pytest.raises(DamagedArtifactError, match=r"t.parquet has columns \['n', 'p'\]; expected \['n'\]"):
        artifact.table("t.parquet", pa.schema([("n", pa.int32())]))
    with pytest.raises(DamagedArtifactError, match=r"t\.parquet is not safetensors"):
        artifact.tensors("t.parquet")
    with pytest.raises(DamagedArtifactError, match=r"t\.safetensors"):
        artifact.table("t.safetensors", schema)


def test_tensor_bytes_do_not_depend_on_order() -> None:
    a, b = torch.rand(2), torch.rand(3)
    assert tensors_to_bytes({"a": a, "b": b}) == tensors_to_bytes({"b": b, "a": a})


def test_manifests_are_signed_and_carry_no_time(artifacts: Artifacts) -> None:
    save(artifacts)
    manifest = json.loads(artifacts._store.read("manifests/thing/one.json"))
    assert manifest.keys() == {"format", "kind", "id", "code", "files", "meta", "sha256"}
    stated = manifest.pop("sha256")
    assert stated[:16] == digest_of(manifest)
    assert json.loads(artifacts._store.read("zooaudit.json")) == {"format": 1}


def test_a_store_is_opened_by_its_url(tmp_path: Path) -> None:
    first = open_store(str(tmp_path / "deep" / "store"))
    save(first)
    assert open_store(first.url).load("thing", "one").read("a.bin") == b"alpha"
    assert open_store("memory:").url == "memory:"
    with pytest.raises(StoreError, match=r"ftp://x"):
        open_store("ftp://x")


@pytest.fixture
def newer(artifacts: Artifacts) -> Iterator[Store]:
    """A store that a later zooaudit has made."""
    store = artifacts._store
    store.create("zooaudit.json", b'{"format": 2}')
    store.create("manifests/thing/one.json", b"{}")
    before = {k: store.read(k) for k in store.keys("")}
    yield store
    assert {k: store.read(k) for k in store.keys("")} == before, "a store that cannot be read was changed"


def test_a_newer_format_is_left_alone(newer: Store) -> None:
    with pytest.raises(StoreError) as caught:
        Artifacts(newer)
    for text in (newer.url, "has format 2", "reads format 1", "upgrade zooaudit or choose another store"):
        assert text in str(caught.value), str(caught.value)


def rewritten(folder: Path, kind: str, id_: str, format_: int) -> None:
    """The manifest as another version would have written it: sound, of another format."""
    path = folder / "manifests" / kind / f"{id_}.json"
    body = json.loads(path.read_bytes()) | {"format": format_, "code": "0.0.7"}
    del body["sha256"]
    path.write_text(canonical_json(body | {"sha256": digest_of_body(body)}))


@pytest.mark.parametrize(
    ("format_", "do"), [(1, "make it again by 'zooaudit audit'"), (3, "upgrade zooaudit")]
)
def test_a_kit_of_another_format_is_refused_in_a_line_and_copied_all_the_same(
    tmp_path: Path, format_: int, do: str
) -> None:
    artifacts = open_store(str(tmp_path / "a"))
    artifacts.save("kit", "k", {"x": b"1"}, {"victim": "v"})
    rewritten(tmp_path / "a", "kit", "k", format_)
    found = artifacts.load("kit", "k")
    with pytest.raises(
        FormatError,
        match=(
            rf"^kit k has format {format_}, written by zooaudit 0.0.7; this one \(.*\) reads format 2: {do}"
        ),
    ):
        _ = found.meta
    other = open_store(str(tmp_path / "b"))
    other.adopt(found)
    assert (
        other.load("kit", "k").read("x") == b"1" and not list(artifacts.check()) and not artifacts.unnamed()
    )


def test_a_manifest_whose_format_is_no_number_is_no_manifest(tmp_path: Path) -> None:
    artifacts = open_store(str(tmp_path))
    artifacts.save("kit", "k", {}, {})
    rewritten(tmp_path, "kit", "k", "new")
    with pytest.raises(DamagedArtifactError, match="its format is 'new'; expected a whole number"):
        artifacts.load("kit", "k")


def test_a_database_of_a_newer_version_is_refused_and_one_of_before_is_taken(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "x.sqlite")
    claim_format(db, 2, "the ledger x")
    claim_format(db, 2, "the ledger x")
    with pytest.raises(
        FormatError,
        match=r"the ledger x has format 2; this zooaudit \(.*\) reads formats up to 1: upgrade zooaudit",
    ):
        claim_format(db, 1, "the ledger x")
