"""One deadline for a whole exchange with a suspect, which Ctrl-C and a cancel also end."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from zooaudit.errors import StoppedError

SLICE_S = 0.2
"""Longest wait before checking whether the audit was stopped."""
Halted = Callable[[], bool]
_halted: ContextVar[Halted] = ContextVar("halted", default=lambda: False)
_deadline: ContextVar[tuple[float, float]] = ContextVar("deadline", default=(float("inf"), float("inf")))
"""The deadline, and how many seconds it allowed."""


@contextmanager
def heeding(halted: Halted) -> Iterator[None]:
    """Make exchanges of this thread end with ``StoppedError`` once ``halted`` returns true."""
    token = _halted.set(halted)
    try:
        yield
    finally:
        _halted.reset(token)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Make exchanges of this thread end after this many seconds."""
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
    """The clock of one operation: its own time-out, and the deadline of its exchange.

    Args:
        late: the exception to raise when time is up.
    """

    def __init__(self, timeout: float | None, late: type[Exception]) -> None:
        own = (float("inf") if timeout is None else time.monotonic() + timeout, timeout or 0.0)
        self._end, self._seconds = min(_deadline.get(), own)
        self._late = late

    def part(self, places: int) -> "Clock":
        """The clock for one of ``places`` that are tried in turn: its share of the remaining time."""
        share = Clock(
            max(0.0, self._end - time.monotonic()) / places if self._end != float("inf") else None, self._late
        )
        share._seconds = self._seconds
        return share

    def slice_s(self) -> float:
        """How long to wait now.

        Raises:
            StoppedError: the audit was stopped.
        """
        refuse_if_halted()
        left = self._end - time.monotonic()
        if left <= 0:
            raise self._late(f"not all of the answer within {self._seconds:g} s")
        return min(left, SLICE_S)


def looked_up(host: str, port: int, clock: Clock) -> list[Any]:
    """The addresses of a name, as from ``getaddrinfo``, but with a time-out, which the system's look-up
    lacks.

    Raises:
        OSError: the name is unknown. StoppedError, or the clock's exception: it took too long.
    """
    with suppress(OSError, UnicodeError):  # a name; an address needs no look-up
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
        except UnicodeError as error:  # not a valid host name
            trouble = OSError(str(error))
        finally:
            done.set()

    threading.Thread(target=look, daemon=True).start()
    while not done.wait(clock.slice_s()):
        pass
    if not found:
        raise trouble
    return found
