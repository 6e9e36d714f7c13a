"""When training last made progress, as it reports itself: a worker's watcher can distinguish a slow model
from one that hangs."""

import time

_last = time.monotonic()


def beat() -> None:
    """Report a finished batch, or a crafted image; costs nothing."""
    global _last
    _last = time.monotonic()


def silent_s() -> float:
    """Seconds since the last report."""
    return time.monotonic() - _last
