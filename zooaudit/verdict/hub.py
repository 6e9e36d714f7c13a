"""Whether the victim is a hub: a model that many innocent models resemble more than its twins.

A rank among twins keeps its level on average over victims. One victim may still come first for more innocent
suspects than the level says, since they all resemble it. References are innocent, so each of them, left out
of the references, is tried as a suspect.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from zooaudit.verdict.decision import Beyond

TOO_OFTEN = 0.025
"""Chance of being first for so many references, or of a mean so far off the twins', under which the victim is
held to be a hub: of victims that are none, one in twenty is."""


@dataclass(frozen=True, eq=False)
class Hub:
    """What the references say of the victim.

    Attributes:
        first: references for which the victim comes first of all candidates.
        statistics: float ``[R]``, each reference's standardised statistic for the victim.
        p_first: chance that so many references, or more, put one of the candidates first.
        p_mean: one-sided p of the victim's mean statistic among the twins'.
        means: float ``[C]``, each candidate's mean statistic over the references, the
            victim first; empty without references.
    """

    first: int
    statistics: np.ndarray
    p_first: float
    p_mean: float
    means: np.ndarray = field(default_factory=lambda: np.empty(0))

    @property
    def is_one(self) -> bool:
        return min(self.p_first, self.p_mean) < TOO_OFTEN

    def beyond(self, statistic: float) -> Beyond:
        """How a suspect's statistic stands to the references'."""
        return Beyond(int((self.statistics >= statistic).sum()), len(self.statistics))


def hub_of(statistics: np.ndarray) -> Hub:
    """From standardised statistics ``[R, C]`` of left-out references, the victim at column 0."""
    references, count = statistics.shape
    if not references or count < 3:
        return Hub(0, np.empty(0), 1.0, 1.0)
    first = int((statistics[:, 0] > statistics[:, 1:].max(1)).sum())
    means = statistics.mean(0)
    spread = float(means[1:].std(ddof=1))
    t = (means[0] - means[1:].mean()) / (spread * np.sqrt(1 + 1 / (count - 1))) if spread else 0.0
    p_first, p_mean = float(stats.binom.sf(first - 1, references, 1 / count)), float(stats.t.sf(t, count - 2))
    return Hub(first, statistics[:, 0], p_first, p_mean, means)
