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


def leaning(shares: Sequence[np.ndarray], times: int = 2000) -> tuple[float, float]:
    """Whether independent sources of suspects lean to the same candidate.

    Args:
        shares: of each owner ``[sources, candidates]``: the share of a source's suspects
            that put a candidate first.

    Returns:
        The largest mean over an owner's sources that any candidate has; and the chance of
        one so large if every source leaned to candidates of its own, with its candidates
        drawn in random order ``times`` times.
    """
    dice = np.random.default_rng(0)
    found = max(float(one.mean(0).max()) for one in shares)
    drawn = [max(float(dice.permuted(one, axis=1).mean(0).max()) for one in shares) for _ in range(times)]
    return found, (1 + sum(d >= found - 1e-12 for d in drawn)) / (1 + times)


def luck(counts: Sequence[np.ndarray], count: int, times: int = 20_000) -> float:
    """The chance of ``count`` or more in all, were each owner's victim any one of its candidates.

    Args:
        counts: of each owner ``[candidates]``: how many innocents each candidate would have
            had called stolen.
    """
    dice = np.random.default_rng(0)
    drawn = np.sum([dice.choice(one, times) for one in counts], axis=0)
    return float((1 + (drawn >= count).sum()) / (1 + times))


def worst(counts: Sequence[tuple[int, int]], level: float) -> tuple[int, float]:
    """Which of several counts ``(k, n)`` is least likely where each is binomial at ``level``, and the chance
    that one of so many is as unlikely."""
    tails = [float(stats.binom.sf(k - 1, n, level)) for k, n in counts]
    where = int(np.argmin(tails))
    return where, 1 - (1 - tails[where]) ** len(tails)
