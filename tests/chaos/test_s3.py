"""A store on a server that dies."""

import threading
import time

import pytest

from cluster.seaweed import Seaweed
from zooaudit.errors import StoreError
from zooaudit.storage.s3 import S3Store

pytestmark = pytest.mark.s3


@pytest.mark.chaos
def test_a_killed_server_that_returns_costs_nothing(own_server: Seaweed) -> None:
    store = S3Store("s3://zoo/x")
    for i in range(20):
        assert store.create(f"before/{i}", bytes([i]) * 10_000)
    own_server.kill()
    done: list[bool] = []
    writer = threading.Thread(
        target=lambda: done.extend(store.create(f"during/{i}", bytes([i]) * 10_000) for i in range(5))
    )
    writer.start()
    time.sleep(3)
    assert not done
    own_server.start()
    writer.join(timeout=60)
    assert done == [True] * 5
    for i in range(20):
        assert store.read(f"before/{i}") == bytes([i]) * 10_000
    assert len(list(store.keys("during/"))) == 5


@pytest.mark.chaos
def test_a_server_that_never_returns_is_given_up_at_the_deadline(
    own_server: Seaweed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOOAUDIT_S3_DEADLINE_S", "3")
    store = S3Store("s3://zoo/x")
    own_server.kill()
    started = time.monotonic()
    with pytest.raises(StoreError, match=r"cannot write k within 3 s.*finished models are kept"):
        store.create("k", b"1")
    assert time.monotonic() - started < 15
