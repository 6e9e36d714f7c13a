"""Numbers from the environment."""

import os

from zooaudit.errors import InputError


def env_number(name: str, default: float, expected: str, zero: bool = False) -> float:
    """A positive number (or 0, if allowed) from the environment; ``expected`` says what it means.

    Raises:
        InputError: it is not one.
    """
    raw = os.environ.get(name)
    try:
        found = float(raw) if raw else default
    except ValueError:
        found = -1.0
    if not 0 <= found < float("inf") or (found == 0 and not zero):
        raise InputError(f"{name} is {raw!r}; expected {expected}")
    return found
