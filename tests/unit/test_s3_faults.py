"""What S3 stores do that a sound one does not: refused checksums, no encryption, credentials that expire,
answers without a body."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import certificates
from tests.support.s3_faults import Asked, Bucket, serving
from zooaudit.cli.main import main
from zooaudit.errors import DamagedArtifactError, InputError, StoreError
from zooaudit.storage.opening import open_store
from zooaudit.storage.s3 import S3Store

URL = "s3://zoo/x"
FOUND = (
    "AWS_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_CA_BUNDLE",
    "AWS_REQUEST_CHECKSUM_CALCULATION",
    "AWS_RESPONSE_CHECKSUM_VALIDATION",
    "AWS_ENDPOINT_URL",
    "ZOOAUDIT_S3_SSE",
    "ZOOAUDIT_S3_SSE_KMS_KEY_ID",
)


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """With an environment that reaches it, and credentials in a file."""
    for name in FOUND:
        monkeypatch.delenv(name, raising=False)
    with serving(Bucket()) as made:
        reach(made, tmp_path, monkeypatch)
        yield made


def reach(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials(tmp_path, "first")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    settings = {
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_ENDPOINT_URL_S3": bucket.url,
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "ZOOAUDIT_S3_DEADLINE_S": "2",
        "ZOOAUDIT_STORE_CACHE_GIB": "0",
        "ZOOAUDIT_S3_ADDRESSING": "path",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)


def credentials(folder: Path, key: str) -> None:
    (folder / "credentials").write_text(
        f"[default]\naws_access_key_id = {key}\naws_secret_access_key = s\naws_session_token = t-{key}\n"
    )


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
    bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    bucket.faults = [no_checksums]
    store = S3Store(URL)
    assert store.create("k", b"content") and store.read("k") == b"content" and not store.create("k", b"other")
    store.move("k", "l")
    assert store.read("l") == b"content" and not store.exists("k")
    said = [r.message for r in caplog.records if "refuses checksums" in r.message]
    assert len(said) == 1 and "AWS_REQUEST_CHECKSUM_CALCULATION=when_required" in said[0]
    assert sum("x-amz-sdk-checksum-algorithm" in a.headers for a in bucket.asked) == 1, (
        "it is not tried again and again"
    )


def test_checksums_that_the_user_asks_for_are_not_left_out(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.faults = [no_checksums]
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_supported")
    with pytest.raises(
        StoreError, match=r"InvalidArgument; .*see AWS_REQUEST_CHECKSUM_CALCULATION: when_required"
    ):
        S3Store(URL)
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    assert S3Store(URL).create("k", b"1")


@pytest.mark.parametrize("raw", [False, True])
def test_over_tls_trailers_are_refused_or_taken_for_content(
    raw: bool, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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


def test_another_fault_is_told_as_what_it_is(bucket: Bucket) -> None:
    bucket.faults = [
        lambda a: (501, "NotImplemented", "A header you provided") if "if-none-match" in a.headers else None
    ]
    with pytest.raises(StoreError, match=r"NotImplemented; .*has to honour If-None-Match"):
        S3Store(URL)


def test_a_locked_bucket_that_wants_checksums_names_the_setting(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = (
        400,
        "InvalidRequest",
        (
            "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock"
            " parameters"
        ),
    )
    bucket.faults = [
        lambda a: rows if a.method == "PUT" and "x-amz-sdk-checksum-algorithm" not in a.headers else None
    ]
    assert S3Store(URL).create("k", b"1")
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    with pytest.raises(StoreError, match="when_supported for one that requires them"):
        S3Store(URL)


def test_a_checksum_that_does_not_fit_is_named(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    store = S3Store(URL)
    store._bulk = None
    store.create("k", b"content")
    bucket.answers = {"x_amz_checksum_crc32": base64.b64encode(b"\0\0\0\1").decode()}
    with pytest.raises(
        StoreError, match=r"k does not match the checksum .*AWS_RESPONSE_CHECKSUM_VALIDATION=when_required"
    ):
        store.read("k")
    monkeypatch.setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")
    assert S3Store(URL, probe=False)._read_one("k") == b"content"


# Encryption


def test_writes_say_how_they_are_to_be_encrypted(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOOAUDIT_S3_SSE", "aws:kms")
    monkeypatch.setenv("ZOOAUDIT_S3_SSE_KMS_KEY_ID", "alias/zoo")
    store = S3Store(URL)
    store.create("k", b"1")
    store.move("k", "l")
    writes = [a.headers for a in bucket.asked if a.method == "PUT"]
    assert len(writes) == 4 and all(h["x-amz-server-side-encryption"] == "aws:kms" for h in writes)
    assert all(h["x-amz-server-side-encryption-aws-kms-key-id"] == "alias/zoo" for h in writes)


def test_a_store_that_does_not_encrypt_is_refused(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOOAUDIT_S3_SSE", "AES256")
    S3Store(URL)
    bucket.encrypts = False
    with pytest.raises(StoreError, match=r"encrypts by nothing; expected AES256, as ZOOAUDIT_S3_SSE says"):
        S3Store(URL)
    bucket.faults = [
        lambda a: (
            (403, "AccessDenied", "not authorized to perform: kms:GenerateDataKey")
            if a.method == "PUT"
            else None
        )
    ]
    with pytest.raises(StoreError, match=r"AccessDenied; .*allow kms:GenerateDataKey"):
        S3Store(URL)


@pytest.mark.parametrize(
    ("way", "key", "says"),
    [
        ("kms", "", "ZOOAUDIT_S3_SSE is 'kms'; expected AES256, aws:kms"),
        ("AES256", "k", "KEY_ID is set, but"),
        ("", "k", "is ''"),
    ],
)
def test_ways_to_encrypt_that_are_none_are_named(
    way: str, key: str, says: str, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOOAUDIT_S3_SSE", way)
    monkeypatch.setenv("ZOOAUDIT_S3_SSE_KMS_KEY_ID", key)
    with pytest.raises(InputError, match=says):
        S3Store(URL)


# Credentials


def expired(*keys: str, status: int = 400) -> "list[object]":
    def fault(asked: Asked) -> tuple[int, str, str] | None:
        if any(f"Credential={key}/" in asked.headers.get("authorization", "") for key in keys):
            return status, "ExpiredToken", "The provided token has expired."
        return None

    return [fault]


@pytest.mark.parametrize("status", [400, 403])
def test_expired_credentials_are_told_on_head_too(status: int, bucket: Bucket) -> None:
    store = S3Store(URL)
    store.create("k", b"1")
    bucket.faults = expired("first", status=status)  # type: ignore[assignment]
    for use in (
        lambda: store.exists("k"),
        lambda: store.exists("not there"),
        lambda: store.age_s("k"),
        lambda: store.create("l", b"2"),
    ):
        with pytest.raises(StoreError, match=r"ExpiredToken; these credentials have expired.*renew them"):
            use()


def test_credentials_that_were_renewed_in_their_file_are_taken(bucket: Bucket, tmp_path: Path) -> None:
    store = S3Store(URL)
    store.create("k", b"1")
    bucket.faults = expired("first")  # type: ignore[assignment]
    credentials(tmp_path, "second")
    assert store.exists("k") and not store.exists("l")
    assert store.create("l", b"2") and store.read("l") == b"2"


def test_a_bad_request_without_a_word_says_what_it_may_be(bucket: Bucket) -> None:
    store = S3Store(URL)
    bucket.faults = [lambda a: (400, "400", "") if a.method == "HEAD" else None]
    with pytest.raises(StoreError, match=r"400; the store does not say why; expired credentials"):
        store.exists("k")


# Who only reads


def only_reads(asked: Asked) -> tuple[int, str, str] | None:
    return (403, "AccessDenied", "Access Denied") if asked.method not in ("GET", "HEAD") else None


def test_who_only_reads_needs_no_right_to_write(bucket: Bucket, capsys: pytest.CaptureFixture[str]) -> None:
    open_store(URL).save("thing", "one", {"a": b"1"}, {})
    bucket.faults, before = [only_reads], dict(bucket.content)
    store = open_store(URL, writes=False)
    assert store.load("thing", "one").read("a") == b"1" and store.ids("thing") == ["one"]
    assert main(["store", "ls", "--store", URL]) == 0 and "thing 1" in capsys.readouterr().out
    assert main(["store", "gc", "--store", URL, "--delete"]) == 3
    with pytest.raises(StoreError, match=r"cannot write \.probe/"):
        store.save("thing", "two", {}, {})
    assert bucket.content == before


def blind(asked: Asked) -> None:
    """It ignores the condition."""
    asked.headers.pop("if-none-match", None)


def test_a_store_opened_for_reading_is_tried_out_before_it_is_written_to(bucket: Bucket) -> None:
    store = open_store(URL, writes=False)
    bucket.faults = [blind]
    with pytest.raises(StoreError, match="ignores If-None-Match"):
        store.save("thing", "one", {"a": b"1"}, {})
    assert not bucket.content


def test_a_bucket_that_is_not_there_is_no_empty_store(bucket: Bucket) -> None:
    bucket.faults = [lambda a: (404, "NoSuchBucket", "none")]
    with pytest.raises(StoreError, match="NoSuchBucket; there is no such bucket"):
        open_store(URL, writes=False)


def test_too_large_is_found_before_it_is_read(bucket: Bucket) -> None:
    store = S3Store(URL)
    store.create("objects/k", b"x" * 1000)
    for bulk in (store._bulk, None):
        store._bulk = bulk
        with pytest.raises(DamagedArtifactError, match="has 1,000 bytes; expected 10 at most"):
            store.read("objects/k", 10)
