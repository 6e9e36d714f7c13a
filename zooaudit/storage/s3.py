"""A store in an S3-compatible bucket.

Every write sends If-None-Match: *, so that of many writers one wins; a bucket that ignores this is refused
before anything is written. For settings and credentials see :mod:`zooaudit.storage.s3_client`.
"""

import hashlib
import logging
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any

import botocore.exceptions as boto

from zooaudit.errors import MissingArtifactError, StoreError
from zooaudit.storage.bulk import BulkReader
from zooaudit.storage.port import check_size
from zooaudit.storage.retry import Backoff
from zooaudit.storage.s3_client import CHECKSUMS, READ_CHECKSUMS, SSE, checksums_chosen, make_client
from zooaudit.storage.s3_errors import NO_CHECKSUMS, code_of, status
from zooaudit.storage.s3_requests import PART_BYTES, S3Requests

IMMUTABLE = ("objects/", "manifests/")
TRIED = b"probe"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listed:
    """An object as the bucket lists it: key below the prefix, bytes, and the ETag of its content."""

    key: str
    size: int
    etag: str


class S3Store(S3Requests):
    """The store interface on ``s3://bucket/prefix``.

    Args:
        url: bucket and prefix.
        client: a boto3 S3 client that then makes all requests, for tests; by default made from the
            environment.
        backoff: how long to retry; None for ZOOAUDIT_S3_DEADLINE_S, 120 seconds unless set.
        probe: False to only read: one listing shows that it exists; whether it is writable is tried when
            something is written.

    Raises:
        StoreError: it cannot be reached, lacks a permission, or does not honour conditional writes.
        InputError: the URL or a setting is not valid, or credentials would cross a network in plain text.
    """

    def __init__(
        self, url: str, client: Any = None, backoff: Backoff | None = None, probe: bool = True
    ) -> None:
        super().__init__(url, client, backoff)
        self._probing = threading.RLock()
        self._tried = False
        if probe:
            self._try_out()
        else:
            self._call(
                "list", partial(self._list, {"Bucket": self._bucket, "Prefix": self._name(""), "MaxKeys": 1})
            )
        self._bulk: BulkReader | None = None
        self._renew_bulk()

    def _renew_bulk(self) -> None:
        self._bulk = None if self._given else BulkReader(self._client, self._bucket)

    @property
    def url(self) -> str:
        return self._url

    def create(self, key: str, content: bytes) -> bool:
        self._try_out()
        return self._create(key, content)

    def _create(self, key: str, content: bytes) -> bool:
        token = uuid.uuid4().hex
        write = self._put if len(content) <= PART_BYTES else self._put_in_parts

        def attempt(number: int) -> bool:
            try:
                write(key, content, token)
            except boto.ClientError as error:
                if status(error) != 412:
                    raise
                # The existing object may be ours, from an attempt whose answer was lost.
                return number > 0 and self._writer(key) == token
            return True

        return self._call(f"write {key}", attempt)

    def read(self, key: str, most: int | None = None) -> bytes:
        # It asks for the size first, so an object that may change in between cannot be read this way.
        if self._bulk and key.startswith(IMMUTABLE):
            content = self._bulk.read(self._name(key), most)
            if content is not None:
                return content
        return self._read_one(key, most)

    def _read_one(self, key: str, most: int | None = None) -> bytes:
        def attempt(number: int) -> bytes:
            answer = self._client.get_object(**self._at(key))
            # Not the body itself, which would return the underlying stream, unchecked.
            with closing(answer["Body"]) as body:
                check_size(self._url, key, answer["ContentLength"], most)
                content: bytes = self._checked(key, body.read, number)
            if len(content) != answer["ContentLength"]:
                raise boto.IncompleteReadError(
                    actual_bytes=len(content), expected_bytes=answer["ContentLength"]
                )
            return content

        return self._call(f"read {key}", attempt)

    def _checked(self, key: str, read: Callable[[], bytes], number: int) -> bytes:
        """Read; boto3 compares the content with the checksum that the store sends."""
        try:
            return read()
        except boto.FlexibleChecksumError as error:
            if number == 0:  # damaged in transit: the next attempt may succeed
                raise boto.ResponseStreamingError(error=error) from error
            raise StoreError(
                f"store {self._url}: {key} does not match the checksum that the store sent with it: it is"
                f" damaged there, or the store's checksums are wrong; with {READ_CHECKSUMS}=when_required it"
                " is compared with our own SHA-256 alone"
            ) from error

    def exists(self, key: str) -> bool:
        try:
            self._call(f"look for {key}", lambda _: self._client.head_object(**self._at(key)))
        except MissingArtifactError:
            return False
        return True

    def keys(self, prefix: str) -> Iterator[str]:
        return iter(sorted(entry.key for entry in self.listing(prefix)))

    def listing(self, prefix: str) -> list["Listed"]:
        """The objects under keys that start with ``prefix``, without folder markers."""
        found: list[Listed] = []
        start = len(self._name(""))
        place: dict[str, Any] = {"Bucket": self._bucket, "Prefix": self._name(prefix)}
        while True:
            page = self._call("list", partial(self._list, place))
            entries = (entry for entry in page.get("Contents", []) if not entry["Key"].endswith("/"))
            found += [
                Listed(e["Key"][start:], int(e["Size"]), str(e.get("ETag", "")).strip('"')) for e in entries
            ]
            if not page.get("IsTruncated"):
                break
            place = place | {"ContinuationToken": page["NextContinuationToken"]}
        return found

    def download(self, entry: "Listed", target: Path) -> str:
        """Write a listed object to the file ``target``, which nobody else may read yet; returns its SHA-256.

        Raises:
            StoreError: it cannot be read, or differs from the listing in size, MD5 or ETag.
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
        # Any other ETag is not an MD5
        plain = (
            re.fullmatch(r"[0-9a-f]{32}", tag)
            and answer.get("ServerSideEncryption", "AES256") == "AES256"
            and "SSECustomerAlgorithm" not in answer
        )
        if (tag, size) != (entry.etag, entry.size) or (plain and tag != md5.hexdigest()):
            raise StoreError(
                f"store {self._url}: {entry.key} changed while it was read, or arrived damaged; read it again"
            )
        return sha.hexdigest()

    def move(self, key: str, to: str) -> None:
        source = {"Bucket": self._bucket, "Key": self._name(key)}
        where = {"Bucket": self._bucket, "Key": self._name(to)}
        self._call(
            f"move {key}", lambda _: self._client.copy(CopySource=source, **where, ExtraArgs=dict(self._sse))
        )
        self.delete(key)

    def age_s(self, key: str) -> float:
        found = self._call(f"look for {key}", lambda _: self._client.head_object(**self._at(key)))
        now = parsedate_to_datetime(found["ResponseMetadata"]["HTTPHeaders"]["date"])
        return float((now - found["LastModified"]).total_seconds())

    def delete(self, key: str) -> None:
        self._call(f"delete {key}", lambda _: self._client.delete_object(**self._at(key)))

    def _try_out(self) -> None:
        """Once, before anything is written, try all operations that a run will need. A store that does not
        support checksums of writes is written to without them, unless the user has decided."""
        with self._probing:
            if self._tried:
                return
            self._tried = True  # trying it writes, which checks this again
            try:
                self._probe_with_and_without_checksums()
            except BaseException:
                self._tried = False
                raise

    def _probe_with_and_without_checksums(self) -> None:
        try:
            self._probe()
            return
        except StoreError as error:
            cause = error.__cause__
            other = isinstance(error, _Altered) or (
                isinstance(cause, boto.ClientError) and code_of(cause) in NO_CHECKSUMS
            )
            if not other or self._given or checksums_chosen():
                raise
            first, before = error, self._client
        self._checksums, self._client = "when_required", make_client("when_required")
        try:
            self._probe()
        except StoreError:  # checksums were not the cause
            self._checksums, self._client = None, before
            raise first from first.__cause__
        log.warning(
            "S3: %s refuses checksums of writes; writing without (%s=when_required says so from the start)",
            self._url,
            CHECKSUMS,
        )

    def _probe(self) -> None:
        """Write twice, read, list, delete: tries what a run will need before it starts."""
        key = f".probe/{uuid.uuid4().hex}"
        if not self._create(key, TRIED):
            raise StoreError(f"store {self._url}: a new key is said to exist already; it cannot be trusted")
        try:
            if self._create(key, b"second"):
                raise StoreError(
                    f"store {self._url} ignores If-None-Match: * (a second write replaced the first): two"
                    " jobs would overwrite each other's models; use a store that honours conditional writes"
                )
            if (found := self._read_one(key)) != TRIED:
                raise _Altered(
                    f"store {self._url} kept {found[:40]!r} of {TRIED!r}: it takes a write's checksum for"
                    f" content; see {CHECKSUMS}"
                )
            self._check_encryption(key)
            list(self.keys(".probe/"))
        finally:
            self.delete(key)

    def _check_encryption(self, key: str) -> None:
        """Raise StoreError if a store does not encrypt as requested."""
        if not self._sse:
            return
        found = self._call(f"look for {key}", lambda _: self._client.head_object(**self._at(key)))
        text = str(found.get("ServerSideEncryption", ""))
        if text != self._sse["ServerSideEncryption"]:
            raise StoreError(
                f"store {self._url} says that it encrypts by {text or 'nothing'}; expected"
                f" {self._sse['ServerSideEncryption']}, as {SSE} says: set that to what the store does, or"
                " use another store"
            )


class _Altered(StoreError):
    """The content read is not the content written."""
