"""gc: nothing passes through memory, and whatever goes wrong, no content is lost."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from zooaudit.cli.main import main
from zooaudit.errors import StoreError
from zooaudit.storage import collecting
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.memory import MemoryStore
from zooaudit.storage.opening import open_store

LOOSE = b"loose"
SHA = hashlib.sha256(LOOSE).hexdigest()
KEY = f"objects/{SHA[:2]}/{SHA}"


class Faulty(MemoryStore):
    """Fails from the so-many-th listing, move or deletion on; notes what content is read."""

    def __init__(self) -> None:
        super().__init__()
        self.left: dict[str, int] = {}
        self.read_objects: list[str] = []

    def _count(self, what: str) -> None:
        if what in self.left:
            self.left[what] -= 1
            if self.left[what] < 0:
                raise StoreError(f"away at {what}")

    def read(self, key: str, most: int | None = None) -> bytes:
        if not key.startswith("manifests/"):
            self.read_objects.append(key)
        return super().read(key, most)

    def keys(self, prefix: str) -> Iterator[str]:
        if prefix.startswith("manifests/"):
            self._count("list")
        return super().keys(prefix)

    def move(self, key: str, to: str) -> None:
        self._count("move")
        super().move(key, to)

    def delete(self, key: str) -> None:
        self._count("delete")
        super().delete(key)


@pytest.fixture
def store() -> Faulty:
    made = Faulty()
    Artifacts(made).save("thing", "one", {"a": b"named"}, {})
    for i in range(5):
        made.create(f"{KEY[:-1]}{i}", LOOSE)
    made.create(KEY, LOOSE)
    made.read_objects.clear()
    return made


def content(store: MemoryStore) -> set[str]:
    return {key.removeprefix("aside/") for key in store.keys("") if key.startswith(("objects/", "aside/"))}


def test_no_content_is_read_to_be_removed(store: Faulty) -> None:
    artifacts = Artifacts(store)
    store.read_objects.clear()
    assert len(artifacts.collect(0.0)) == 6 and not store.read_objects
    assert len(content(store)) == 1 and artifacts.load("thing", "one").read("a") == b"named"


@pytest.mark.parametrize(
    ("what", "after"), [("list", 0), ("list", 1), ("list", 2), ("list", 3), ("move", 0), ("move", 3)]
)
def test_nothing_is_lost_when_the_store_fails(what: str, after: int, store: Faulty) -> None:
    artifacts, before = Artifacts(store), content(store)
    store.left = {what: after}
    with pytest.raises(StoreError, match=f"away at {what}"):
        artifacts.collect(0.0)
    store.left = {}
    assert content(store) == before
    artifacts.save("thing", "two", {"b": LOOSE}, {})
    artifacts.put_back()
    assert artifacts.load("thing", "two").read("b") == LOOSE and list(artifacts.check()) == []


def test_what_a_killed_gc_put_aside_comes_back_if_it_is_named_and_goes_if_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = open_store(str(tmp_path))
    store.save("thing", "one", {"a": LOOSE}, {})
    store._store.create("objects/aa/aa11", b"nobody's")
    for key in (KEY, "objects/aa/aa11"):
        store._store.move(key, f"aside/{key}")
    assert [(k, i) for k, i, _ in store.check()] == [("thing", "one")]
    assert main(["store", "check", "--store", str(tmp_path), "--repair"]) == 0
    assert f"put back: {KEY}" in capsys.readouterr().out
    assert store.load("thing", "one").read("a") == LOOSE
    assert store.collect(0.0) == [] and store._store.exists("aside/objects/aa/aa11"), (
        "another gc may be at it"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collecting, "LEFT_S", 0.0)
        assert store.collect(0.0) == ["objects/aa/aa11"]


def test_moved_content_keeps_no_age_and_replaces(artifacts: Artifacts) -> None:
    store = artifacts._store
    store.create("a/k.bin", b"1")
    store.create("b/k.bin", b"1")
    store.move("a/k.bin", "b/k.bin")
    assert store.read("b/k.bin") == b"1" and not store.exists("a/k.bin") and store.age_s("b/k.bin") < 60
    with pytest.raises(StoreError):
        store.move("a/k.bin", "c/k.bin")
