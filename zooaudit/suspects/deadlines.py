"""One deadline about a whole exchange with a suspect, heeded by Ctrl-C and a cancel too."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from zooaudit.errors import StoppedError

SLICE_S = 0.2
"""Longest wait before it is looked whether the audit was stopped."""
Halted = Callable[[], bool]
_halted: ContextVar[Halted] = ContextVar("halted", default=lambda: False)
_deadline: ContextVar[tuple[float, float]] = ContextVar("deadline", default=(float("inf"), float("inf")))
"""When it is, and how many seconds there were."""


@contextmanager
def heeding(halted: Halted) -> Iterator[None]:
    """Exchanges of this thread end with ``StoppedError`` once ``halted`` gives true."""
    token = _halted.set(halted)
    try:
        yield
    finally:
        _halted.reset(token)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Exchanges of this thread end after so many seconds."""
    token = _deadline.set((time.monotonic() + seconds, seconds))
    try:
        yield
    finally:
        _deadline.reset(token)


def refuse_if_halted() -> None:
    """Raises:
    StoppedError: the audit was stopped.
    """
    if _halted.get()():
        raise StoppedError("the audit was stopped; answers so far are kept")


class Clock:
    """Of one operation: its own time-out, and the deadline of the exchange that it is part of.

    Args:
        late: what is raised when time is up.
    """

    def __init__(self, timeout: float | None, late: type[Exception]) -> None:
        own = (float("inf") if timeout is None else time.monotonic() + timeout, timeout or 0.0)
        self._end, self._seconds = min(_deadline.get(), own)
        self._late = late

    def part(self, places: int) -> "Clock":
        """Of one of so many that are tried one after the other: its share of the time that is left."""
        share = Clock(
            max(0.0, self._end - time.monotonic()) / places if self._end != float("inf") else None, self._late
        )
        share._seconds = self._seconds
        return share

    def slice_s(self) -> float:
        """How long may be waited now.

        Raises:
            StoppedError: the audit was stopped.
        """
        refuse_if_halted()
        left = self._end - time.monotonic()
        if left <= 0:
            raise self._late(f"not all of the answer within {self._seconds:g} s")
        return min(left, SLICE_S)


def looked_up(host: str, port: int, clock: Clock) -> list[Any]:
    """Addresses of a name, as ``getaddrinfo`` gives them; the system's own look-up knows no time-out.

    Raises:
        OSError: the name is not known.
        StoppedError, or what the clock raises: it took too long.
    """
    with suppress(OSError, UnicodeError):  # it is a name, then; an address needs no look-up
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    found: list[Any] = []
    trouble = OSError(f"{host} cannot be looked up")
    done = threading.Event()

    def look() -> None:
        nonlocal trouble
        try:
            found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            trouble = error
        except UnicodeError as error:  # no name that a host can have
            trouble = OSError(str(error))
        finally:
            done.set()

    threading.Thread(target=look, daemon=True).start()
    while not done.wait(clock.slice_s()):
        pass
    if not found:
        raise trouble
    return found
