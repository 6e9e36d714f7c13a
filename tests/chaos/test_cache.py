"""A cache on a disk that fills up."""

import os
from pathlib import Path

import pytest

from tests.support.caches import CONTENT, Counting, entries, key_of
from zooaudit.storage.cache import CachedStore


@pytest.mark.chaos
def test_a_full_disk_under_the_cache_leaves_nothing_partial(
    behind: Counting,
    small_disk: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    large = os.urandom(400_000)
    behind.create(key_of(large), large)
    store = CachedStore(behind, small_disk, 2**30)
    assert store.read(key_of(CONTENT)) == CONTENT
    for _ in range(2):
        assert store.read(key_of(large)) == large
    assert [p.name for p in entries(small_disk)] == [key_of(CONTENT).rpartition("/")[2]]
    assert len(caplog.records) == 1
    behind.reads.clear()
    assert store.read(key_of(CONTENT)) == CONTENT
    assert behind.reads == [], "what it held can still be read"
