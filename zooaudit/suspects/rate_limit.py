"""How fast a suspect is asked: so many images a second, and not before it said that it
wants to be asked again."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from zooaudit.backoff import doubled_s

SLICE_S = 0.5
"""Longest sleep before it is looked whether there is anything to wait for."""


@dataclass
class RateLimit:
    """Shared by all threads that ask one suspect.

    Attributes:
        rate: images a second at most; 0 is no limit.
        first_s, longest_s: waits after failures in a row: up to ``first_s`` times two to
            the power of their number.
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
        """Wait until so many images may be asked; false if it was ``halted`` meanwhile."""
        with self._lock:
            start = max(self.clock(), self._next)
            self._next = start + (images / self.rate if self.rate else 0.0)
        # Others may hear meanwhile that all have to wait.
        while (wait := max(start, self._not_before) - self.clock()) > 0:
            if halted():
                return False
            self.sleep(min(wait, SLICE_S))
        return not halted()

    def back_off(self, failures: int, asked_s: float = 0.0) -> float:
        """Let everybody wait: at least what the suspect asked for, and longer the more often it failed in a
        row. Returns for how long."""
        wait = max(asked_s, self.dice() * doubled_s(failures, self.first_s, self.longest_s))
        with self._lock:
            now = self.clock()
            self._not_before = max(self._not_before, now + wait)
            return self._not_before - now
