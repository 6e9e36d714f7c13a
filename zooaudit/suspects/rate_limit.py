"""Limit how fast a suspect is asked: images a second, and no earlier than it asked to be retried."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from zooaudit.backoff import doubled_s

SLICE_S = 0.5
"""Longest sleep before checking whether to stop."""


@dataclass
class RateLimit:
    """Shared by all threads that ask one suspect.

    Attributes:
        rate: images a second at most; 0 is no limit.
        first_s, longest_s: the wait after n failures in a row is up to ``first_s`` times two to the power of
            n, and at most ``longest_s``.
    """

    rate: float = 0.0
    first_s: float = 0.2
    longest_s: float = 30.0
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    dice: Callable[[], float] = field(default=random.random, repr=False)
    _next: float = field(default=0.0, init=False)
    _not_before: float = field(default=0.0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def take(self, images: int, halted: Callable[[], bool] = lambda: False) -> bool:
        """Wait until this many images may be asked; false if it was ``halted`` meanwhile."""
        with self._lock:
            start = max(self.clock(), self._next)
            self._next = start + (images / self.rate if self.rate else 0.0)
        # Meanwhile another thread may make all of them wait.
        while (wait := max(start, self._not_before) - self.clock()) > 0:
            if halted():
                return False
            self.sleep(min(wait, SLICE_S))
        return not halted()

    def back_off(self, failures: int, asked_s: float = 0.0) -> float:
        """Make all threads wait: at least as long as the suspect asked for, and longer after more failures in
        a row. Returns how long."""
        wait = max(asked_s, self.dice() * doubled_s(failures, self.first_s, self.longest_s))
        with self._lock:
            now = self.clock()
            self._not_before = max(self._not_before, now + wait)
            return self._not_before - now
