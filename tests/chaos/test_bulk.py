"""Reading in bulk from a server that dies."""

import threading
import time

import pytest

from cluster.seaweed import Seaweed
from zooaudit.storage.s3 import S3Store

pytestmark = pytest.mark.s3


@pytest.mark.chaos
def test_a_killed_server_that_returns_is_waited_for(own_server: Seaweed) -> None:
    store = S3Store("s3://zoo/x")
    for i in range(8):
        store.create(f"objects/aa/{i}", bytes([i]) * 100_000)
    own_server.kill()
    found: dict[int, bytes] = {}
    readers = [
        threading.Thread(target=lambda i=i: found.update({i: store.read(f"objects/aa/{i}")}))
        for i in range(8)
    ]
    for reader in readers:
        reader.start()
    time.sleep(2)
    assert not found
    own_server.start()
    for reader in readers:
        reader.join(timeout=60)
    assert found == {i: bytes([i]) * 100_000 for i in range(8)}
