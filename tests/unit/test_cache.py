"""The read cache: content comes from it when it is whole, from the store when it is not,
and it never fails a run."""

import logging
import os
import threading
from pathlib import Path

import pytest

from tests.support.caches import CONTENT, Counting, entries, key_of
from zooaudit.errors import InputError, MissingArtifactError
from zooaudit.storage import cache
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.cache import CachedStore, cached
from zooaudit.storage.memory import MemoryStore


@pytest.fixture
def store(behind: Counting, tmp_path: Path) -> CachedStore:
    return CachedStore(behind, tmp_path, 2**20)


def test_content_is_fetched_once_by_all_processes_together(
    store: CachedStore, behind: Counting, tmp_path: Path
) -> None:
    for reader in (store, store, CachedStore(behind, tmp_path, 2**20)):
        assert reader.read(key_of(CONTENT)) == CONTENT
    assert behind.reads == [key_of(CONTENT)]
    assert (tmp_path / "objects").stat().st_mode & 0o077 == 0, "models are nobody else's business"


def test_what_was_written_is_there_to_read(store: CachedStore, behind: Counting) -> None:
    assert store.create(key_of(b"new"), b"new")
    assert store.read(key_of(b"new")) == b"new" == MemoryStore.read(behind, key_of(b"new"))
    assert behind.reads == []


def test_manifests_are_never_kept(store: CachedStore, behind: Counting, tmp_path: Path) -> None:
    for _ in range(2):
        assert store.read("manifests/thing/one.json") == b"{}"
    assert len(behind.reads) == 2
    assert entries(tmp_path) == []


@pytest.mark.parametrize(
    "damage",
    [CONTENT[:-1], b"", CONTENT + b"!", b"X" + CONTENT[1:]],
    ids=["cut", "empty", "longer", "flipped"],
)
def test_a_damaged_entry_is_dropped_and_fetched_anew(
    damage: bytes, store: CachedStore, behind: Counting, tmp_path: Path
) -> None:
    store.read(key_of(CONTENT))
    (entry,) = entries(tmp_path)
    entry.write_bytes(damage)
    assert store.read(key_of(CONTENT)) == CONTENT
    assert len(behind.reads) == 2
    assert entry.read_bytes() == CONTENT
    assert store.read(key_of(CONTENT)) == CONTENT
    assert len(behind.reads) == 2


def test_damaged_content_of_the_store_is_handed_on_and_not_kept(tmp_path: Path) -> None:
    behind = Counting()
    behind.create(key_of(CONTENT), CONTENT[:-1])
    assert CachedStore(behind, tmp_path, 2**20).read(key_of(CONTENT)) == CONTENT[:-1], (
        "who reads it finds out and says so"
    )
    assert entries(tmp_path) == []


def test_the_least_recently_used_goes_first_and_the_size_is_kept(behind: Counting, tmp_path: Path) -> None:
    contents = [bytes([i]) * 1000 for i in range(12)]
    store = CachedStore(behind, tmp_path, 5_000)
    for age, content in enumerate(contents[:5]):
        store.create(key_of(content), content)
        os.utime(tmp_path / key_of(content), (1_000 + age, 1_000 + age))
    store.read(key_of(contents[0]))  # the oldest was used just now
    for content in contents[5:7]:
        store.create(key_of(content), content)
    left = {p.name for p in entries(tmp_path)}
    assert key_of(contents[0]).rpartition("/")[2] in left
    assert key_of(contents[1]).rpartition("/")[2] not in left
    for content in contents[7:]:
        store.create(key_of(content), content)
        assert sum(p.stat().st_size for p in entries(tmp_path)) <= 5_000
    assert all(store.read(key_of(c)) == c for c in contents), "what has gone is fetched again"


def test_what_is_larger_than_the_cache_is_not_kept(behind: Counting, tmp_path: Path) -> None:
    store = CachedStore(behind, tmp_path, len(CONTENT) - 1)
    assert store.read(key_of(CONTENT)) == CONTENT
    assert entries(tmp_path) == []


def test_scratch_of_killed_processes_goes_and_other_peoples_files_stay(
    behind: Counting, tmp_path: Path
) -> None:
    folder = tmp_path / "objects" / "aa"
    folder.mkdir(parents=True)
    (folder / ".partial-killed").write_bytes(b"x" * 5_000)
    os.utime(folder / ".partial-killed", (0, 0))
    (folder / ".partial-young").write_bytes(b"x" * 5_000)
    (folder / "thesis.txt").write_bytes(b"x" * 5_000)
    CachedStore(behind, tmp_path, 4_000).read(key_of(CONTENT))
    assert {p.name for p in entries(tmp_path)} == {
        ".partial-young",
        "thesis.txt",
        key_of(CONTENT).rpartition("/")[2],
    }


@pytest.mark.parametrize(
    "key", ["objects/aa/../../../precious", "objects/aa/precious", "objects/../precious"]
)
def test_only_a_digest_names_an_entry(key: str, tmp_path: Path) -> None:
    """A manifest may have been written by anybody: its names must not lead out of the cache."""
    (tmp_path / "precious").write_bytes(b"mine")
    store = CachedStore(MemoryStore(), tmp_path / "c", 2**20)
    with pytest.raises(MissingArtifactError):
        store.read(key)
    store.delete(key)
    assert (tmp_path / "precious").read_bytes() == b"mine"


def test_a_deleted_key_is_gone_here_too(store: CachedStore, tmp_path: Path) -> None:
    store.read(key_of(CONTENT))
    store.delete(key_of(CONTENT))
    assert entries(tmp_path) == []
    with pytest.raises(MissingArtifactError):
        store.read(key_of(CONTENT))


def test_check_sees_the_store_and_not_the_cache(store: CachedStore, behind: Counting) -> None:
    """What another machine removed or damaged is found, though it can still be read here."""
    artifacts = Artifacts(store)
    artifact = artifacts.save("thing", "one-more", {"a.bin": b"alpha", "b.bin": b"beta"}, {})
    behind.delete("manifests/thing/one.json")
    behind.delete(key_of(b"alpha"))
    assert artifact.read("a.bin") == b"alpha"
    assert [(kind, id_) for kind, id_, _ in artifacts.check()] == [("thing", "one-more")]
    behind.delete(key_of(b"beta"))
    behind.create(key_of(b"beta"), b"BETA")
    artifacts.remove("thing", "one-more")
    assert not behind.exists(key_of(b"beta")), "the damaged file stayed in the store"
    again = artifacts.save("thing", "one-more", {"a.bin": b"alpha", "b.bin": b"beta"}, {})
    assert list(Artifacts(behind).check()) == []
    assert again.read("b.bin") == b"beta"


def test_gc_removes_from_the_store_what_the_cache_holds(store: CachedStore, behind: Counting) -> None:
    behind.delete("manifests/thing/one.json")
    assert store.read(key_of(CONTENT)) == CONTENT
    assert Artifacts(store).collect(0.0) == [key_of(CONTENT)]
    assert not behind.exists(key_of(CONTENT))
    assert Artifacts(store).save("thing", "later", {"a": CONTENT}, {}).read("a") == CONTENT
    assert behind.exists(key_of(CONTENT)), "it was taken for stored because it was cached"


def test_many_threads_share_one_entry(store: CachedStore) -> None:
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.extend(store.read(key_of(CONTENT)) for _ in range(20)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [CONTENT] * 160


# A cache that cannot be used


def test_a_cache_that_cannot_be_made_is_said_once(
    behind: Counting, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"in the way")
    store = CachedStore(behind, tmp_path / "file", 2**20)
    for _ in range(3):
        assert store.read(key_of(CONTENT)) == CONTENT
    store.create(key_of(b"new"), b"new")
    store.delete(key_of(b"new"))
    (said,) = caplog.records
    assert said.levelno == logging.WARNING
    for text in (str(tmp_path / "file"), "Not a directory", "ZOOAUDIT_STORE_CACHE"):
        assert text in said.getMessage()
    assert len(behind.reads) == 3


# Settings


def test_the_folder_and_the_size_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plain = MemoryStore()
    monkeypatch.setenv(cache.FOLDER, str(tmp_path / "mine"))
    store = cached(plain)
    store.create(key_of(CONTENT), CONTENT)
    assert [p.is_relative_to(tmp_path / "mine") for p in entries(tmp_path)] == [True]
    monkeypatch.setenv(cache.SIZE, "0")
    assert cached(plain) is plain
    monkeypatch.delenv(cache.SIZE)
    monkeypatch.delenv(cache.FOLDER)
    monkeypatch.setenv("ZOOAUDIT_CACHE", str(tmp_path / "all"))
    cached(plain).create(key_of(b"new"), b"new")
    assert (tmp_path / "all" / key_of(b"new")).read_bytes() == b"new"


@pytest.mark.parametrize("size", ["-1", "much", "nan", "inf"])
def test_a_size_that_is_none_is_refused(size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.SIZE, size)
    with pytest.raises(
        InputError, match=rf"ZOOAUDIT_STORE_CACHE_GIB is '{size}'; expected GiB, or 0 for no cache"
    ):
        cached(MemoryStore())
