"""Reads from S3 by pyarrow's filesystem: it takes a third of boto3's processor time, and releases Python's
lock.

It uses the boto3 client's endpoint and credentials. It tries once; every failure is left to boto3, which
knows how long to retry and how to explain the error.
"""

import logging
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import botocore.session
import pyarrow as pa
from botocore.exceptions import BotoCoreError
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies
from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

from zooaudit.errors import first_line

CONNECT_S = 5.0
STALLED_S = 10.0
REST_S = 60.0
"""How long to rest after a failure, so that a server that is down, or a network that only boto3 can cross, is
not tried twice for everything."""

log = logging.getLogger(__name__)


class BulkReader:
    """Reads objects of one bucket; returns None if boto3 should read, and explain, instead.

    Args:
        client: the boto3 client that has the same bucket open.
        bucket: its name.
    """

    def __init__(self, client: Any, bucket: str) -> None:
        self._client, self._bucket = client, bucket
        self._lock = threading.Lock()
        self._keys: Any = None
        self._filesystem: S3FileSystem | None = None
        self._rests_until = 0.0
        session = botocore.session.get_session()
        self._credentials = session.get_credentials()
        self._certificates = session.get_config_variable("ca_bundle") or get_cert_path(True)

    def read(self, name: str, most: int | None = None) -> bytes | None:
        """The whole object, or None: it does not exist, is larger than ``most`` bytes, or could not be read
        this way at present."""
        if time.monotonic() < self._rests_until:
            return None
        try:
            with self._connected().open_input_file(f"{self._bucket}/{name}") as file:
                if most is not None and file.size() > most:
                    return None  # boto3 reports it
                content = bytes(file.read())
                # Cut off: boto3 reports it, and retries.
                return content if len(content) == file.size() else None
        except FileNotFoundError:
            return None
        except (OSError, pa.ArrowException, BotoCoreError) as error:
            self._rest(error)
            return None

    def _rest(self, error: Exception) -> None:
        with self._lock:
            now = time.monotonic()
            if now >= self._rests_until:
                log.warning(
                    "S3: a bulk read failed (%s); reading one by one for %d s", first_line(error), REST_S
                )
            self._rests_until = now + REST_S

    def _connected(self) -> S3FileSystem:
        """The filesystem, made again when the credentials were renewed."""
        with self._lock:
            keys = self._credentials.get_frozen_credentials()
            if self._filesystem is None or keys != self._keys:
                self._filesystem = S3FileSystem(
                    access_key=keys.access_key,
                    secret_key=keys.secret_key,
                    session_token=keys.token,
                    region=self._client.meta.region_name,
                    tls_ca_file_path=self._certificates,
                    connect_timeout=CONNECT_S,
                    request_timeout=STALLED_S,
                    retry_strategy=AwsStandardS3RetryStrategy(max_attempts=1),
                    **place(self._client, self._bucket),
                )
                self._keys = keys
            return self._filesystem


def place(client: Any, bucket: str) -> dict[str, Any]:
    """Where the client finds the bucket, in pyarrow's terms. Whether the host name begins with the bucket's
    is read from a URL that the client makes, since its rules for that are long."""
    endpoint = urlsplit(client.meta.endpoint_url)
    signed = urlsplit(client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"}))
    virtual = signed.netloc.startswith(f"{bucket}.")
    host = f"{bucket}.{endpoint.netloc}" if virtual else endpoint.netloc
    return {
        "scheme": endpoint.scheme,
        "endpoint_override": endpoint.netloc,
        "force_virtual_addressing": virtual,
        "proxy_options": get_environ_proxies(f"{endpoint.scheme}://{host}").get(endpoint.scheme),
    }
