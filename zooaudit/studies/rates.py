"""Shares with their intervals, for tables."""

from collections.abc import Sequence

import numpy as np
from scipy import stats


def interval(count: int, n: int) -> tuple[float, float]:
    """Clopper and Pearson's of 95 %; all of [0, 1] of none."""
    if n == 0:
        return 0.0, 1.0
    found = stats.binomtest(count, n).proportion_ci()
    return float(found.low), float(found.high)


def shown(count: int, n: int) -> str:
    """For example ``.04 [.01, .10]``."""
    low, high = interval(count, n)
    return f"{_short(count / n)} [{_short(low)}, {_short(high)}]" if n else "-"


def _short(share: float) -> str:
    return f"{share:.2f}".removeprefix("0")


def worst(counts: Sequence[tuple[int, int]], level: float) -> tuple[int, float]:
    """Which of several counts ``(k, n)`` is least likely where each is binomial at ``level``, and the chance that one of so many is as
    unlikely."""
    tails = [float(stats.binom.sf(k - 1, n, level)) for k, n in counts]
    where = int(np.argmin(tails))
    return where, 1 - (1 - tails[where]) ** len(tails)
