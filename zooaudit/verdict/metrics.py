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
    """Share of positives above a threshold that at most ``rate`` of the negatives are above; with fewer than ``1 / rate`` of them, none is.

    None if a side is empty.
    """
    if not len(positives) or not len(negatives):
        return None
    ranked = np.sort(np.asarray(negatives))[::-1]
    return float((np.asarray(positives) > ranked[int(rate * len(ranked) + 1e-9)]).mean())


def bootstrap_auc(positives: np.ndarray, negatives: np.ndarray, draws: int = 1000, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the AUC over models drawn again with replacement, positives and negatives each.

    Args:
        positives, negatives: ``[scores, models]``: several scores of the same models (folds, say) are averaged as AUCs, never as models.
    """
    generator = np.random.default_rng(seed)
    above = (positives[:, :, None] > negatives[:, None]).astype(float) + 0.5 * (positives[:, :, None] == negatives[:, None])
    wins = above.mean(0)
    drawn = []
    for _ in range(draws):
        p = np.bincount(generator.integers(len(wins), size=len(wins)), minlength=len(wins))
        n = np.bincount(generator.integers(wins.shape[1], size=wins.shape[1]), minlength=wins.shape[1])
        drawn.append(p @ wins @ n / (p.sum() * n.sum()))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)
