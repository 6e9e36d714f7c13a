"""Whether the victim is a hub: a model that many innocent models resemble more than its twins.

The level of the rank holds on average over victims. One victim may still come first for more innocent
suspects than the level says, if they all resemble it. References are innocent, so each of them, left out of
the references, is tried as a suspect.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from zooaudit.verdict.decision import Beyond

TOO_OFTEN = 0.025
"""The victim counts as a hub if being first for so many references, or having a mean so far from the twins',
has a probability below this: one victim in twenty that is not a hub does."""


@dataclass(frozen=True, eq=False)
class Hub:
    """The references' view of the victim.

    Attributes:
        first: how many references have the victim first among all candidates.
        statistics: float ``[R]``, each reference's standardised statistic for the victim.
        p_first: probability that so many references, or more, put one of the candidates first.
        p_mean: one-sided p-value of the victim's mean statistic among the twins'.
        means: float ``[C]``, each candidate's mean statistic over the references, the victim first; empty
            without references.
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
        """Compare a suspect's statistic with the references'."""
        return Beyond(int((self.statistics >= statistic).sum()), len(self.statistics))


def hub_of(statistics: np.ndarray) -> Hub:
    """From standardised statistics ``[R, C]`` of left-out references, with the victim in column 0."""
    references, count = statistics.shape
    if not references or count < 3:
        return Hub(0, np.empty(0), 1.0, 1.0)
    first = int((statistics[:, 0] > statistics[:, 1:].max(1)).sum())
    means = statistics.mean(0)
    spread = float(means[1:].std(ddof=1))
    t = (means[0] - means[1:].mean()) / (spread * np.sqrt(1 + 1 / (count - 1))) if spread else 0.0
    p_first, p_mean = float(stats.binom.sf(first - 1, references, 1 / count)), float(stats.t.sf(t, count - 2))
    return Hub(first, statistics[:, 0], p_first, p_mean, means)
