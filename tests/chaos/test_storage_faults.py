"""A store on a disk that fills up."""

import os
from pathlib import Path

import pytest

from tests.support.disks import FILES
from zooaudit.errors import StoreError
from zooaudit.storage.opening import open_store


@pytest.mark.chaos
def test_a_full_disk_leaves_nothing_partial_and_what_was_there_intact(small_disk: Path) -> None:
    artifacts = open_store(str(small_disk / "store"))
    artifacts.save("thing", "one", FILES, {"n": 1})
    before = sorted(p.relative_to(small_disk) for p in small_disk.rglob("*") if p.is_file())
    with pytest.raises(StoreError) as caught:
        artifacts.save("thing", "large", {"l.bin": os.urandom(400_000)}, {})
    assert str(small_disk / "store") in str(caught.value)
    assert os.path.ismount(small_disk) == ("no space left for objects/" in str(caught.value)), str(
        caught.value
    )
    assert os.path.ismount(small_disk) == ("(400,000 bytes)" in str(caught.value)), str(caught.value)
    assert sorted(p.relative_to(small_disk) for p in small_disk.rglob("*") if p.is_file()) == before
    assert artifacts.ids("thing") == ["one"]
    assert list(artifacts.check()) == []
    assert artifacts.load("thing", "one").read("a.bin") == FILES["a.bin"]
    assert artifacts.save("thing", "small", {"s.bin": b"fits"}, {}).read("s.bin") == b"fits"
