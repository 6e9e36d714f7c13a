"""Requests to an S3 bucket: each is retried until its deadline, with credentials that are renewed when they
expire; failures are explained."""

import re
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import botocore.exceptions as boto

from zooaudit.errors import InputError, MissingArtifactError, StoreError, first_line
from zooaudit.storage.retry import Backoff
from zooaudit.storage.s3_client import encryption, make_client
from zooaudit.storage.s3_errors import ABSENT, BARE, EXPIRED, code_of, may_pass, remedy
from zooaudit.storage.settings import env_number

Result = TypeVar("Result")

URL = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>[^?#]*))?")
PART_BYTES = 64 * 2**20
WRITER = "zooaudit-writer"
DEADLINE = "ZOOAUDIT_S3_DEADLINE_S"


class S3Requests:
    """Requests to ``s3://bucket/prefix``.

    Args:
        client: a boto3 S3 client that then makes all requests, for tests; by default made from the
            environment.
        backoff: how long to retry; None for ZOOAUDIT_S3_DEADLINE_S, 120 seconds unless set.

    Raises:
        InputError: the URL or a setting is not valid, or credentials would cross a network in plain text.
    """

    def __init__(self, url: str, client: Any, backoff: Backoff | None) -> None:
        self._url = url.rstrip("/")
        found = URL.fullmatch(self._url)
        if not found:
            raise InputError(f"{url!r} is not an S3 location; expected s3://bucket/prefix")
        self._bucket, self._prefix = found["bucket"], (found["prefix"] or "").strip("/")
        self.backoff = backoff or Backoff(env_number(DEADLINE, 120.0, "seconds, a positive number"))
        self._given = client is not None
        self._client = client or make_client()
        self._checksums: str | None = None
        self._lock = threading.RLock()
        self._sse = encryption()

    def _put(self, key: str, content: bytes, token: str) -> None:
        self._client.put_object(
            **self._at(key), Body=content, IfNoneMatch="*", Metadata={WRITER: token}, **self._sse
        )

    def _put_in_parts(self, key: str, content: bytes, token: str) -> None:
        upload = self._client.create_multipart_upload(**self._at(key), Metadata={WRITER: token}, **self._sse)[
            "UploadId"
        ]
        try:
            parts = []
            for number, start in enumerate(range(0, len(content), PART_BYTES), 1):
                body = content[start : start + PART_BYTES]
                part = self._call(
                    f"write part {number} of {key}", partial(self._upload_part, key, upload, number, body)
                )
                parts.append({"PartNumber": number, "ETag": part["ETag"]})
            self._client.complete_multipart_upload(
                **self._at(key), UploadId=upload, MultipartUpload={"Parts": parts}, IfNoneMatch="*"
            )
        except Exception:
            # The bucket's lifecycle rule removes what is left.
            with suppress(boto.ClientError, boto.BotoCoreError):
                self._client.abort_multipart_upload(**self._at(key), UploadId=upload)
            raise

    def _upload_part(self, key: str, upload: str, number: int, body: bytes, _: int) -> Any:
        return self._client.upload_part(**self._at(key), UploadId=upload, PartNumber=number, Body=body)

    def _writer(self, key: str) -> str | None:
        found: str | None = self._client.head_object(**self._at(key))["Metadata"].get(WRITER)
        return found

    def _list(self, place: dict[str, Any], _: int) -> Any:
        return self._client.list_objects_v2(**place)

    def _call(self, doing: str, attempt: Callable[[int], Result]) -> Result:
        try:
            return self._tried_for_long(doing, attempt)
        except boto.ClientError as error:
            raise self._explained(doing, error) from error
        except boto.NoCredentialsError as error:
            raise StoreError(
                f"store {self._url}: no credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY,"
                " or AWS_PROFILE"
            ) from error
        except (
            boto.UnauthorizedSSOTokenError,
            boto.SSOTokenLoadError,
            boto.TokenRetrievalError,
            boto.CredentialRetrievalError,
        ) as error:
            raise StoreError(
                f"store {self._url}: cannot {doing}: no valid credentials ({first_line(error)}); renew them"
            ) from error
        except boto.BotoCoreError as error:
            raise StoreError(
                f"store {self._url}: cannot {doing} within {self.backoff.deadline_s:g} s:"
                f" {first_line(error)}; see AWS_ENDPOINT_URL_S3 and that the server runs; finished models are"
                " kept"
            ) from error

    def _tried_for_long(self, doing: str, attempt: Callable[[int], Result]) -> Result:
        """Make the attempt; repeat it with newer credentials if its own have expired."""
        client = self._client
        try:
            return self.backoff.call(attempt, may_pass)
        except boto.ClientError as bare:
            error = self._with_body(doing, bare)
            if code_of(error) not in EXPIRED or not self._renewed(client):
                raise error from bare
        # An existing object may be ours, from the first attempt.
        return self.backoff.call(lambda number: attempt(number + 1), may_pass)

    def _with_body(self, doing: str, error: boto.ClientError) -> boto.ClientError:
        """The store's explanation. HEAD is answered without a body, so expired credentials look like any bad
        request: ask again by GET."""
        if code_of(error) not in BARE or error.operation_name != "HeadObject":
            return error
        try:
            self._client.get_object(**self._at(doing.rpartition(" ")[2]), Range="bytes=0-0")["Body"].close()
        except boto.ClientError as second:
            return error if code_of(second) in ABSENT else second
        except boto.BotoCoreError:
            return error
        return error

    def _renewed(self, used: Any) -> bool:
        """Whether there are other credentials than those of the client that was used: from a file that was
        rewritten, or a process or role. Credentials with an expiry time were already renewed by boto3."""
        if self._given:
            return False
        with self._lock:
            if self._client is not used:  # another thread was faster
                return True
            fresh = make_client(self._checksums) if self._checksums else make_client()
            if _keys(fresh) == _keys(used):
                return False
            self._client = fresh
            self._renew_bulk()
            return True

    def _renew_bulk(self) -> None:
        """Called after the client was replaced."""

    def _explained(self, doing: str, error: boto.ClientError) -> StoreError:
        code = code_of(error)
        if code in ABSENT and not doing.startswith(("list", "write")):
            return MissingArtifactError(f"store {self._url} has no {doing.rpartition(' ')[2]}")
        return StoreError(f"store {self._url}: cannot {doing}: {code}; {remedy(error)}")

    def _name(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._name(key)}


def _keys(client: Any) -> tuple[str, str | None] | None:
    """A client's credentials: id and session token."""
    found = client._get_credentials()
    if found is None:
        return None
    keys = found.get_frozen_credentials()
    return keys.access_key, keys.token
