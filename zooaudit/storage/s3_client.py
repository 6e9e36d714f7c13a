"""The boto3 client, and its settings from the environment: credentials, endpoint, checksums, encryption.

Credentials come only from boto3's default chain (environment, shared files, instance role); endpoint, region
and TLS from its environment variables and config file. None of it is ever in an argument, a log or the store.
"""

import os
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.exceptions as boto
from botocore.config import Config

from zooaudit.errors import InputError, StoreError, first_line

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")

ADDRESSING = "ZOOAUDIT_S3_ADDRESSING"
ALLOW_HTTP = "ZOOAUDIT_S3_ALLOW_HTTP"
SSE, SSE_KEY = "ZOOAUDIT_S3_SSE", "ZOOAUDIT_S3_SSE_KMS_KEY_ID"
SSE_WAYS = ("AES256", "aws:kms", "aws:kms:dsse")
CHECKSUMS = "AWS_REQUEST_CHECKSUM_CALCULATION"
READ_CHECKSUMS = "AWS_RESPONSE_CHECKSUM_VALIDATION"


def encryption() -> dict[str, str]:
    """The encryption settings of every write; empty for the bucket's own default.

    Raises:
        InputError: S3 has no such encryption, or a key without an encryption that takes one.
    """
    way, key = os.environ.get(SSE, ""), os.environ.get(SSE_KEY, "")
    if way and way not in SSE_WAYS:
        raise InputError(
            f"{SSE} is {way!r}; expected {', '.join(SSE_WAYS)}, or nothing for the bucket's own default"
        )
    if key and not way.startswith("aws:kms"):
        raise InputError(
            f"{SSE_KEY} is set, but {SSE} is {way!r}; expected aws:kms or aws:kms:dsse with a key"
        )
    asked = {"ServerSideEncryption": way} if way else {}
    return asked | ({"SSEKMSKeyId": key} if key else {})


def checksums_chosen() -> bool:
    """Whether the user has decided if writes carry checksums; then nothing else is tried."""
    scoped = boto3.Session()._session.get_scoped_config()
    return bool(os.environ.get(CHECKSUMS) or scoped.get("request_checksum_calculation"))


def make_client(checksums: str | None = None) -> Any:
    """A boto3 client from the environment; its own retries are off, since ours have the deadline.

    Args:
        checksums: ``when_required`` for writes without checksums unless S3 itself requires them; None for the
            environment's setting.

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
        **({"request_checksum_calculation": checksums} if checksums else {}),
    )
    try:
        session = boto3.Session()
        # boto3 knows only AWS_DEFAULT_REGION
        region = os.environ.get("AWS_REGION") or session.region_name or "us-east-1"
        client = session.client("s3", config=config, region_name=region)
    except (boto.BotoCoreError, ValueError) as error:
        raise StoreError(f"S3 settings cannot be used: {first_line(error)}") from error
    endpoint = urlsplit(client.meta.endpoint_url)
    if (
        endpoint.scheme == "http"
        and endpoint.hostname not in LOCAL_HOSTS
        and os.environ.get(ALLOW_HTTP) != "1"
    ):
        raise InputError(
            f"{client.meta.endpoint_url} is plain HTTP on another host: models and signed requests could be"
            f" read on the way; use https, or set {ALLOW_HTTP}=1 on a network that you trust"
        )
    return client
