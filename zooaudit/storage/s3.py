"""A store in an S3-compatible bucket.

Every write says If-None-Match: *, so that of many writers one wins; a bucket that ignores this is refused when the store is opened.
Credentials come from boto3's default chain only (environment, shared files, instance role), endpoint, region and TLS from its
environment variables and config file: nothing of it is ever in an argument, a log or the store.
"""

import hashlib
import os
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import boto3
import botocore.exceptions as boto
from botocore.config import Config

from zooaudit.errors import InputError, MissingArtifactError, StoreError, first_line
from zooaudit.storage.bulk import BulkReader
from zooaudit.storage.retry import Backoff
from zooaudit.storage.settings import env_number

Result = TypeVar("Result")

URL = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>[^?#]*))?")
PART_BYTES = 64 * 2**20
WRITER = "zooaudit-writer"
IMMUTABLE = ("objects/", "manifests/")
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")

ADDRESSING = "ZOOAUDIT_S3_ADDRESSING"
DEADLINE = "ZOOAUDIT_S3_DEADLINE_S"
ALLOW_HTTP = "ZOOAUDIT_S3_ALLOW_HTTP"

BUSY = {429, 500, 502, 503, 504}
BUSY_CODES = {"SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "Throttling", "ThrottlingException", "TooManyRequests"}
ABSENT = {"404", "NoSuchKey", "NotFound"}
RESETS = (boto.ConnectionError, boto.HTTPClientError, boto.ReadTimeoutError, boto.IncompleteReadError, boto.ResponseStreamingError)

REMEDIES = {
    "NoSuchBucket": "there is no such bucket; make it, or mend the URL",
    "InvalidAccessKeyId": "the access key is not known there; see AWS_ACCESS_KEY_ID or the profile",
    "SignatureDoesNotMatch": "the secret key is wrong; see AWS_SECRET_ACCESS_KEY or the profile",
    "AccessDenied": "these credentials may not do that; allow s3:GetObject, PutObject, DeleteObject and ListBucket on the prefix",
    "RequestTimeTooSkewed": "this machine's clock is wrong by many minutes; set it",
    "ExpiredToken": "the session's credentials have expired; renew them",
}


@dataclass(frozen=True)
class Listed:
    """An object as the bucket lists it: key below the prefix, bytes, and the ETag of its content."""

    key: str
    size: int
    etag: str


class S3Store:
    """The store port on ``s3://bucket/prefix``.

    Args:
        url: bucket and prefix.
        client: a boto3 S3 client that alone does everything, for tests; made from the environment if not given.
        backoff: how long to try; None for ZOOAUDIT_S3_DEADLINE_S, 120 seconds unless set.
        probe: False for a place that is only read from: it is not tried out whether it can be written to.

    Raises:
        StoreError: it cannot be reached, lacks a permission, or does not honour conditional writes.
        InputError: the URL is not one, or credentials would cross a network in plain text.
    """

    def __init__(self, url: str, client: Any = None, backoff: Backoff | None = None, probe: bool = True) -> None:
        self._url = url.rstrip("/")
        found = URL.fullmatch(self._url)
        if not found:
            raise InputError(f"{url!r} is not an S3 location; expected s3://bucket/prefix")
        self._bucket, self._prefix = found["bucket"], (found["prefix"] or "").strip("/")
        self.backoff = backoff or Backoff(env_number(DEADLINE, 120.0, "seconds, a positive number"))
        self._client = client or make_client()
        if probe:
            self._probe()
        self._bulk = None if client else BulkReader(self._client, self._bucket)

    @property
    def url(self) -> str:
        return self._url

    def create(self, key: str, content: bytes) -> bool:
        token = uuid.uuid4().hex
        write = self._put if len(content) <= PART_BYTES else self._put_in_parts

        def attempt(number: int) -> bool:
            try:
                write(key, content, token)
            except boto.ClientError as error:
                if _status(error) != 412:
                    raise
                return number > 0 and self._writer(key) == token  # an attempt whose answer was lost may have been ours
            return True

        return self._call(f"write {key}", attempt)

    def read(self, key: str) -> bytes:
        if self._bulk and key.startswith(IMMUTABLE):  # it asks for the size first: no way to read what may change in between
            content = self._bulk.read(self._name(key))
            if content is not None:
                return content
        return self._read_one(key)

    def _read_one(self, key: str) -> bytes:
        def attempt(_: int) -> bytes:
            answer = self._client.get_object(**self._at(key))
            content: bytes = answer["Body"].read()
            if len(content) != answer["ContentLength"]:
                raise boto.IncompleteReadError(actual_bytes=len(content), expected_bytes=answer["ContentLength"])
            return content

        return self._call(f"read {key}", attempt)

    def exists(self, key: str) -> bool:
        try:
            self._call(f"look for {key}", lambda _: self._client.head_object(**self._at(key)))
        except MissingArtifactError:
            return False
        return True

    def keys(self, prefix: str) -> Iterator[str]:
        return iter(sorted(entry.key for entry in self.listing(prefix)))

    def listing(self, prefix: str) -> list["Listed"]:
        """What is there under keys that start with ``prefix``, but for marks of folders."""
        found: list[Listed] = []
        start = len(self._name(""))
        place = {"Bucket": self._bucket, "Prefix": self._name(prefix)}
        while True:
            page = self._call("list", partial(self._list, place))
            entries = (entry for entry in page.get("Contents", []) if not entry["Key"].endswith("/"))
            found += [Listed(e["Key"][start:], int(e["Size"]), str(e.get("ETag", "")).strip('"')) for e in entries]
            if not page.get("IsTruncated"):
                break
            place = place | {"ContinuationToken": page["NextContinuationToken"]}
        return found

    def download(self, entry: "Listed", target: Path) -> str:
        """Write an object as it was listed to the file ``target``, which nobody else may read yet; its SHA-256.

        Raises:
            StoreError: it cannot be read, or is not what was listed: of another size, MD5 or ETag.
        """
        return self._call(f"read {entry.key}", lambda _: self._download(entry, target))

    def _download(self, entry: "Listed", target: Path) -> str:
        answer = self._client.get_object(**self._at(entry.key))
        sha, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
        with target.open("wb") as file:
            for chunk in answer["Body"].iter_chunks(2**20):
                sha.update(chunk)
                md5.update(chunk)
                size += len(chunk)
                file.write(chunk)
        if size != answer["ContentLength"]:
            raise boto.IncompleteReadError(actual_bytes=size, expected_bytes=answer["ContentLength"])
        tag = str(answer.get("ETag", "")).strip('"')
        plain = (
            re.fullmatch(r"[0-9a-f]{32}", tag)
            and answer.get("ServerSideEncryption", "AES256") == "AES256"
            and "SSECustomerAlgorithm" not in answer
        )  # any other is no MD5
        if (tag, size) != (entry.etag, entry.size) or (plain and tag != md5.hexdigest()):
            raise StoreError(f"store {self._url}: {entry.key} changed while it was read, or arrived damaged; read it again")
        return sha.hexdigest()

    def age_s(self, key: str) -> float:
        found = self._call(f"look for {key}", lambda _: self._client.head_object(**self._at(key)))
        now = parsedate_to_datetime(found["ResponseMetadata"]["HTTPHeaders"]["date"])
        return float((now - found["LastModified"]).total_seconds())

    def delete(self, key: str) -> None:
        self._call(f"delete {key}", lambda _: self._client.delete_object(**self._at(key)))

    def _put(self, key: str, content: bytes, token: str) -> None:
        self._client.put_object(**self._at(key), Body=content, IfNoneMatch="*", Metadata={WRITER: token})

    def _put_in_parts(self, key: str, content: bytes, token: str) -> None:
        upload = self._client.create_multipart_upload(**self._at(key), Metadata={WRITER: token})["UploadId"]
        try:
            parts = []
            for number, start in enumerate(range(0, len(content), PART_BYTES), 1):
                body = content[start : start + PART_BYTES]
                part = self._call(f"write part {number} of {key}", partial(self._upload_part, key, upload, number, body))
                parts.append({"PartNumber": number, "ETag": part["ETag"]})
            self._client.complete_multipart_upload(**self._at(key), UploadId=upload, MultipartUpload={"Parts": parts}, IfNoneMatch="*")
        except Exception:
            with suppress(boto.ClientError, boto.BotoCoreError):  # the bucket's lifecycle rule removes what is left
                self._client.abort_multipart_upload(**self._at(key), UploadId=upload)
            raise

    def _list(self, place: dict[str, str], _: int) -> Any:
        return self._client.list_objects_v2(**place)

    def _upload_part(self, key: str, upload: str, number: int, body: bytes, _: int) -> Any:
        return self._client.upload_part(**self._at(key), UploadId=upload, PartNumber=number, Body=body)

    def _writer(self, key: str) -> str | None:
        found: str | None = self._client.head_object(**self._at(key))["Metadata"].get(WRITER)
        return found

    def _probe(self) -> None:
        """Write twice, read, list, delete: what a run will need, found out before it starts."""
        key = f".probe/{uuid.uuid4().hex}"
        if not self.create(key, b"probe"):
            raise StoreError(f"store {self._url}: a new key is said to exist already; it cannot be trusted")
        try:
            if self.create(key, b"second"):
                raise StoreError(
                    f"store {self._url} ignores If-None-Match: * (a second write replaced the first): two jobs would overwrite "
                    "each other's models; use a store that honours conditional writes (AWS S3, SeaweedFS, R2, B2)"
                )
            self._read_one(key)
            list(self.keys(".probe/"))
        finally:
            self.delete(key)

    def _call(self, doing: str, attempt: Callable[[int], Result]) -> Result:
        try:
            return self.backoff.call(attempt, _again)
        except boto.ClientError as error:
            raise self._explained(doing, error) from error
        except boto.NoCredentialsError as error:
            raise StoreError(
                f"store {self._url}: no credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
            ) from error
        except boto.BotoCoreError as error:
            raise StoreError(
                f"store {self._url}: cannot {doing} within {self.backoff.deadline_s:g} s: {first_line(error)}; "
                "see AWS_ENDPOINT_URL_S3 and that the server runs; finished models are kept"
            ) from error

    def _explained(self, doing: str, error: boto.ClientError) -> StoreError:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in ABSENT and not doing.startswith(("list", "write")):
            return MissingArtifactError(f"store {self._url} has no {doing.rpartition(' ')[2]}")
        remedy = REMEDIES.get("AccessDenied" if code in ("403", "Forbidden") else code, "")
        return StoreError(f"store {self._url}: cannot {doing}: {code}; {remedy or first_line(error)}")

    def _name(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._name(key)}


def make_client() -> Any:
    """A boto3 client from the environment; its own retries are off, ours have the deadline.

    Raises:
        InputError: a setting is out of range, or credentials would go over plain HTTP to another host.
        StoreError: boto3's own settings are wrong (an unknown profile, for example).
    """
    addressing = os.environ.get(ADDRESSING, "auto")
    if addressing not in ("auto", "path", "virtual"):
        raise InputError(f"{ADDRESSING} is {addressing!r}; expected auto, path or virtual")
    config = Config(
        retries={"total_max_attempts": 1},
        s3={"addressing_style": addressing},
        connect_timeout=10,
        read_timeout=60,
        max_pool_connections=16,
    )
    try:
        session = boto3.Session()
        region = os.environ.get("AWS_REGION") or session.region_name or "us-east-1"  # boto3 knows only AWS_DEFAULT_REGION
        client = session.client("s3", config=config, region_name=region)
    except (boto.BotoCoreError, ValueError) as error:
        raise StoreError(f"S3 settings cannot be used: {first_line(error)}") from error
    endpoint = urlsplit(client.meta.endpoint_url)
    if endpoint.scheme == "http" and endpoint.hostname not in LOCAL_HOSTS and os.environ.get(ALLOW_HTTP) != "1":
        raise InputError(
            f"{client.meta.endpoint_url} is plain HTTP on another host: models and signed requests could be read on the way; "
            f"use https, or set {ALLOW_HTTP}=1 on a network that you trust"
        )
    return client


def _again(error: Exception) -> bool:
    """Whether another attempt may succeed: busy servers, lost connections, a write that met another one (409)."""
    if isinstance(error, boto.ClientError):
        return _status(error) in BUSY | {409} or error.response.get("Error", {}).get("Code") in BUSY_CODES
    return isinstance(error, RESETS)


def _status(error: boto.ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
