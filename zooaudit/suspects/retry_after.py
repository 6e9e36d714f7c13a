"""How long a suspect wants to be left alone, in whatever form servers state it."""

import datetime
import email.utils
import json
import math
import re
import time
from collections.abc import Mapping
from typing import Any

MILLISECONDS = ("retry-after-ms", "x-ms-retry-after-ms", "grpc-retry-pushback-ms")
RESETS = re.compile(r"^(?:x-)?(?:[a-z]+-)?ratelimit(?:-[a-z]+)?-reset(?:-[a-z]+)?$")
"""Names like ``x-ratelimit-reset``, ``ratelimit-reset``, ``x-ratelimit-reset-requests`` and
``anthropic-ratelimit-requests-reset``."""
SPAN = re.compile(r"^(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?$")
LOOKED_AT = 4096
"""How many characters of a suspect's message are searched."""
UNITS = (86_400.0, 3_600.0, 60.0, 1.0, 0.001)
EPOCH_S, EPOCH_MS = 1e9, 1e12
"""A larger number is a time since 1970 rather than a span: nobody waits for thirty years."""
LOADING = re.compile(
    r"\b(?:is|are|still|currently|being|not yet)\b.{0,20}\b(?:loading|loaded|starting|initiali[sz]ing|warming"
    r" up|downloading)\b"
    r"|not (?:yet )?(?:ready|loaded)|ModelNotReady|loading (?:the )?model|model loading|scaling up|cold"
    r" start",
    re.IGNORECASE,
)
IN_BODY = {
    "estimated_time": 1.0,
    "retry_after": 1.0,
    "retryAfter": 1.0,
    "retry_after_ms": 0.001,
    "retryDelay": 1.0,
}
"""Keys of a JSON body that state it, and their unit in seconds."""


def seconds_of(text: str, now: float) -> float:
    """Seconds from ``now`` (since 1970), given as a number (of seconds, or a time since 1970), as a span
    (6m0s, 20ms), or as a date.

    0 if it is past, or cannot be read.
    """
    text = text.strip()[:64]
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if math.isfinite(number):
        return max(
            0.0, number / 1000 - now if number > EPOCH_MS else number - now if number > EPOCH_S else number
        )
    if text and (span := SPAN.match(text)):
        return sum(float(part) * unit for part, unit in zip(span.groups(), UNITS, strict=True) if part)
    for read in (email.utils.parsedate_to_datetime, datetime.datetime.fromisoformat):
        try:
            date = read(text)
            return max(0.0, (date if date.tzinfo else date.replace(tzinfo=datetime.UTC)).timestamp() - now)
        except (TypeError, ValueError, OverflowError):
            continue
    return 0.0


def wait_of(status: int, headers: Mapping[str, str], text: str) -> float:
    """Seconds that a suspect asks to be left alone; 0 if it does not say.

    Args:
        status: the ends of rate limits count only for 429; other answers carry them too.
        headers: names in lower case.
        text: the body.
    """
    now = seconds_now(headers)
    for name in MILLISECONDS:
        if wait := seconds_of(headers.get(name, ""), now) / 1000:
            return wait
    if wait := seconds_of(headers.get("retry-after", ""), now):
        return wait
    if wait := _in_body(text, now):
        return wait
    return _reset(headers, now) if status == 429 else 0.0


def seconds_now(headers: Mapping[str, str]) -> float:
    """Seconds since 1970, by the suspect's own clock if its headers have a date."""
    try:
        return email.utils.parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError):
        return time.time()


def is_loading(status: int, text: str) -> bool:
    """Whether a suspect says that its model is loading."""
    result = object_of(text)
    return status in (0, 429, 503) and (
        isinstance(result.get("estimated_time"), int | float) or bool(LOADING.search(text[:LOOKED_AT]))
    )


def _reset(headers: Mapping[str, str], now: float) -> float:
    """The last end of the exhausted limits, or of all if none says how much of it is left."""
    ends = {name: seconds_of(value, now) for name, value in headers.items() if RESETS.match(name)}
    used = [
        wait
        for name, wait in ends.items()
        if headers.get(name.replace("reset", "remaining"), "").strip() == "0"
    ]
    return max(used or ends.values(), default=0.0)


def _in_body(text: str, now: float) -> float:
    result = object_of(text)
    inner = result.get("error")
    details = inner.get("details") if isinstance(inner, dict) else None
    places = [result, inner, *(details if isinstance(details, list) else ())]
    for place in places:
        for key, unit in IN_BODY.items() if isinstance(place, dict) else ():
            if isinstance(place.get(key), int | float | str) and (wait := seconds_of(str(place[key]), now)):
                return wait * unit
    return 0.0


def object_of(text: str) -> dict[str, Any]:
    """The JSON object in a text; empty if the text is not one."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
