"""Retry what may succeed the next time: exponential backoff with full jitter, under one deadline.

Pure except for the clock, the sleep and the random numbers, which tests replace.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from zooaudit.backoff import doubled_s
from zooaudit.telemetry.metrics import STORE_RETRIES, record

Result = TypeVar("Result")


@dataclass
class Backoff:
    """Waits between 0 and ``first_s * 2**n`` seconds after failure number n, at most
    ``longest_s``, and gives up at the deadline.

    Attributes:
        deadline_s: seconds after which the last error is raised; no wait goes beyond it.
        retries: how often anything was retried so far.
    """

    deadline_s: float
    first_s: float = 0.1
    longest_s: float = 8.0
    retries: int = 0
    # Not the wall clock, which may jump.
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    dice: Callable[[], float] = field(default=random.random, repr=False)

    def call(self, attempt: Callable[[int], Result], again: Callable[[Exception], bool]) -> Result:
        """``attempt(n)`` for n = 0, 1, ... until it returns; an error for which ``again`` is false is raised
        immediately."""
        end = self.clock() + self.deadline_s
        number = 0
        while True:
            try:
                return attempt(number)
            except Exception as error:
                wait = self.dice() * doubled_s(number, self.first_s, self.longest_s)
                if not again(error) or self.clock() + wait > end:
                    raise
            self.retries += 1
            record(STORE_RETRIES)
            number += 1
            self.sleep(wait)
