"""When training last got on, told from inside: whoever watches a worker can tell a long
model from one that hangs."""

import time

_last = time.monotonic()


def beat() -> None:
    """A batch is done, or an image was crafted; costs nothing."""
    global _last
    _last = time.monotonic()


def silent_s() -> float:
    """Seconds since then."""
    return time.monotonic() - _last
