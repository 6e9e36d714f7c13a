"""Stores that are damaged, full or in the way: named, repaired, and never half written."""

import hashlib
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.disks import FILES
from zooaudit.errors import DamagedArtifactError, MissingArtifactError, StoreError
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.local import LocalStore
from zooaudit.storage.opening import open_store
from zooaudit.storage.port import Store

REPAIR = "zooaudit store check --repair"


@pytest.fixture
def kept(artifacts: Artifacts) -> Artifacts:
    """Two artifacts that share one file."""
    artifacts.save("thing", "one", FILES, {"n": 1})
    artifacts.save("thing", "two", {"b.bin": FILES["b.bin"]}, {"n": 2})
    return artifacts


def replace(artifacts: Artifacts, key: str, content: bytes | None) -> None:
    """Damage what the store holds under ``key``, behind the back of all checks."""
    artifacts._store.delete(key)
    if content is not None:
        artifacts._store.create(key, content)


def key_of(artifacts: Artifacts, file: str) -> str:
    sha = artifacts.load("thing", "one").files[file]["sha256"]
    return f"objects/{sha[:2]}/{sha}"


def flipped(content: bytes) -> bytes:
    return bytes([content[0] ^ 1]) + content[1:]


@pytest.mark.parametrize(
    "damage", [flipped, lambda c: c[:-1], lambda c: c + b"!", lambda _: b"", lambda _: None]
)
def test_a_damaged_file_is_named_and_never_handed_out(damage: object, kept: Artifacts) -> None:
    key = key_of(kept, "a.bin")
    replace(kept, key, damage(FILES["a.bin"]))
    with pytest.raises(DamagedArtifactError) as caught:
        kept.load("thing", "one").read("a.bin")
    for text in ("thing one", "a.bin", key, REPAIR):
        assert text in str(caught.value), str(caught.value)
    assert kept.load("thing", "one").read("b.bin") == FILES["b.bin"]
    assert kept.load("thing", "two").read("b.bin") == FILES["b.bin"]


def test_a_damaged_files_sizes_are_stated(kept: Artifacts) -> None:
    replace(kept, key_of(kept, "a.bin"), b"alp")
    with pytest.raises(DamagedArtifactError, match=r"is 3 bytes with SHA-256 .*; expected 500 bytes"):
        kept.load("thing", "one").read("a.bin")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"7",
        b'"x"',
        b"{}",
        b"\xff\xfe",
        b'{"sha256": "00"}',
        b'{"sha256": "00", "meta": NaN}',
        "other",
        "flipped",
        "renamed",
    ],
)
def test_a_damaged_manifest_is_named(content: bytes | str, kept: Artifacts) -> None:
    key = "manifests/thing/one.json"
    raw = kept._store.read(key)
    changed = {
        "other": kept._store.read("manifests/thing/two.json"),
        "flipped": raw.replace(b'"n":1', b'"n":3'),
        "renamed": raw.replace(b"a.bin", b"c.bin"),
    }
    replace(kept, key, changed[content] if isinstance(content, str) else content)
    with pytest.raises(DamagedArtifactError) as caught:
        kept.load("thing", "one")
    for text in (key, kept.url, REPAIR):
        assert text in str(caught.value), str(caught.value)


def test_check_finds_every_damage_and_nothing_else(kept: Artifacts) -> None:
    kept.save("other", "sound", {"c.bin": b"gamma"}, {})
    assert list(kept.check()) == []
    replace(kept, key_of(kept, "b.bin"), b"BETA")
    replace(kept, "manifests/other/sound.json", b"{")
    found = [(kind, id_) for kind, id_, _ in kept.check()]
    assert found == [("other", "sound"), ("thing", "one"), ("thing", "two")]


def test_what_was_removed_can_be_built_again(kept: Artifacts) -> None:
    replace(kept, key_of(kept, "b.bin"), b"BETA")
    for kind, id_, _ in list(kept.check()):
        kept.remove(kind, id_)
    assert kept.ids("thing") == []
    kept.save("thing", "one", FILES, {"n": 1})
    kept.save("thing", "two", {"b.bin": FILES["b.bin"]}, {"n": 2})
    assert list(kept.check()) == []
    assert kept.load("thing", "two").read("b.bin") == FILES["b.bin"]


def test_removing_one_leaves_what_another_shares(kept: Artifacts) -> None:
    kept.remove("thing", "one")
    assert kept.load("thing", "two").read("b.bin") == FILES["b.bin"]
    with pytest.raises(MissingArtifactError):
        kept.remove("thing", "one")


def test_a_damaged_manifest_is_removed_too(kept: Artifacts) -> None:
    replace(kept, "manifests/thing/one.json", b"{")
    kept.remove("thing", "one")
    assert kept.save("thing", "one", FILES, {"n": 1}).read("a.bin") == FILES["a.bin"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'"1"', b"{}"])
def test_a_damaged_marker_is_a_store_error(content: bytes, artifacts: Artifacts) -> None:
    artifacts._store.create("zooaudit.json", content)
    with pytest.raises(StoreError) as caught:
        Artifacts(artifacts._store)
    assert artifacts.url in str(caught.value)
    assert artifacts._store.read("zooaudit.json") == content


def test_files_without_a_manifest_do_not_exist(artifacts: Artifacts) -> None:
    """What a process that was killed before the manifest leaves behind."""
    artifacts._store.create("objects/ab/abc", b"content of nobody")
    assert artifacts.kinds() == {}
    assert list(artifacts.check()) == []
    assert not artifacts.has("thing", "abc")


# The local folder alone


def test_scratch_of_a_killed_process_is_no_content(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.create("a/k.bin", b"1")
    (tmp_path / "a" / ".partial-x7").write_bytes(b"half")
    assert list(store.keys("")) == ["a/k.bin"]


KILLED = """
import os, signal, sys
from pathlib import Path
from zooaudit.storage import local
local.os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
local.LocalStore(Path(sys.argv[1])).create("a/k.bin", b"x" * 1_000_000)
"""


def test_a_process_killed_while_writing_leaves_no_key(tmp_path: Path) -> None:
    command = [sys.executable, "-S", "-c", f"import sys; sys.path = {sys.path!r}\n{KILLED}", str(tmp_path)]
    assert subprocess.run(command, check=False, timeout=60).returncode == -signal.SIGKILL
    store = LocalStore(tmp_path)
    assert list((tmp_path / "a").iterdir()), "the test is to kill it after it began"
    assert list(store.keys("")) == []
    assert store.create("a/k.bin", b"whole")


@pytest.mark.parametrize("below", ["", "/deeper/still"])
def test_a_file_in_the_stores_place_is_named(below: str, tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"mine")
    with pytest.raises(StoreError) as caught:
        open_store(f"{tmp_path / 'taken'}{below}")
    assert f"store {tmp_path / 'taken'}{below} cannot be made" in str(caught.value)
    assert "--store" in str(caught.value)
    assert (tmp_path / "taken").read_bytes() == b"mine"


@pytest.mark.parametrize("blocked", ["manifests", "objects", "manifests/thing", "objects/ce"])
def test_a_file_where_a_folder_is_needed_is_a_store_error(blocked: str, tmp_path: Path) -> None:
    """``objects/ce`` is where this content goes: a write that cannot be made must not pass
    for one made before."""
    path = tmp_path / blocked
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"in the way")
    artifacts = open_store(str(tmp_path))
    with pytest.raises(StoreError, match=f"store {tmp_path}: cannot write"):
        artifacts.save("thing", "one", {"a.bin": b"alpha beta gamma 40"}, {})
    path.unlink()
    assert artifacts.ids("thing") == [], "a manifest was written for content that is not there"
    assert (
        artifacts.save("thing", "one", {"a.bin": b"alpha beta gamma 40"}, {}).read("a.bin")
        == b"alpha beta gamma 40"
    )


# Content that nothing names


@pytest.fixture
def littered(kept: Artifacts) -> Artifacts:
    """Two artifacts, and content of a third whose manifest was never written."""
    kept._store.create("objects/aa/aa11", b"loose")
    return kept


def test_loose_content_is_named_and_collected(littered: Artifacts) -> None:
    before = set(littered._store.keys(""))
    assert littered.unnamed() == ["objects/aa/aa11"]
    assert littered.collect(0.0) == ["objects/aa/aa11"]
    assert set(littered._store.keys("")) == before - {"objects/aa/aa11"}
    assert littered.unnamed() == []
    assert list(littered.check()) == []


def test_young_content_is_spared(littered: Artifacts) -> None:
    assert littered.unnamed(3600) == []
    assert littered.collect(3600) == []
    assert littered._store.exists("objects/aa/aa11")


def test_content_of_a_removed_artifact_goes_unless_another_names_it(kept: Artifacts) -> None:
    a, b = key_of(kept, "a.bin"), key_of(kept, "b.bin")
    kept.remove("thing", "one")
    assert kept.collect(0.0) == [a]
    assert kept._store.exists(b)
    assert kept.load("thing", "two").read("b.bin") == FILES["b.bin"]


def test_nothing_is_collected_while_a_manifest_cannot_be_read(littered: Artifacts) -> None:
    replace(littered, "manifests/thing/one.json", b"{")
    before = set(littered._store.keys(""))
    with pytest.raises(DamagedArtifactError, match=REPAIR):
        littered.collect(0.0)
    assert set(littered._store.keys("")) == before


class Meddling:
    """A store where something happens just before the first deletion, or just after the first manifest."""

    def __init__(self, store: Store, **moments: Callable[[], object]) -> None:
        self._store, self._moments = store, moments

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def move(self, key: str, to: str) -> None:
        self._moments.pop("before_move", lambda: None)()
        self._store.move(key, to)

    def create(self, key: str, content: bytes) -> bool:
        made = self._store.create(key, content)
        if key.startswith("manifests/"):
            self._moments.pop("after_manifest", lambda: None)()
        return made


def test_content_that_is_named_while_it_is_collected_is_put_back(littered: Artifacts) -> None:
    content = b"once loose"
    store, sha = littered._store, hashlib.sha256(content).hexdigest()
    key = f"objects/{sha[:2]}/{sha}"
    store.create(key, content)

    def another_job_saves() -> None:
        littered.save("thing", "three", {"c.bin": content}, {})

    collector = Artifacts(Meddling(store, before_move=another_job_saves))
    assert key not in collector.collect(0.0)
    assert littered.load("thing", "three").read("c.bin") == content


def test_content_that_is_collected_while_it_is_named_is_written_again(littered: Artifacts) -> None:
    content = b"once loose"
    store, sha = littered._store, hashlib.sha256(content).hexdigest()
    key = f"objects/{sha[:2]}/{sha}"
    store.create(key, content)
    saver = Artifacts(Meddling(store, after_manifest=lambda: store.delete(key)))
    assert saver.save("thing", "three", {"c.bin": content}, {}).read("c.bin") == content
