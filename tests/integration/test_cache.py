"""A cache that several processes share, and one before S3."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.seaweed import Seaweed
from tests.support.caches import entries, key_of
from zooaudit.storage.opening import open_store

SHARER = """
import hashlib, sys
from pathlib import Path
from zooaudit.storage.cache import CachedStore
from zooaudit.storage.local import LocalStore
store = CachedStore(LocalStore(Path(sys.argv[1])), Path(sys.argv[2]), 400_000)
keys = [k for k in store.keys("objects/")]
for turn in range(6):
    for key in keys[turn % 3 :] + keys[: turn % 3]:
        assert hashlib.sha256(store.read(key)).hexdigest() == key.rpartition("/")[2], key
"""


@pytest.mark.processes
def test_processes_that_push_each_others_entries_out_read_right(tmp_path: Path) -> None:
    """Ten objects of 100 kB, room for four, three processes."""
    store = open_store(str(tmp_path / "store"))._store
    for i in range(10):
        content = bytes([i]) * 100_000
        store.create(key_of(content), content)
    command = [sys.executable, "-c", SHARER, str(tmp_path / "store"), str(tmp_path / "cache")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    running = [
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) for _ in range(3)
    ]
    assert [(p.communicate(timeout=120)[1], p.returncode) for p in running] == [("", 0)] * 3
    left = entries(tmp_path / "cache")
    assert sum(p.stat().st_size for p in left) <= 400_000 + 3 * 100_000
    assert all(hashlib.sha256(p.read_bytes()).hexdigest() == p.name for p in left)


@pytest.mark.s3
def test_content_of_s3_is_read_without_the_server_once_it_is_here(bucket: str, seaweed: Seaweed) -> None:
    open_store(bucket, cache=False).save("thing", "one", {"a.bin": b"far away"}, {})
    artifact = open_store(bucket).load("thing", "one")
    assert artifact.read("a.bin") == b"far away"
    open_store(bucket, cache=False)._store.delete(key_of(b"far away"))
    assert artifact.read("a.bin") == b"far away"
    assert [(kind, id_) for kind, id_, _ in open_store(bucket).check()] == [("thing", "one")]
