"""What the next innocent model of a family can be expected to score, where its members come from a few sources that lean together.

Models extracted from one stranger score alike, so ten of one stranger say less than ten of ten. With a random effect for the source, the
next model of a *new* source is predicted by a Student distribution whose variance is that of sources plus that within them, its degrees
of freedom by Satterthwaite (Biometrics Bulletin 2, 1946). It assumes that scores are normal, which a rank does not; a rank needs as many
models of each family as 1 / level, which nobody trains.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Prediction:
    """Student's distribution of the next score. Without degrees of freedom nothing can be predicted."""

    mean: float
    scale: float
    degrees: float

    def p_value(self, score: float) -> float:
        """Chance that the next innocent model of the family scores as high; 1 if nothing can be predicted."""
        if not self.degrees > 0 or np.isnan(score):
            return 1.0
        if self.scale == 0:
            return float(score <= self.mean)
        return float(stats.t.sf((score - self.mean) / self.scale, self.degrees))


def predict(scores: Sequence[float] | np.ndarray, sources: Sequence[str]) -> Prediction:
    """From scores ``[n]`` of a family, one a model, and the source of each; unbalanced families are allowed.

    The one-way random-effects analysis of variance: the mean square between sources never counts for less than that within them.
    """
    rows, names = np.asarray(scores, dtype=float), np.asarray(sources)
    groups = [rows[names == name] for name in dict.fromkeys(sources)]
    a, n = len(groups), len(rows)
    if a < 2:
        return Prediction(float(rows.mean()) if n else float("nan"), float("nan"), 0.0)
    sizes = np.array([len(g) for g in groups])
    means = np.array([g.mean() for g in groups])
    typical = (n - (sizes**2).sum() / n) / (a - 1)
    within = sum(float(((g - m) ** 2).sum()) for g, m in zip(groups, means, strict=True)) / (n - a) if n > a else 0.0
    between = max(float((sizes * (means - rows.mean()) ** 2).sum()) / (a - 1), within)
    of_between = (1 + 1 / a) / typical
    of_within = max(1 + float((1 / sizes).mean()) / a - of_between, 0.0)
    variance = of_between * between + of_within * within
    if variance == 0:
        return Prediction(float(means.mean()), 0.0, a - 1.0)
    spread = (of_between * between) ** 2 / (a - 1) + ((of_within * within) ** 2 / (n - a) if n > a else 0.0)
    return Prediction(float(means.mean()), variance**0.5, variance**2 / spread)
