"""That a suspect does not answer just now: what is the matter, when it is tried again, when it is given up.
Said while it lasts, not only at its end."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

QUIET_S = 2.0
"""A first failure is not worth a word unless the wait after it is this long; nor are more
lines than one in so many seconds."""
SILENT_S = 5.0
"""A request that is out for so long is worth one."""
LOOK_S = 0.5


@dataclass(frozen=True)
class Trouble:
    """Attributes:
    reason: after the suspect's name, as in "answers 503".
    times: how often in a row, of one request; 0 of one that is still out.
    next_try: when it is tried again, seconds since 1970; None of one that is still out.
    gives_up: when it is given up at the latest.
    tries: after so many it is given up before; 0 for no such limit.
    """

    reason: str
    times: int
    next_try: float | None
    gives_up: float
    tries: int = 0

    def sentence(self) -> str:
        """In words, after the suspect's name."""
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
"""Is told of trouble while it lasts, and None when an answer came."""


def untroubled(trouble: Trouble | None) -> None:
    """Tell nobody."""


class Telling:
    """Of one suspect, for the threads that ask it.

    Args:
        say: a line for people, not one each time.
        troubled: every trouble that is worth a word, and its end.
        timeout_s: of one request.
    """

    def __init__(self, shown: str, say: Callable[[str], None], troubled: Troubled, timeout_s: float) -> None:
        self._shown, self._say, self._troubled, self._timeout_s = shown, say, troubled, timeout_s
        self._lock, self._said_at, self._lasts = threading.Lock(), float("-inf"), False
        self._out: dict[int, float] = {}
        self._told_of: set[int] = set()

    def failed(self, trouble: Trouble, said: bool) -> None:
        """A try failed; ``said`` if people were told already."""
        long = trouble.next_try is not None and trouble.next_try - time.time() >= QUIET_S
        if trouble.times > 1 or long:
            self._tell(trouble, said)

    @contextmanager
    def out(self, number: int) -> Iterator[None]:
        """While a request is out."""
        self._out[number] = time.time()
        try:
            yield
        finally:
            self._out.pop(number, None)
            self._told_of.discard(number)

    def answered(self) -> None:
        """An answer came."""
        with self._lock:
            lasted, self._lasts = self._lasts, False
            if lasted:
                self._troubled(None)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Say of requests that are out for long that they are, meanwhile."""
        done = threading.Event()

        def watch() -> None:
            while not done.wait(LOOK_S):
                for number, since in list(self._out.items()):
                    if time.time() - since > SILENT_S and number not in self._told_of:
                        self._told_of.add(number)
                        self._tell(
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

    def _tell(self, trouble: Trouble, said: bool) -> None:
        with self._lock:
            self._lasts = True
            self._troubled(trouble)
            if not said and time.monotonic() - self._said_at >= QUIET_S:
                self._said_at = time.monotonic()
                self._say(f"{self._shown} {trouble.sentence()}")
