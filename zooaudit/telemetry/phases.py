"""The phases of an audit after its models are trained, reported to a callback."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Count = Callable[[int, int], None]
"""Called with the number done, and the number in all."""


def ignore_count(_done: int, _total: int) -> None:
    """The default: ignore the count."""


@dataclass(frozen=True)
class Phase:
    """One phase, and its progress.

    Attributes:
        number, of: the phase's place among how many.
        done, total: of what the phase counts; 0 if it counts nothing.
        left_s: seconds until its end, at the pace so far; None if unknown.
    """

    name: str
    number: int
    of: int
    done: int = 0
    total: int = 0
    left_s: float | None = None


def ignore_phase(_: Phase) -> None:
    """The default: ignore the phase."""


class Phases:
    """Report phases, one after the other.

    Args:
        names: of all phases, in order.
    """

    def __init__(self, names: Sequence[str], notify: Callable[[Phase], None]) -> None:
        self._names, self._notify = list(names), notify

    def begin(self, name: str) -> Count:
        """Report that a phase begins; returns a function that counts its progress."""
        number, of = 1 + self._names.index(name), len(self._names)
        first: list[tuple[int, float]] = []
        self._notify(Phase(name, number, of))

        def count(done: int, total: int) -> None:
            now = time.perf_counter()
            first[:] = first or [(done, now)]  # what was done before took no time
            before, begun = first[0]
            left = (now - begun) * (total - done) / (done - before) if done > before else None
            self._notify(Phase(name, number, of, done, total, left))

        return count


class Tally:
    """Count consecutive parts as one whole."""

    def __init__(self, count: Count, total: int) -> None:
        self._count, self._total, self._begun = count, total, 0

    def part(self, size: int) -> Count:
        """The counter of the next part. The part may have less left to do than its size."""
        start = self._begun
        self._begun += size
        return lambda done, total: self._count(start + size - total + done, self._total)
