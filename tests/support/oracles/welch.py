"""Welch's one-sided t-test by its formula."""

import math
from collections.abc import Sequence

from scipy import stats


def p_greater(sample: Sequence[float], reference: Sequence[float]) -> float:
    """P of a t at least as large if the two means were equal."""

    def moments(values: Sequence[float]) -> tuple[float, float]:
        mean = sum(values) / len(values)
        variance = sum((v - mean) ** 2 for v in values) / (len(values) - 1)
        return mean, variance / len(values)

    (mean_a, se_a), (mean_b, se_b) = moments(sample), moments(reference)
    t = (mean_a - mean_b) / math.sqrt(se_a + se_b)
    freedom = (se_a + se_b) ** 2 / (se_a**2 / (len(sample) - 1) + se_b**2 / (len(reference) - 1))
    return float(stats.t.sf(t, freedom))
