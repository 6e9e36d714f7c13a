"""Numbers in words that a reader can take in: filters of the report's template."""

import math
from collections.abc import Callable
from typing import Any

from zooaudit.local_paths import shared_command, shared_text, without_folders

DASH = "\N{EN DASH}"


def percent(value: float | None, digits: int = 1) -> str:
    """0.964 as ``96.4 %``."""
    return (
        DASH if value is None or not math.isfinite(value) else f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%"
    )


def number(value: float | None, digits: int = 3) -> str:
    """A number with ``digits`` decimals, or a dash."""
    return DASH if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def p_value(value: float) -> str:
    """Two significant digits; a p below what a float holds is not called zero."""
    if not math.isfinite(value):
        return DASH
    return f"{value:.2g}" if value > 0 else "< 1e-300"


def duration(seconds: float) -> str:
    """``4.2 s``, ``3 min 5 s`` or ``2 h 10 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def memory(size: int) -> str:
    """Bytes as MiB or GiB."""
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def setting(value: Any) -> str:
    """A recipe's value: pairs as ``A: 6``, sequences with commas, nothing as a dash."""
    if value is None or value == ():
        return DASH
    if isinstance(value, tuple):
        return ", ".join(
            ": ".join(map(str, v)) if isinstance(v, tuple) else shared_text(str(v)) for v in value
        )
    return f"{value:g}" if isinstance(value, float) else shared_text(str(value))


def models(count: int) -> str:
    """``1 model``, ``2 models``."""
    return f"{count} model" if count == 1 else f"{count} models"


FILTERS: dict[str, Callable[..., str]] = {
    f.__name__: f
    for f in (
        percent,
        number,
        p_value,
        duration,
        memory,
        setting,
        models,
        without_folders,
        shared_command,
        shared_text,
    )
}
