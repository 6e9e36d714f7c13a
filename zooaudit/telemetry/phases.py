"""What an audit does after its models are trained, phase by phase: told to whoever waits for it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Count = Callable[[int, int], None]
"""Told how many of how many are done."""


def uncounted(_done: int, _total: int) -> None:
    """For who does not want to know."""


@dataclass(frozen=True)
class Phase:
    """One phase, and how far it is.

    Attributes:
        number, of: which it is of how many.
        done, total: of what it counts; 0 where it counts nothing.
        left_s: seconds that the rest takes, at the pace so far; None where that is not known.
    """

    name: str
    number: int
    of: int
    done: int = 0
    total: int = 0
    left_s: float | None = None


def untold(_: Phase) -> None:
    """For who does not want to know."""


class Phases:
    """Tells of phases, one after the other.

    Args:
        names: of all, in their order.
    """

    def __init__(self, names: Sequence[str], tell: Callable[[Phase], None]) -> None:
        self._names, self._tell = list(names), tell

    def begin(self, name: str) -> Count:
        """Tell that a phase begins; what it counts goes to what is returned."""
        number, of = 1 + self._names.index(name), len(self._names)
        first: list[tuple[int, float]] = []
        self._tell(Phase(name, number, of))

        def count(done: int, total: int) -> None:
            now = time.perf_counter()
            first[:] = first or [(done, now)]  # what was there before costs nothing
            before, begun = first[0]
            left = (now - begun) * (total - done) / (done - before) if done > before else None
            self._tell(Phase(name, number, of, done, total, left))

        return count


class Tally:
    """Counts one thing after the other as parts of a whole."""

    def __init__(self, count: Count, total: int) -> None:
        self._count, self._total, self._begun = count, total, 0

    def part(self, size: int) -> Count:
        """For the next part, which may have less than its size left to do."""
        start = self._begun
        self._begun += size
        return lambda done, total: self._count(start + size - total + done, self._total)
