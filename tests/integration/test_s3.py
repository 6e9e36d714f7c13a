"""The S3 store against a real server, and what it says when something is wrong."""

import contextlib
import http.client
import io
import json
import os
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import botocore.exceptions as boto
import psutil
import pytest

from cluster.seaweed import Seaweed, make_bucket
from zooaudit.errors import DamagedArtifactError, InputError, MissingArtifactError, StoreError
from zooaudit.storage import s3_requests
from zooaudit.storage.opening import open_store
from zooaudit.storage.retry import Backoff
from zooaudit.storage.s3 import S3Store
from zooaudit.storage.s3_client import make_client

pytestmark = pytest.mark.s3


@pytest.fixture
def store(bucket: str) -> S3Store:
    return S3Store(bucket)


def test_more_than_a_thousand_keys_are_all_listed(store: S3Store) -> None:
    threads = [
        threading.Thread(target=lambda n=n: [store.create(f"k/{i:04}", b"") for i in range(n, 1050, 8)])
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(store.keys("k/")) == [f"k/{i:04}" for i in range(1050)]


def test_large_content_goes_in_parts_and_is_created_once(
    store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_requests, "PART_BYTES", 5 * 2**20)
    content = bytes(range(256)) * (12 * 2**12)  # 12 MiB: three parts
    assert store.create("large.bin", content)
    assert store.read("large.bin") == content
    assert not store.create("large.bin", content[::-1])
    assert store.read("large.bin") == content
    left = store._client.list_multipart_uploads(Bucket="zoo", Prefix=store._name(""))
    assert not left.get("Uploads"), "an upload was left half done"


def test_nothing_but_the_run_is_left_by_the_probe(store: S3Store) -> None:
    assert list(store.keys("")) == []


def test_a_prefix_ends_at_its_slash(bucket: str) -> None:
    mine, beside = S3Store(f"{bucket}/run"), S3Store(f"{bucket}/run2")
    beside.create("k", b"1")
    assert list(mine.keys("")) == []
    assert S3Store(f"{bucket}/run/").create("k", b"2")
    assert mine.read("k") == b"2"


@pytest.mark.parametrize("url", ["s3://", "s3://A/b", "s3:/zoo", "s3://zoo?x=1", "s3://zo_o/x"])
def test_what_is_no_location_is_refused(url: str) -> None:
    with pytest.raises(InputError, match=r"expected s3://bucket/prefix"):
        S3Store(url)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "access key is not known"),
        ({"AWS_SECRET_ACCESS_KEY": "hunter2"}, "secret key is wrong"),
        ({"AWS_PROFILE": "nowhere"}, "nowhere"),
        ({"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}, "AWS_ENDPOINT_URL_S3"),
    ],
)
def test_wrong_settings_are_named(
    change: dict[str, str], says: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOOAUDIT_S3_DEADLINE_S", "1")
    for name, value in change.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StoreError, match=says) as caught:
        open_store(bucket)
    assert "\n" not in str(caught.value)
    assert all(
        secret not in str(caught.value)
        for secret in (os.environ["AWS_SECRET_ACCESS_KEY"], os.environ["AWS_ACCESS_KEY_ID"])
    )


def test_a_bucket_that_is_not_there_is_named(bucket: str) -> None:
    with pytest.raises(StoreError, match=r"s3://nosuchbucket/x: .*NoSuchBucket; there is no such bucket"):
        open_store("s3://nosuchbucket/x")


def test_no_credentials_at_all(bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(StoreError, match="no credentials found; set AWS_ACCESS_KEY_ID"):
        open_store(bucket)


def test_read_only_credentials_are_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Seaweed(tmp_path / "weed")
    config = json.loads((tmp_path / "weed" / "s3.json").read_text())
    reader = {
        "name": "reader",
        "credentials": [{"accessKey": "reader", "secretKey": "reads"}],
        "actions": ["Read", "List"],
    }
    config["identities"].append(reader)
    (tmp_path / "weed" / "s3.json").write_text(json.dumps(config))
    server.start()
    try:
        make_bucket(server, "zoo")
        for name, value in (
            server.environment | {"AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": "reads"}
        ).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(
            StoreError,
            match=r"cannot write .*AccessDenied; these credentials may not do that; allow s3:GetObject",
        ):
            open_store("s3://zoo/x")
    finally:
        server.kill()


def test_plain_http_to_another_host_is_refused_unless_allowed(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://s3.example.org")
    with pytest.raises(
        InputError, match=r"http://s3.example.org is plain HTTP on another host.*ZOOAUDIT_S3_ALLOW_HTTP=1"
    ):
        make_client()
    monkeypatch.setenv("ZOOAUDIT_S3_ALLOW_HTTP", "1")
    make_client()


@pytest.mark.parametrize(
    ("name", "value"), [("ZOOAUDIT_S3_ADDRESSING", "sideways"), ("ZOOAUDIT_S3_DEADLINE_S", "soon")]
)
def test_settings_out_of_range_are_named(
    name: str, value: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=rf"{name} is '{value}'; expected"):
        open_store(bucket)


class Faulty:
    """A real client with faults that the real server cannot be made to show."""

    def __init__(self, client: Any, **faults: Any) -> None:
        self._client, self._faults = client, faults

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._client, name)
        fault = self._faults.get(name)
        return (lambda **kwargs: fault(real, **kwargs)) if fault else real


def error(code: str, status: int) -> boto.ClientError:
    return boto.ClientError(
        {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "PutObject"
    )


def test_a_bucket_that_ignores_conditions_is_refused(bucket: str) -> None:
    def blind(real: Any, **kwargs: Any) -> Any:
        kwargs.pop("IfNoneMatch")
        return real(**kwargs)

    with pytest.raises(StoreError, match="ignores If-None-Match"):
        S3Store(bucket, Faulty(make_client(), put_object=blind))


@pytest.mark.parametrize(
    "fault",
    [
        error("SlowDown", 503),
        error("InternalError", 500),
        error("TooManyRequests", 429),
        error("ConditionalRequestConflict", 409),
        boto.ConnectionClosedError(endpoint_url="x"),
        boto.ReadTimeoutError(endpoint_url="x"),
    ],
)
def test_what_may_pass_is_tried_again(fault: Exception, bucket: str) -> None:
    left = [fault, fault]

    def flaky(real: Any, **kwargs: Any) -> Any:
        if left:
            raise left.pop()
        return real(**kwargs)

    waits: list[float] = []
    backoff = Backoff(20, sleep=waits.append)
    store = S3Store(bucket, Faulty(make_client(), put_object=flaky), backoff)
    assert backoff.retries == len(waits) == 2
    assert store.create("k", b"1")


def test_a_write_whose_answer_was_lost_is_known_as_ones_own(store: S3Store, bucket: str) -> None:
    lose = [False]

    def lossy(real: Any, **kwargs: Any) -> Any:
        answer = real(**kwargs)
        if lose[0]:
            lose[0] = False
            raise boto.ConnectionClosedError(endpoint_url="x")
        return answer

    mine = S3Store(bucket, Faulty(make_client(), put_object=lossy), Backoff(20, first_s=0.01))
    lose[0] = True
    assert mine.create("k", b"mine"), "the first attempt had succeeded"
    store.create("other", b"theirs")
    lose[0] = False
    assert not mine.create("other", b"mine")


def test_a_torn_read_is_read_again(store: S3Store, bucket: str) -> None:
    store.create("k", b"whole content")
    torn = [True]

    def tearing(real: Any, **kwargs: Any) -> Any:
        answer = real(**kwargs)
        if kwargs["Key"].endswith("/k") and torn:
            torn.pop()
            answer["Body"] = io.BytesIO(b"whole")
        return answer

    reader = S3Store(bucket, Faulty(make_client(), get_object=tearing), Backoff(20, first_s=0.01))
    assert reader.read("k") == b"whole content"
    assert reader.backoff.retries == 1


def test_damage_is_found_and_named(bucket: str) -> None:
    artifacts = open_store(bucket)
    artifact = artifacts.save("thing", "one", {"a.bin": b"alpha"}, {})
    sha = artifact.files["a.bin"]["sha256"]
    store = artifacts._store
    store.delete(f"objects/{sha[:2]}/{sha}")
    store.create(f"objects/{sha[:2]}/{sha}", b"alphb")
    with pytest.raises(DamagedArtifactError, match=r"thing one: a\.bin"):
        artifact.read("a.bin")
    assert [(kind, id_) for kind, id_, _ in artifacts.check()] == [("thing", "one")]


def test_missing_is_missing_and_not_an_outage(store: S3Store) -> None:
    with pytest.raises(MissingArtifactError, match=r"has no a/b"):
        store.read("a/b")


def test_the_servers_other_ports_give_and_take_nothing(seaweed: Seaweed, store: S3Store, bucket: str) -> None:
    """SeaweedFS has a filer and a volume server behind its S3 front, for whom S3's keys mean nothing."""
    secret = os.urandom(20_000)
    store.create("secret", secret)
    inside = f"/buckets/{bucket.removeprefix('s3://')}/secret"
    assert seaweed._process
    ports = {
        c.laddr.port
        for c in psutil.Process(seaweed._process.pid).net_connections("tcp")
        if c.status == psutil.CONN_LISTEN
    }
    assert len(ports) >= 7
    refused = 0
    for port in ports:
        for method, body in (("GET", None), ("PUT", b"evil"), ("DELETE", None)):
            request = urllib.request.Request(f"http://127.0.0.1:{port}{inside}", body, method=method)
            # gRPC speaks another language.
            with contextlib.suppress(urllib.error.URLError, OSError, http.client.HTTPException):
                try:
                    with urllib.request.urlopen(request, timeout=5) as reply:
                        assert reply.read() != secret and method == "GET", f"port {port} takes {method}"
                except urllib.error.HTTPError as error:
                    refused += error.code == 401
    assert refused >= 3 and store.read("secret") == secret
