"""How well scores tell piracy models from innocent ones; one score a model, never a view."""

from collections.abc import Sequence

import numpy as np


def auc(positives: Sequence[float], negatives: Sequence[float]) -> float | None:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties half. None if a side is empty."""
    if not len(positives) or not len(negatives):
        return None
    p, n = np.asarray(positives)[:, None], np.asarray(negatives)[None, :]
    return float((p > n).mean() + 0.5 * (p == n).mean())


def roc(positives: Sequence[float], negatives: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates at every threshold, from (0, 0) to (1, 1)."""
    thresholds = np.concatenate([[np.inf], np.unique([*positives, *negatives])[::-1]])
    rates = [(np.mean(np.asarray(negatives) >= t), np.mean(np.asarray(positives) >= t)) for t in thresholds]
    false, true = zip(*rates, strict=True)
    return np.array(false), np.array(true)


def tpr_at_fpr(positives: Sequence[float], negatives: Sequence[float], rate: float) -> float | None:
    """Share of positives above the lowest threshold that at most ``rate`` of the negatives are above.

    None if there are no positives, or fewer than ``1 / rate`` negatives: so few cannot show such a rate.
    """
    if not len(positives) or rate * len(negatives) < 1 - 1e-9:
        return None
    ranked = np.sort(np.asarray(negatives))[::-1]
    return float((np.asarray(positives) > ranked[int(rate * len(ranked) + 1e-9)]).mean())


def bootstrap_auc(
    folds: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], draws: int = 1000, seed: int = 0
) -> tuple[float, float]:  # fmt: skip
    """95 % interval of the mean AUC over folds, positives and kin of negatives drawn again with replacement.

    Models that stand or fall together are drawn together. Where no negative scores above a positive the interval is [1, 1]: that none was
    seen, not that there is none.

    Args:
        folds: of each: scores ``[P]`` of the same positives in the same order, scores ``[n]`` of negatives, and int ``[n]``, whose kin each
            is; a number means the same kin in every fold.
    """
    generator = np.random.default_rng(seed)
    wins = [(p[:, None] > n).astype(float) + 0.5 * (p[:, None] == n) for p, n, _ in folds]
    families = int(max(kin.max() for _, _, kin in folds)) + 1
    positives = len(folds[0][0])
    drawn = []
    for _ in range(draws):
        p = np.bincount(generator.integers(positives, size=positives), minlength=positives)
        taken = np.bincount(generator.integers(families, size=families), minlength=families)
        areas = [
            p @ w @ taken[kin] / (positives * taken[kin].sum()) for w, (_, _, kin) in zip(wins, folds, strict=True) if taken[kin].any()
        ]
        drawn += [np.mean(areas)] if areas else []
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)
