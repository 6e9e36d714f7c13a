"""A log for machines and for quick reading: one line for each event, ``key=value``, with the time. Imports
nothing heavy."""

import json
import re
from datetime import UTC, datetime

PLAIN = re.compile(r"[^\s\"'=]+")


def event_line(event: str, **facts: object) -> str:
    """For example ``2026-11-22T21:45:41Z event=models done=12 total=45 per_minute=5.1 left_s=390``.

    Facts that are None are left out; a value with spaces, quotes or line ends becomes a JSON string, so that
    each event stays on one line.
    """
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    stated = {"event": event} | {k: v for k, v in facts.items() if v is not None}
    return " ".join([now, *(f"{key}={_value(value)}" for key, value in stated.items())])


def _value(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
