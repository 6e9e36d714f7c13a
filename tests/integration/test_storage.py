"""One contract for every store, and artifacts on top: content first, manifest last, created once."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zooaudit.errors import MissingArtifactError
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.local import LocalStore
from zooaudit.storage.memory import MemoryStore
from zooaudit.storage.port import Store

SEGMENT = st.from_regex(r"[a-z][a-z0-9_-]{0,6}", fullmatch=True)
KEYS = st.builds(
    lambda folders, name: "/".join([*folders, f"{name}.bin"]), st.lists(SEGMENT, max_size=3), SEGMENT
)
"""As artifacts make them: folders have no dot, files have one, so that no file stands where
another key needs a folder."""


@pytest.fixture
def store(artifacts: Artifacts) -> Store:
    """Each kind of store, empty."""
    return artifacts._store


def test_what_is_created_can_be_read(store: Store) -> None:
    assert store.create("a/b.bin", b"hello")
    assert store.read("a/b.bin") == b"hello"
    assert store.exists("a/b.bin")
    assert isinstance(store.url, str)


@pytest.mark.parametrize("content", [b"", b"x", b"\x00" * 1000, bytes(range(256)) * 40_000], ids=len)
def test_any_content_comes_back_whole(content: bytes, store: Store) -> None:
    assert store.create("k.bin", content)
    assert store.read("k.bin") == content


def test_a_key_is_created_once(store: Store) -> None:
    assert store.create("k.bin", b"first")
    assert not store.create("k.bin", b"second")
    assert store.read("k.bin") == b"first"


@pytest.mark.parametrize("content", [b"", b"the very same object"])
def test_the_same_content_again_is_no_second_creation(content: bytes, store: Store) -> None:
    assert store.create("k.bin", content)
    assert not store.create("k.bin", content), "False says: it was there"


def test_a_missing_key_is_named(store: Store) -> None:
    with pytest.raises(MissingArtifactError, match=r"has no objects/ab/abcd"):
        store.read("objects/ab/abcd")
    assert not store.exists("objects/ab/abcd")


def test_keys_are_listed_by_prefix_and_sorted(store: Store) -> None:
    for key in ("m/x/2.json", "m/x/1.json", "m/xy/3.json", "objects/aa/1", "zooaudit.json"):
        store.create(key, b"1")
    assert list(store.keys("m/x/")) == ["m/x/1.json", "m/x/2.json"]
    assert list(store.keys("m/")) == ["m/x/1.json", "m/x/2.json", "m/xy/3.json"]
    assert list(store.keys("m/x")) == ["m/x/1.json", "m/x/2.json", "m/xy/3.json"]
    assert list(store.keys("m/x/1")) == ["m/x/1.json"]
    assert list(store.keys("nothing/")) == []
    assert len(list(store.keys(""))) == 5


def test_a_folder_is_no_key(store: Store) -> None:
    store.create("m/x/1.json", b"1")
    for folder in ("m", "m/x", "m/x/1.json/deeper"):
        assert not store.exists(folder)
        with pytest.raises(MissingArtifactError):
            store.read(folder)


def test_deleted_is_gone_and_deleting_nothing_is_fine(store: Store) -> None:
    store.create("a/k.bin", b"1")
    store.delete("a/k.bin")
    store.delete("a/k.bin")
    store.delete("never/was.bin")
    assert not store.exists("a/k.bin")
    assert list(store.keys("")) == []
    assert store.create("a/k.bin", b"2"), "a deleted key can be created again"
    assert store.read("a/k.bin") == b"2"


@given(
    contents=st.dictionaries(KEYS, st.binary(max_size=50), max_size=8),
    kind=st.sampled_from(["memory", "local"]),
)
def test_any_set_of_keys_round_trips(
    tmp_path_factory: pytest.TempPathFactory, contents: dict[str, bytes], kind: str
) -> None:
    store: Store = MemoryStore() if kind == "memory" else LocalStore(tmp_path_factory.mktemp("keys"))
    assert all(store.create(k, c) for k, c in contents.items())
    assert list(store.keys("")) == sorted(contents)
    assert {k: store.read(k) for k in store.keys("")} == contents
    for prefix in {k[:3] for k in contents}:
        assert list(store.keys(prefix)) == sorted(k for k in contents if k.startswith(prefix))


def test_of_sixteen_threads_one_wins(store: Store) -> None:
    for round_ in range(5):
        key, gate = f"race/{round_}.bin", threading.Barrier(16)
        contents = [bytes([i]) * 100_000 for i in range(16)]
        won: list[int] = []

        def run(
            i: int,
            key: str = key,
            gate: threading.Barrier = gate,
            contents: list[bytes] = contents,
            won: list[int] = won,
        ) -> None:
            gate.wait()
            if store.create(key, contents[i]):
                won.append(i)

        workers = [threading.Thread(target=run, args=(i,)) for i in range(16)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert len(won) == 1
        assert store.read(key) == contents[won[0]]


RACER = """
import sys, time
from pathlib import Path
from zooaudit.storage.local import LocalStore
store, number, gate = LocalStore(Path(sys.argv[1])), int(sys.argv[2]), Path(sys.argv[3])
while not gate.exists():
    time.sleep(0.001)
print(int(store.create("race/one.bin", bytes([number]) * 3_000_000)))
"""


@pytest.mark.processes
def test_of_sixteen_processes_one_wins_and_its_content_is_whole(tmp_path: Path) -> None:
    gate, root = tmp_path / "gate", tmp_path / "store"
    command = [sys.executable, "-S", "-c", f"import sys; sys.path = {sys.path!r}\n{RACER}", str(root)]
    racers = [
        subprocess.Popen([*command, str(i), str(gate)], stdout=subprocess.PIPE, text=True) for i in range(16)
    ]
    gate.touch()
    answers = [racer.communicate(timeout=60)[0].strip() for racer in racers]
    assert sorted(answers) == ["0"] * 15 + ["1"]
    assert LocalStore(root).read("race/one.bin") == bytes([answers.index("1")]) * 3_000_000
    assert [p.name for p in (root / "race").iterdir()] == ["one.bin"], "a loser left its scratch behind"
