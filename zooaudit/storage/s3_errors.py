"""S3's errors, in words that say how to fix them."""

import botocore.exceptions as boto

from zooaudit.errors import first_line
from zooaudit.storage.s3_client import CHECKSUMS, SSE, SSE_KEY

BUSY = {429, 500, 502, 503, 504}
BUSY_CODES = {
    "SlowDown",
    "InternalError",
    "ServiceUnavailable",
    "RequestTimeout",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
}
ABSENT = {"404", "NoSuchKey", "NotFound"}
RESETS = (
    boto.ConnectionError,
    boto.HTTPClientError,
    boto.ReadTimeoutError,
    boto.IncompleteReadError,
    boto.ResponseStreamingError,
)

REMEDIES = {
    "NoSuchBucket": "there is no such bucket; make it, or correct the URL",
    "InvalidAccessKeyId": "the access key is not known there; see AWS_ACCESS_KEY_ID or the profile",
    "SignatureDoesNotMatch": "the secret key is wrong; see AWS_SECRET_ACCESS_KEY or the profile",
    "AccessDenied": (
        "these credentials may not do that; allow s3:GetObject, PutObject, DeleteObject and ListBucket on the"
        " prefix"
    ),
    "RequestTimeTooSkewed": "this machine's clock is wrong by many minutes; set it",
    "Expired": (
        "these credentials have expired, and their source has no newer ones; renew them (aws"
        " sso login, or a new AWS_SESSION_TOKEN), and run again: finished models are kept"
    ),
    "NotImplemented": (
        "the store does not support the request; it has to honour If-None-Match: * on writes, so that"
        " no job overwrites another's models: use a store that does"
    ),
    "KMS.NotFoundException": f"there is no such key; see {SSE_KEY}",
    "KMS.DisabledException": f"the key is disabled; enable it, or see {SSE_KEY}",
    "KMS": (
        "these credentials may not use the key; allow kms:GenerateDataKey and kms:Decrypt on it, or see"
        f" {SSE} and {SSE_KEY}"
    ),
    "Bare": (
        "the store does not say why; expired credentials, a wrong region (AWS_REGION) or signature look"
        " like this"
    ),
}
EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken"}
BARE = {"400", "403", "Bad Request", "Forbidden"}
"""Codes of a response without a body, as for HEAD: boto3 derives them from the status."""
NO_CHECKSUMS = {
    "NotImplemented",
    "InvalidArgument",
    "InvalidRequest",
    "MissingContentLength",
    "XAmzContentSHA256Mismatch",
    "InvalidDigest",
    "BadDigest",
    "AuthorizationHeaderMalformed",
    "SignatureDoesNotMatch",
    "UnsupportedHeader",
    "MalformedTrailerError",
    "411",
    "501",
    "400",
}
"""What stores answer that do not support checksums in headers and trailers of a write; some of these also
have other causes."""


def may_pass(error: Exception) -> bool:
    """Whether another attempt may succeed: busy servers, lost connections, a write that collided with another
    one (409)."""
    if isinstance(error, boto.ClientError):
        return status(error) in BUSY | {409} or error.response.get("Error", {}).get("Code") in BUSY_CODES
    return isinstance(error, RESETS)


def status(error: boto.ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def code_of(error: boto.ClientError) -> str:
    """S3's own error code, or the status if there is no body."""
    return str(error.response.get("Error", {}).get("Code", ""))


def remedy(error: boto.ClientError) -> str:
    """How to fix it; or the error's first line if nothing else is known."""
    code, text = code_of(error), first_line(error)
    if code in EXPIRED:
        return REMEDIES["Expired"]
    if code in ("AccessDenied", "403", "Forbidden") and "kms" in text.lower():
        return REMEDIES["KMS"]
    if any(word in text.lower() for word in ("checksum", "content-md5", "trailer")):
        return (
            f"{text}; see {CHECKSUMS}: when_required for a store that does not support checksums,"
            " when_supported for one that requires them"
        )
    if code in BARE and code not in ("403", "Forbidden"):
        return REMEDIES["Bare"]
    return REMEDIES.get("AccessDenied" if code in ("403", "Forbidden") else code, text)
