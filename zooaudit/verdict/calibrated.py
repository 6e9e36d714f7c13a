"""The calibrated verdict on one suspect: stolen, not shown, or cannot tell and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from torch import Tensor

from zooaudit.verdict.conformal import smallest_p
from zooaudit.verdict.references import FamilyEvidence, References

ONE_LABEL = 0.95
"""Share of different images that get one and the same label from which answers count as degenerate."""
MIDPOINT = 0.5
"""Innocent models of a kind that is not among the references may be beyond all of these, and yet nearer to them than to any copy."""
POORER = 0.05
"""So much less accurate than every reference, and a suspect is a model unlike all of them; less can be chance, on a hundred images."""


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
        p_value: in (0, 1]; None if nothing can be told. The largest of the rank's over all references and of each family's.
        smallest_p: the strongest claim that so many references allow.
        families: how the suspect stands to each kind of innocent model.
    """

    call: Call
    p_value: float | None
    smallest_p: float
    references: int
    level: float
    families: tuple[FamilyEvidence, ...]
    reason: str


def call(
    peak: float, references: References, level: float, hindrance: str = "", required: Sequence[str] = (), score: float = 1.0
) -> Calibrated:  # fmt: skip
    """Judge one suspect by innocent references that neither trained the score nor are the suspect.

    Args:
        peak: the suspect's highest standardised score so far. Since the references' peaks are of the whole budget, a suspect may be
            judged after every look, and asking may stop at the first call of stolen: its p only falls from look to look, and the last
            one keeps the level.
        hindrance: why its answers cannot be judged (see :func:`hindrances`); empty if they can.
        required: families that must be among the references before anybody is accused.
        score: 0 as innocent training models, 1 as known copies; under ``MIDPOINT`` nobody is accused.
    """
    least = smallest_p(len(references))
    if not hindrance and np.isnan(peak):
        hindrance = "its score is not a number"
    hindrance = hindrance or references.too_few(level, required)
    families = tuple(references.evidence(peak))
    if hindrance:
        return Calibrated(Call.CANNOT_TELL, None, least, len(references), level, families, hindrance)
    p = references.p_value(peak)
    if p <= level and score < MIDPOINT:
        told = f"score {score:.2f}: nearer to innocent models than to known copies, though p {p:.2g} <= {level:g}"
        return Calibrated(Call.NOT_SHOWN, p, least, len(references), level, families, told)
    stolen = p <= level
    reason = f"p {p:.2g} {'<=' if stolen else '>'} {level:g}: as high score {', '.join(map(_told, families))}"
    return Calibrated(Call.STOLEN if stolen else Call.NOT_SHOWN, p, least, len(references), level, families, reason)


def _told(evidence: FamilyEvidence) -> str:
    return f"{evidence.above} of {evidence.models} {evidence.family} references (the next would with p {evidence.p_value:.2g})"


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
    if len(accuracies) and accuracy < accuracies.min() - POORER:
        least = f"the least {accuracies.min():.3f}"
        return f"accuracy {accuracy:.3f} is more than {POORER:g} under that of every reference ({least}): none of them is a model like it"
    return ""
