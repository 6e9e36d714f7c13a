"""S3 stores that encrypt or do not, credentials that expire, answers without a word, and readers who may not
write."""

from pathlib import Path

import pytest

from tests.support.s3_faults import Asked, Bucket, credentials
from zooaudit.cli.main import main
from zooaudit.errors import InputError, StoreError
from zooaudit.storage.opening import open_store
from zooaudit.storage.s3 import S3Store

URL = "s3://zoo/x"


def test_writes_say_how_they_are_to_be_encrypted(
    fake_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOOAUDIT_S3_SSE", "aws:kms")
    monkeypatch.setenv("ZOOAUDIT_S3_SSE_KMS_KEY_ID", "alias/zoo")
    store = S3Store(URL)
    store.create("k", b"1")
    store.move("k", "l")
    writes = [a.headers for a in fake_bucket.asked if a.method == "PUT"]
    assert len(writes) == 4 and all(h["x-amz-server-side-encryption"] == "aws:kms" for h in writes)
    assert all(h["x-amz-server-side-encryption-aws-kms-key-id"] == "alias/zoo" for h in writes)


def test_a_store_that_does_not_encrypt_is_refused(
    fake_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOOAUDIT_S3_SSE", "AES256")
    S3Store(URL)
    fake_bucket.encrypts = False
    with pytest.raises(StoreError, match=r"encrypts by nothing; expected AES256, as ZOOAUDIT_S3_SSE says"):
        S3Store(URL)
    fake_bucket.faults = [
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
    way: str, key: str, says: str, fake_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
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
def test_expired_credentials_are_told_on_head_too(status: int, fake_bucket: Bucket) -> None:
    store = S3Store(URL)
    store.create("k", b"1")
    fake_bucket.faults = expired("first", status=status)  # type: ignore[assignment]
    for use in (
        lambda: store.exists("k"),
        lambda: store.exists("not there"),
        lambda: store.age_s("k"),
        lambda: store.create("l", b"2"),
    ):
        with pytest.raises(StoreError, match=r"ExpiredToken; these credentials have expired.*renew them"):
            use()


def test_credentials_that_were_renewed_in_their_file_are_taken(fake_bucket: Bucket, tmp_path: Path) -> None:
    store = S3Store(URL)
    store.create("k", b"1")
    fake_bucket.faults = expired("first")  # type: ignore[assignment]
    credentials(tmp_path, "second")
    assert store.exists("k") and not store.exists("l")
    assert store.create("l", b"2") and store.read("l") == b"2"


def test_a_bad_request_without_a_word_says_what_it_may_be(fake_bucket: Bucket) -> None:
    store = S3Store(URL)
    fake_bucket.faults = [lambda a: (400, "400", "") if a.method == "HEAD" else None]
    with pytest.raises(StoreError, match=r"400; the store does not say why; expired credentials"):
        store.exists("k")


# Who only reads


def only_reads(asked: Asked) -> tuple[int, str, str] | None:
    return (403, "AccessDenied", "Access Denied") if asked.method not in ("GET", "HEAD") else None


def test_who_only_reads_needs_no_right_to_write(
    fake_bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    open_store(URL).save("thing", "one", {"a": b"1"}, {})
    fake_bucket.faults, before = [only_reads], dict(fake_bucket.content)
    store = open_store(URL, writes=False)
    assert store.load("thing", "one").read("a") == b"1" and store.ids("thing") == ["one"]
    assert main(["store", "ls", "--store", URL]) == 0 and "thing 1" in capsys.readouterr().out
    assert main(["store", "gc", "--store", URL, "--delete"]) == 3
    with pytest.raises(StoreError, match=r"cannot write \.probe/"):
        store.save("thing", "two", {}, {})
    assert fake_bucket.content == before


def blind(asked: Asked) -> None:
    """It ignores the condition."""
    asked.headers.pop("if-none-match", None)


def test_a_store_opened_for_reading_is_tried_out_before_it_is_written_to(fake_bucket: Bucket) -> None:
    store = open_store(URL, writes=False)
    fake_bucket.faults = [blind]
    with pytest.raises(StoreError, match="ignores If-None-Match"):
        store.save("thing", "one", {"a": b"1"}, {})
    assert not fake_bucket.content
