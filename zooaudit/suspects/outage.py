"""Report that a suspect does not answer at the moment: what is wrong, when it is tried again, and when it is
given up; reported while it lasts, not only at the end."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

QUIET_S = 2.0
"""A first failure is not reported unless the wait after it is at least this long; and reports are at least
this many seconds apart."""
SILENT_S = 5.0
"""A request without an answer is reported after this long."""
LOOK_S = 0.5


@dataclass(frozen=True)
class Trouble:
    """Attributes:
    reason: after the suspect's name, as in "answers 503".
    times: failures in a row of one request; 0 for a request in flight.
    next_try: time of the next attempt, seconds since 1970; None for a request in flight.
    gives_up: the latest time at which it is given up.
    tries: it is given up after this many at the latest; 0 for no such limit.
    """

    reason: str
    times: int
    next_try: float | None
    gives_up: float
    tries: int = 0

    def sentence(self) -> str:
        """A sentence, to follow the suspect's name."""
        end = time.strftime("%H:%M:%S", time.localtime(self.gives_up))
        if self.next_try is None:
            return f"{self.reason}; it has until {end}"
        wait = max(0.0, self.next_try - time.time())
        limit = f"after {self.tries} tries, or at {end}" if self.tries else f"at {end}"
        return (
            f"{self.reason}, {self.times} time{'s' if self.times > 1 else ''} so far; next try in {wait:.0f}"
            f" s, gives up {limit}"
        )


Troubled = Callable[[Trouble | None], None]
"""Called with trouble while it lasts, and with None when an answer came."""


def untroubled(trouble: Trouble | None) -> None:
    """The default: report nothing."""


class OutageReports:
    """Reports outages of one suspect, for the threads that ask it.

    Args:
        say: called with lines for people, at intervals.
        troubled: called with every trouble worth reporting, and with None at its end.
        timeout_s: of one request.
    """

    def __init__(self, shown: str, say: Callable[[str], None], troubled: Troubled, timeout_s: float) -> None:
        self._shown, self._say, self._troubled, self._timeout_s = shown, say, troubled, timeout_s
        self._lock, self._said_at, self._lasts = threading.Lock(), float("-inf"), False
        self._out: dict[int, float] = {}
        self._reported: set[int] = set()

    def failed(self, trouble: Trouble, known: bool) -> None:
        """A try failed; ``stated`` if people know it already."""
        long = trouble.next_try is not None and trouble.next_try - time.time() >= QUIET_S
        if trouble.times > 1 or long:
            self._report(trouble, known)

    @contextmanager
    def out(self, number: int) -> Iterator[None]:
        """Wraps a request in flight."""
        self._out[number] = time.time()
        try:
            yield
        finally:
            self._out.pop(number, None)
            self._reported.discard(number)

    def answered(self) -> None:
        """An answer came."""
        with self._lock:
            lasted, self._lasts = self._lasts, False
            if lasted:
                self._troubled(None)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Report requests in flight that take long."""
        done = threading.Event()

        def watch() -> None:
            while not done.wait(LOOK_S):
                for number, since in list(self._out.items()):
                    if time.time() - since > SILENT_S and number not in self._reported:
                        self._reported.add(number)
                        self._report(
                            Trouble(
                                f"has not answered for {SILENT_S:.0f} s", 0, None, since + self._timeout_s
                            ),
                            False,
                        )

        watcher = threading.Thread(target=watch, name="suspect-watch", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

    def _report(self, trouble: Trouble, known: bool) -> None:
        with self._lock:
            self._lasts = True
            self._troubled(trouble)
            if not known and time.monotonic() - self._said_at >= QUIET_S:
                self._said_at = time.monotonic()
                self._say(f"{self._shown} {trouble.sentence()}")
