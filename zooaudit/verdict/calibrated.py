"""The calibrated verdict on one suspect: stolen, not shown, or cannot tell and why."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from torch import Tensor

from zooaudit.verdict.conformal import p_value, references_for, smallest_p

ONE_LABEL = 0.95
"""Share of different images that get one and the same label from which answers count as degenerate."""


class Call(StrEnum):
    """What may be said of a suspect."""

    STOLEN = "stolen"
    NOT_SHOWN = "not shown"
    """The evidence does not support an accusation; it never proves innocence."""
    CANNOT_TELL = "cannot tell"
    """The question was not answered: the references or the suspect's answers do not allow it."""


@dataclass(frozen=True)
class Calibrated:
    """A call and what it rests on.

    Attributes:
        p_value: conformal, in (0, 1]; None if nothing can be told.
        smallest_p: the strongest claim that so many references allow.
    """

    call: Call
    score: float
    p_value: float | None
    smallest_p: float
    references: int
    level: float
    reason: str


def call(score: float, references: np.ndarray, level: float, hindrance: str = "") -> Calibrated:
    """Judge one suspect's score by those of innocent references, ``[n]``, that neither trained the score nor are the suspect.

    Args:
        hindrance: why its answers cannot be judged (see :func:`hindrances`); empty if they can.
    """
    n = len(references)
    least = smallest_p(n)
    if not hindrance and np.isnan(score):
        hindrance = "its score is not a number"
    if not hindrance and least > level:
        hindrance = f"{n} innocent references allow no p under {least:.2g}; level {level:g} needs {references_for(level)}"
    if hindrance:
        return Calibrated(Call.CANNOT_TELL, score, None, least, n, level, hindrance)
    p = p_value(score, references)
    above = round(p * (n + 1)) - 1
    stolen = p <= level
    sign = "<=" if stolen else ">"
    reason = f"{above} of {n} innocent references score as high: p {p:.2g} {sign} {level:g}"
    return Calibrated(Call.STOLEN if stolen else Call.NOT_SHOWN, score, p, least, n, level, reason)


def hindrances(answers: Tensor, accuracy: float, accuracies: np.ndarray) -> str:
    """Why a suspect's answers cannot be judged; empty if they can.

    Args:
        answers: probabilities or labels ``[Q, K]`` to Q different images of its task, taken at random.
        accuracy: the suspect's, on these images.
        accuracies: the references', on the same: of poorer models than all of them they do not say what an innocent one scores.
    """
    shares = np.bincount(answers.argmax(1).numpy(), minlength=answers.shape[1]) / len(answers)
    if shares.max() >= ONE_LABEL and answers.shape[1] > 1:
        return f"degenerate answers: class {int(shares.argmax())} on {shares.max():.0%} of {len(answers)} different images"
    if len(accuracies) and accuracy < accuracies.min():
        return (
            f"accuracy {accuracy:.3f} is under that of every reference (the least {accuracies.min():.3f}): none of them is a model like it"
        )
    return ""
