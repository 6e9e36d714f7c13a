"""What a status that is not a success means: whether the question was answered and paid for, and whether
asking again may help. Pure."""

import json
from collections.abc import Mapping

from zooaudit.suspects.batches import most_of
from zooaudit.suspects.ledger import LOST, REFUSED
from zooaudit.suspects.retry_after import is_loading, object_of, wait_of
from zooaudit.suspects.transport import Refusal

BUSY = (425, 429, 503, 521, 523, 525, 526)
"""The suspect says that it did not answer, or a gateway that it did not reach it: such a
request is not charged."""
PASSING = (408, 500, 502, 504, 520, 522, 524, 527, 529, 530, 598, 599)
"""May pass, and may have been answered behind a gateway: charged."""
SAID = 200
"""Characters of what a suspect says that are told."""
THROTTLED = (
    "ThrottlingException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "ModelNotReadyException",
)
"""AWS says so with status 400 too."""

CHARSETS = (
    "us-ascii",
    "iso-8859-1",
    "latin-1",
    "iso-8859-15",
    "windows-1252",
    "cp1252",
    "windows-1251",
    "koi8-r",
    "shift_jis",
    "euc-jp",
    "euc-kr",
    "gbk",
    "gb18030",
    "big5",
)
"""Taken at their word; of all others JSON's own rule is better than the header."""


def refusal_of(status: int, headers: Mapping[str, str], text: str, count: int) -> Refusal | None:
    """What a status other than 2xx means; None if the suspect will never answer this.

    Args:
        headers: names in lower case.
        text: what it said.
        count: images that were asked.
    """
    reason, status = f"answers {status}", _inner(status, text)
    if most := most_of(status, text, count):
        return Refusal(f"{reason}: {text[:SAID]}", REFUSED, most=most)
    if status == 400 and any(t in headers.get("x-amzn-errortype", "") + text for t in THROTTLED):
        return Refusal(reason, REFUSED, wait_of(429, headers, text))
    if status not in BUSY and status not in PASSING:
        return None
    outcome, said = REFUSED if status in BUSY else LOST, "" if "<html" in text.lower() else text[:SAID]
    return Refusal(
        reason, outcome, wait_of(status, headers, text), said=said, loading=is_loading(status, text)
    )


def _inner(status: int, text: str) -> int:
    """The model's own status, where SageMaker wraps it in a 424."""
    inner = object_of(text).get("OriginalStatusCode") if status == 424 else None
    return (
        inner
        if isinstance(inner, int) and 100 <= inner <= 599
        else 500
        if status == 424 and inner is None
        else status
    )


def charset_of(kind: str) -> str:
    """The charset of a media type; "" if it does not say."""
    return next(
        (
            p.partition("=")[2].strip("\" '").lower()
            for p in kind.split(";")[1:]
            if p.strip().lower().startswith("charset=")
        ),
        "",
    )


def text_of(body: bytes, kind: str) -> str:
    """A body as text: by its media type's charset, or as JSON is (UTF-8, 16 or 32, with or
    without a mark)."""
    charset = charset_of(kind)
    if charset in CHARSETS:
        return body.decode(charset, errors="replace")
    return body.decode(json.detect_encoding(body), errors="replace")
