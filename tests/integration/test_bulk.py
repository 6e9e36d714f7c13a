"""Bulk reads by pyarrow: the same server and the same errors as by boto3, and boto3 takes
over when they fail."""

import logging
import os
import threading
import time
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from cluster.seaweed import Seaweed
from zooaudit.errors import MissingArtifactError, StoreError
from zooaudit.storage import bulk
from zooaudit.storage.bulk import BulkReader, place
from zooaudit.storage.s3 import S3Store
from zooaudit.storage.s3_client import make_client

pytestmark = pytest.mark.s3

KEY = "objects/aa/aa11"


@pytest.fixture
def store(bucket: str) -> S3Store:
    store = S3Store(bucket)
    store.create(KEY, b"content")
    return store


@pytest.fixture
def by_boto3(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keys that boto3 was asked for."""
    asked: list[str] = []
    real = store._read_one

    def noted(key: str, most: int | None = None) -> bytes:
        asked.append(key)
        return real(key, most)

    monkeypatch.setattr(store, "_read_one", noted)
    return asked


@pytest.mark.parametrize("content", [b"", b"x", os.urandom(9 * 2**20)], ids=["empty", "small", "9 MiB"])
def test_content_comes_whole_without_boto3(content: bytes, store: S3Store, by_boto3: list[str]) -> None:
    store.create("objects/bb/bb22", content)
    assert store.read("objects/bb/bb22") == content
    assert by_boto3 == []


def test_what_may_change_is_left_to_boto3(store: S3Store, by_boto3: list[str]) -> None:
    store.create("leases/one.json", b"{}")
    assert store.read("leases/one.json") == b"{}"
    assert by_boto3 == ["leases/one.json"]


def test_missing_is_named_and_no_failure(store: S3Store, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(MissingArtifactError, match=r"s3://zoo/\w+ has no objects/bb/bb22"):
        store.read("objects/bb/bb22")
    assert not caplog.records


def test_many_threads_read_at_once(store: S3Store, by_boto3: list[str]) -> None:
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.extend(store.read(KEY) for _ in range(10))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [b"content"] * 80
    assert by_boto3 == []


def test_a_failure_is_said_once_and_boto3_reads_for_a_while(
    store: S3Store, by_boto3: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reader = store._bulk
    assert reader is not None
    real = reader._connected
    calls: list[int] = []

    def broken() -> Any:
        calls.append(1)
        raise OSError("AWS Error NETWORK_CONNECTION during HeadObject operation\nand more")

    monkeypatch.setattr(reader, "_connected", broken)
    assert [store.read(KEY) for _ in range(3)] == [b"content"] * 3
    assert len(calls) == 1 and by_boto3 == [KEY] * 3
    (said,) = caplog.records
    assert (
        said.levelno == logging.WARNING
        and "NETWORK_CONNECTION" in said.getMessage()
        and "\n" not in said.getMessage()
    )
    monkeypatch.setattr(reader, "_connected", real)
    rested = time.monotonic() + bulk.REST_S + 1
    monkeypatch.setattr(time, "monotonic", lambda: rested)
    assert store.read(KEY) == b"content"
    assert by_boto3 == [KEY] * 3, "it never came back"


def test_refused_credentials_are_explained_as_by_boto3(
    store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    store._client, store._bulk = make_client(), BulkReader(make_client(), "zoo")
    with pytest.raises(StoreError, match="secret key is wrong") as caught:
        store.read(KEY)
    assert "hunter2" not in str(caught.value)


def test_renewed_credentials_are_taken_up(
    store: S3Store, bucket: str, seaweed: Seaweed, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = BulkReader(make_client(), "zoo")
    name = f"{bucket.removeprefix('s3://zoo/')}/{KEY}"
    monkeypatch.setattr(bulk, "REST_S", 0.0)
    monkeypatch.setattr(reader, "_credentials", botocore.credentials.Credentials("nobody", "expired"))
    assert reader.read(name) is None
    monkeypatch.setattr(
        reader, "_credentials", botocore.credentials.Credentials(seaweed.access_key, seaweed.secret_key)
    )
    assert reader.read(name) == b"content"


# Where it goes: worked out without a request


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": "eu-west-3",
    }.items():
        monkeypatch.setenv(name, value)
    for name in (
        "AWS_ENDPOINT_URL_S3",
        "AWS_ENDPOINT_URL",
        "HTTPS_PROXY",
        "https_proxy",
        "NO_PROXY",
        "no_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("endpoint", "addressing", "bucket", "host", "virtual"),
    [
        (None, "auto", "zoo", "s3.eu-west-3.amazonaws.com", True),
        (None, "path", "zoo", "s3.eu-west-3.amazonaws.com", False),
        (None, "auto", "dotted.name", "s3.eu-west-3.amazonaws.com", False),
        ("https://minio.example.org:9000", "auto", "zoo", "minio.example.org:9000", False),
        ("https://minio.example.org:9000", "virtual", "zoo", "minio.example.org:9000", True),
    ],
)
def test_the_place_is_boto3s(
    endpoint: str | None, addressing: str, bucket: str, host: str, virtual: bool, keys: pytest.MonkeyPatch
) -> None:
    keys.setenv("ZOOAUDIT_S3_ADDRESSING", addressing)
    if endpoint:
        keys.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    found = place(make_client(), bucket)
    assert found == {
        "scheme": "https",
        "endpoint_override": host,
        "force_virtual_addressing": virtual,
        "proxy_options": None,
    }


def test_a_proxy_is_used_as_by_boto3(keys: pytest.MonkeyPatch) -> None:
    keys.setenv("HTTPS_PROXY", "http://proxy.example.org:3128")
    assert place(make_client(), "zoo")["proxy_options"] == "http://proxy.example.org:3128"
    keys.setenv("NO_PROXY", "amazonaws.com")
    assert place(make_client(), "zoo")["proxy_options"] is None


def test_certificates_are_those_of_the_environment(keys: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert Path(BulkReader(make_client(), "zoo")._certificates).is_file()
    keys.setenv("AWS_CA_BUNDLE", str(tmp_path / "own.pem"))
    (tmp_path / "own.pem").write_text("")
    keys.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    assert BulkReader(make_client(), "zoo")._certificates == str(tmp_path / "own.pem")
