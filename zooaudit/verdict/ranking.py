"""The victim's rank among all candidates, and its p-value: the rank of one exchangeable candidate among m +
1.

If a suspect was made without the victim, then victim and twins are exchangeable given the suspect: any
statistic that treats them alike puts the victim first with probability 1 / (m + 1), whoever trained the
suspect (a conditional randomisation test: Candes et al., JRSS B 80, 2018). With m twins, no p-value can be
below 1 / (m + 1).

**Stopping early.** The statistic is computed after a few numbers of questions, the looks. A candidate *stands
out* at the first look at which its standardised statistic is at least ``STANDS_OUT``. Candidates are ordered
by when they stand out, sooner first, then by how far; those that never do come last, by the statistic at the
last look. That order treats candidates alike, so its rank is as valid as any other; and once the victim
stands out its rank is settled, whatever comes later, so asking may stop there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

STANDS_OUT = 3.0
"""In standard deviations of all candidates, from their mean."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """All candidates in order, the victim at index 0.

    Attributes:
        statistics: float ``[C]``, standardised, at ``look``: a candidate that stood out earlier may be ahead
            of the victim with a smaller value.
        look: index of the look that determines the victim's rank: where it stands out, or else the last.
        rank: of the victim, from 1; ties count against the accusation.
        settled: whether no later look can change it.
    """

    statistics: np.ndarray
    look: int
    rank: int
    settled: bool

    @property
    def candidates(self) -> int:
        return len(self.statistics)

    @property
    def p_value(self) -> float:
        """In (0, 1]."""
        return self.rank / self.candidates


def ranked(looks: np.ndarray, horizon: int) -> Ranking:
    """Rank the victim.

    Args:
        looks: standardised statistics ``[looks so far, C]``, the victim first.
        horizon: how many looks there are in all.
    """
    count = len(looks)
    out = looks >= STANDS_OUT
    first = np.where(out.any(0), out.argmax(0), horizon)
    placed = looks[np.minimum(first, count - 1), np.arange(looks.shape[1])]
    ahead = (first < first[0]) | ((first == first[0]) & (placed >= placed[0]))
    rank = int(ahead.sum())  # includes the victim itself
    settled = bool(first[0] < horizon) or count == horizon
    look = int(min(first[0], count - 1))
    return Ranking(looks[look], look, rank, settled)


def smallest_p(twins: int) -> float:
    """The smallest p-value that this many twins allow."""
    return 1 / (twins + 1)


def twins_for(level: float) -> int:
    """The fewest twins with which a p of at most ``level`` is possible."""
    count = max(int(1 / level) - 2, 0)
    while smallest_p(count) > level:
        count += 1
    return count


def suspects_at_once(twins: int, level: float) -> int:
    """The most suspects for which, after Holm's correction, one can still be called stolen by rank."""
    count = int(level * (twins + 1)) + 1
    while count and twins_for(level / count) > twins:
        count -= 1
    return count


@dataclass(frozen=True)
class NormalClaim:
    """A p-value below the rank's smallest, which assumes that the twins' statistics are normal.

    Attributes:
        p_value: of Student's distribution with m - 1 degrees of freedom.
        normality: p-value of Shapiro and Wilk's test that the twins' statistics are normal; a small one
            speaks against it.
    """

    p_value: float
    normality: float


def normal_claim(statistics: Sequence[float] | np.ndarray) -> NormalClaim | None:
    """From one look's statistics ``[C]``, the victim first; None for fewer than three twins, or if all twins
    are equal."""
    rows = np.asarray(statistics, dtype=float)
    twins = rows[1:]
    if len(twins) < 3 or np.ptp(twins) == 0:
        return None
    t = (rows[0] - twins.mean()) / (twins.std(ddof=1) * np.sqrt(1 + 1 / len(twins)))
    return NormalClaim(float(stats.t.sf(t, len(twins) - 1)), float(stats.shapiro(twins).pvalue))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Adjusted p-values of many suspects together: rejecting those at most ``level`` accuses any innocent
    with probability at most ``level``.

    Holm, Scandinavian Journal of Statistics 6 (1979); valid however the suspects depend on each other.
    """
    p = np.asarray(p_values, dtype=float)
    order = p.argsort(kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return adjusted


def benjamini_hochberg(p_values: Sequence[float]) -> np.ndarray:
    """Adjusted p-values: of those at most ``level``, a share of at most ``level`` is innocent on average.

    Benjamini and Hochberg (1995); suspects may depend on each other positively, as those do that share victim
    and twins.
    """
    return np.asarray(stats.false_discovery_control(p_values)) if len(p_values) else np.empty(0)
