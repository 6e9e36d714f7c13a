"""What S3 stores do that a sound one does not: checksums refused, wanted or wrong, a bucket that is not
there, an object that is too large."""

import base64
from pathlib import Path

import pytest

from tests.support.certificates import certificates
from tests.support.s3_faults import Asked, Bucket, reach, serving
from zooaudit.errors import DamagedArtifactError, StoreError
from zooaudit.storage.opening import open_store
from zooaudit.storage.s3 import S3Store

URL = "s3://zoo/x"


def no_checksums(asked: Asked) -> tuple[int, str, str] | None:
    """As B2 in public reports."""
    if "x-amz-sdk-checksum-algorithm" in asked.headers:
        return (
            400,
            "InvalidArgument",
            "Unsupported header 'x-amz-sdk-checksum-algorithm' received for this API call.",
        )
    return None


def no_trailers(asked: Asked) -> tuple[int, str, str] | None:
    """As Storj's gateway."""
    if "x-amz-trailer" in asked.headers:
        return 411, "MissingContentLength", "You must provide the Content-Length HTTP header."
    return None


def test_a_store_that_refuses_checksums_is_written_to_without(
    fake_bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    fake_bucket.faults = [no_checksums]
    store = S3Store(URL)
    assert store.create("k", b"content") and store.read("k") == b"content" and not store.create("k", b"other")
    store.move("k", "l")
    assert store.read("l") == b"content" and not store.exists("k")
    said = [r.message for r in caplog.records if "refuses checksums" in r.message]
    assert len(said) == 1 and "AWS_REQUEST_CHECKSUM_CALCULATION=when_required" in said[0]
    assert sum("x-amz-sdk-checksum-algorithm" in a.headers for a in fake_bucket.asked) == 1, (
        "it is not tried again and again"
    )


def test_checksums_that_the_user_asks_for_are_not_left_out(
    fake_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_bucket.faults = [no_checksums]
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_supported")
    with pytest.raises(
        StoreError, match=r"InvalidArgument; .*see AWS_REQUEST_CHECKSUM_CALCULATION: when_required"
    ):
        S3Store(URL)
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    assert S3Store(URL).create("k", b"1")


@pytest.mark.parametrize("raw", [False, True])
def test_over_tls_trailers_are_refused_or_taken_for_content(
    raw: bool, fake_bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, signed = certificates(tmp_path)
    (tmp_path / "both.pem").write_bytes(key + signed)
    with serving(Bucket([] if raw else [no_trailers], raw=raw), tmp_path / "both.pem") as encrypted:
        reach(encrypted, tmp_path, monkeypatch)
        monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
        store = S3Store(URL)
        store._bulk = None
        assert any("x-amz-trailer" in a.headers for a in encrypted.asked), (
            "boto3 has come to send none: is there a fault left to show?"
        )
        assert store.create("k", b"content") and store.read("k") == b"content" == encrypted.content["x/k"]


def test_another_fault_is_told_as_what_it_is(fake_bucket: Bucket) -> None:
    fake_bucket.faults = [
        lambda a: (501, "NotImplemented", "A header you provided") if "if-none-match" in a.headers else None
    ]
    with pytest.raises(StoreError, match=r"NotImplemented; .*has to honour If-None-Match"):
        S3Store(URL)


def test_a_locked_bucket_that_wants_checksums_names_the_setting(
    fake_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = (
        400,
        "InvalidRequest",
        (
            "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock"
            " parameters"
        ),
    )
    fake_bucket.faults = [
        lambda a: rows if a.method == "PUT" and "x-amz-sdk-checksum-algorithm" not in a.headers else None
    ]
    assert S3Store(URL).create("k", b"1")
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    with pytest.raises(StoreError, match="when_supported for one that requires them"):
        S3Store(URL)


def test_a_checksum_that_does_not_fit_is_named(fake_bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    store = S3Store(URL)
    store._bulk = None
    store.create("k", b"content")
    fake_bucket.answers = {"x_amz_checksum_crc32": base64.b64encode(b"\0\0\0\1").decode()}
    with pytest.raises(
        StoreError, match=r"k does not match the checksum .*AWS_RESPONSE_CHECKSUM_VALIDATION=when_required"
    ):
        store.read("k")
    monkeypatch.setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")
    assert S3Store(URL, probe=False)._read_one("k") == b"content"


def test_a_bucket_that_is_not_there_is_no_empty_store(fake_bucket: Bucket) -> None:
    fake_bucket.faults = [lambda a: (404, "NoSuchBucket", "none")]
    with pytest.raises(StoreError, match="NoSuchBucket; there is no such bucket"):
        open_store(URL, writes=False)


def test_too_large_is_found_before_it_is_read(fake_bucket: Bucket) -> None:
    store = S3Store(URL)
    store.create("objects/k", b"x" * 1000)
    for bulk in (store._bulk, None):
        store._bulk = bulk
        with pytest.raises(DamagedArtifactError, match="has 1,000 bytes; expected 10 at most"):
            store.read("objects/k", 10)
