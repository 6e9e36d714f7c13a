"""The decisions for which papers state a number: of a suspect's score against the victim
and of independent models' scores.

Other papers set a threshold anew for each victim from models that are known to be pirated (IrisFP, SAC) or
report all thresholds (IPGuard, MetaFinger, ModelDiff, QuRD's AKH): of these no rule is here.
"""

from collections.abc import Callable

import numpy as np
from scipy import stats

FEWEST = 5
"""References that a threshold may rest on."""
Rule = Callable[[float, np.ndarray], bool | None]
"""Of a score and the references' scores ``[n]``, higher for a model more like the victim; None where there
are too few references."""
MUTATION = 0.5
ADJUSTED = 0.9


def adv_tra(score: float, references: np.ndarray) -> bool:
    """ADV-TRA: stolen if fewer than half of the points have changed their label; the threshold of the public
    code for one trajectory, here for the points of all."""
    return score > 1 - MUTATION


def deepjudge(score: float, references: np.ndarray) -> bool | None:
    """DeepJudge (section V): a copy if its distance is at most .9 (a black-box metric's factor) of the lower
    bound at 99 % of independent models' distances by Student's t; read as the bound for one more model, which
    accuses fewer than that for the mean.

    Args:
        score, references: minus the distances.
    """
    if len(references) < FEWEST:
        return None
    distances = -references
    bound = distances.mean() - stats.t.ppf(0.99, len(distances) - 1) * distances.std(ddof=1)
    return bool(-score <= ADJUSTED * bound)


def normal_bound(references: np.ndarray) -> float:
    """The score under which 99 % of independent models' would lie, were they normal;
    infinite where there are too few references."""
    if len(references) < FEWEST:
        return float("inf")
    return float(np.mean(references) + stats.norm.ppf(0.99) * np.std(references, ddof=1))
