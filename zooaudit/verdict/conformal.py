"""Conformal p-values: one suspect model against innocent reference models, each of them one number.

If the suspect is innocent and came about as the references did, its score is as likely to take any rank among theirs as any other: then
``P(p <= level) <= level`` for every level, however scores are made and however much the views of one model depend on each other. Nothing
smaller than ``1 / (n + 1)`` can be claimed from n references. Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World (2005).
"""

from collections.abc import Sequence

import numpy as np
from scipy import stats


def p_value(score: float, references: Sequence[float] | np.ndarray) -> float:
    """``(1 + #{references >= score}) / (n + 1)``, in (0, 1]; ties count against the claim, and NaN is as innocent as can be."""
    rows = np.asarray(references, dtype=float)
    above = len(rows) if np.isnan(score) else int((~(rows < score)).sum())
    return (1 + above) / (len(rows) + 1)


def smallest_p(references: int) -> float:
    """The strongest claim that so many references allow."""
    return 1 / (references + 1)


def references_for(level: float) -> int:
    """The fewest references with which a p of at most ``level`` is possible."""
    count = max(int(1 / level) - 2, 0)
    while smallest_p(count) > level:
        count += 1
    return count


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Adjusted p-values of many suspects at once: rejecting those at most ``level`` accuses any innocent with chance at most ``level``.

    Holm, Scandinavian Journal of Statistics 6 (1979); valid however the suspects depend on each other.
    """
    p = np.asarray(p_values, dtype=float)
    order = p.argsort(kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return adjusted


def benjamini_hochberg(p_values: Sequence[float]) -> np.ndarray:
    """Adjusted p-values: of those at most ``level``, a share of at most ``level`` is innocent on average.

    Conformal p-values that share their references depend positively, which this allows (Bates et al., Annals of Statistics 51, 2023).
    """
    return np.asarray(stats.false_discovery_control(p_values)) if len(p_values) else np.empty(0)
