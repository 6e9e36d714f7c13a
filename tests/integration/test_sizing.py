"""What a store in S3 is asked."""

from collections import Counter
from typing import Any

import pytest

from zooaudit.planning.footprint import OPEN, PROBE, Requests, loaded, saved
from zooaudit.storage import s3, s3_requests
from zooaudit.storage.opening import open_store
from zooaudit.storage.s3_client import make_client


@pytest.mark.s3
def test_on_s3_each_operation_is_one_request(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: Counter[str] = Counter()

    def counting() -> Any:
        client = make_client()
        client.meta.events.register("before-send.s3", note)
        return client

    def note(request: Any, **_: Any) -> None:
        listing = request.method == "GET" and "list-type=2" in request.url
        sent["list" if listing else request.method.lower()] += 1

    monkeypatch.setattr(s3_requests, "make_client", counting)
    # Its requests pass by boto3, where they are counted.
    monkeypatch.setattr(s3, "BulkReader", lambda *_: None)
    monkeypatch.setenv("ZOOAUDIT_STORE_CACHE_GIB", "0")
    artifacts = open_store(bucket)
    artifact = artifacts.save("thing", "one", {"a": b"1", "b": b"2"}, {})
    artifact.read("a")
    assert artifacts.load("thing", "one").read("b") == b"2"
    assert sent == vars(PROBE + Requests(put=1, head=1) + saved(2) + Requests(get=1) + loaded(1))
    sent.clear()
    open_store(bucket)
    assert sent == {k: v for k, v in vars(PROBE + OPEN).items() if v}
