"""How well scores separate piracy models from innocent ones; one score for each model, never for each
view."""

from collections.abc import Sequence

import numpy as np


def auc(positives: Sequence[float], negatives: Sequence[float]) -> float | None:
    """Area under the ROC curve: the probability that a positive scores above a negative, counting ties half.
    None if a side is empty."""
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
