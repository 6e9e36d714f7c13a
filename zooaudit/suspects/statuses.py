"""The meaning of a status that is not a success: whether the question was answered and charged, and whether a
retry may help. Pure."""

import json
from collections.abc import Mapping

from zooaudit.suspects.batches import most_of
from zooaudit.suspects.ledger import LOST, REFUSED
from zooaudit.suspects.retry_after import is_loading, object_of, wait_of
from zooaudit.suspects.transport import Refusal

BUSY = (425, 429, 503, 521, 523, 525, 526)
"""The suspect did not answer, or a gateway did not reach it: such a request is not charged."""
PASSING = (408, 500, 502, 504, 520, 522, 524, 527, 529, 530, 598, 599)
"""Temporary, and possibly answered behind a gateway: charged."""
SHOWN = 200
"""How many characters of a suspect's message are shown."""
THROTTLED = (
    "ThrottlingException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "ModelNotReadyException",
)
"""AWS sends these with status 400 too."""

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
"""Charsets that a header may name; for all others JSON's own rule is better than the header."""


def refusal_of(status: int, headers: Mapping[str, str], text: str, count: int) -> Refusal | None:
    """The meaning of a status other than 2xx; None if the suspect will never answer this.

    Args:
        headers: names in lower case.
        text: the suspect's message.
        count: how many images were asked.
    """
    reason, status = f"answers {status}", _inner(status, text)
    if most := most_of(status, text, count):
        return Refusal(f"{reason}: {text[:SHOWN]}", REFUSED, most=most)
    if status == 400 and any(t in headers.get("x-amzn-errortype", "") + text for t in THROTTLED):
        return Refusal(reason, REFUSED, wait_of(429, headers, text))
    if status not in BUSY and status not in PASSING:
        return None
    outcome, message = REFUSED if status in BUSY else LOST, "" if "<html" in text.lower() else text[:SHOWN]
    return Refusal(
        reason, outcome, wait_of(status, headers, text), message=message, loading=is_loading(status, text)
    )


def _inner(status: int, text: str) -> int:
    """The model's own status, which SageMaker wraps in a 424."""
    inner = object_of(text).get("OriginalStatusCode") if status == 424 else None
    return (
        inner
        if isinstance(inner, int) and 100 <= inner <= 599
        else 500
        if status == 424 and inner is None
        else status
    )


def charset_of(kind: str) -> str:
    """The charset in a media type; "" if there is none."""
    return next(
        (
            p.partition("=")[2].strip("\" '").lower()
            for p in kind.split(";")[1:]
            if p.strip().lower().startswith("charset=")
        ),
        "",
    )


def text_of(body: bytes, kind: str) -> str:
    """A body as text: by its media type's charset, or as JSON is decoded (UTF-8, 16 or 32, with or without a
    byte-order mark)."""
    charset = charset_of(kind)
    if charset in CHARSETS:
        return body.decode(charset, errors="replace")
    return body.decode(json.detect_encoding(body), errors="replace")
