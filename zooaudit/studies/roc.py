"""How well scores tell thieves from innocents: AUC, true positives at a bounded share of false ones,
intervals by bootstrap over models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zooaudit.errors import ModelError

FPRS = (0.01, 0.05)
"""Of the field's protocol: at most this share of innocents is over the threshold."""
DRAWS = 1000
OUTER = (2.5, 97.5)
"""Percentiles: intervals of 95 %."""


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of pairs of a victim and a suspect, higher for one more like the victim.

    Attributes:
        scores: float ``[n]``.
        stolen: bool ``[n]``: whether the suspect was made from the victim.
        models: of each pair, the suspect: a model may be in several pairs, and is drawn with all of them.
    """

    scores: np.ndarray
    stolen: np.ndarray
    models: Sequence[str]

    def __post_init__(self) -> None:
        if bad := [m for m, s in zip(self.models, self.scores, strict=True) if not np.isfinite(s)]:
            raise ModelError(
                f"the score of {bad[0]} is not a finite number, nor are {len(bad) - 1} others; expected one"
                " for every pair"
            )


@dataclass(frozen=True)
class Share:
    """A number in [0, 1], and its interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """For example ``.94 [.81, 1.00]``."""
        return "{} [{}, {}]".format(
            *(f"{x:.2f}".removeprefix("0") for x in (self.value, self.low, self.high))
        )


@dataclass(frozen=True)
class Measured:
    """Attributes: tpr: by rate of false positives, one of ``FPRS``: the largest share of stolen models that
    one threshold finds while at most that share
        of innocent pairs is at or over it. Of n innocent pairs, a rate below 1 / n allows none.
    """

    auc: Share
    tpr: Mapping[float, Share]
    stolen: int
    innocent: int


def measured(of: Scored, draws: int = DRAWS, seed: int = 0) -> Measured | None:
    """How well a threshold on the scores would do; None without a stolen model or without an innocent one.

    Intervals: stolen models and innocent ones are drawn anew, with replacement, ``draws``
    times. Where no score is on the wrong side that gives an interval of one point, and says
    nothing of the models that are not there.
    """
    if of.stolen.all() or not of.stolen.any():
        return None
    order = np.argsort(-of.scores, kind="stable")
    scores, stolen = of.scores[order], of.stolen[order]
    # Equal scores are over a threshold together.
    ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    weights = _weights(np.array(of.models)[order], stolen, draws, seed)
    true, false = (_over(weights * side, ends) for side in (stolen, ~stolen))
    areas = ((false[:, 1:] - false[:, :-1]) * (true[:, 1:] + true[:, :-1]) / 2).sum(1)
    tpr = {rate: _share(np.where(false <= rate + 1e-9, true, 0.0).max(1)) for rate in FPRS}
    return Measured(_share(areas.round(12)), tpr, int(stolen.sum()), int((~stolen).sum()))


def _over(weights: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The share of the weight ``[draws, n]`` that is over each threshold, from none to all:
    ``[draws, thresholds + 1]``."""
    found = np.concatenate([np.zeros((len(weights), 1)), weights.cumsum(1)[:, ends]], axis=1)
    return found / found[:, -1:]


def _weights(models: np.ndarray, stolen: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """How often each pair counts: once, in the first row; and as often as its suspect was
    drawn: float ``[1 + draws, n]``."""
    dice = np.random.default_rng(seed)
    weights = np.ones((1 + draws, len(models)))
    for side in (stolen, ~stolen):
        names, where = np.unique(models[side], return_inverse=True)
        drawn = dice.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
        weights[1:, side] = drawn[:, where]
    return weights


def _share(values: np.ndarray) -> Share:
    """The first is of all models, the others of those drawn."""
    low, high = np.percentile(values[1:], OUTER) if len(values) > 1 else (values[0], values[0])
    return Share(float(values[0]), float(low), float(high))
