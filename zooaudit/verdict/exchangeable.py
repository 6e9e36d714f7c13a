"""Whether the victim looks like a draw of its twins' procedure; tested without any suspect.

A verdict's p-value rests on one assumption: victim and twins are exchangeable. It fails if the twins are one
model (the training code ignores its seed), if they start from the victim's weights, or if the victim is not a
draw of the
procedure: the best of many, trained on other data, or distilled from somebody else's model to frame its
owner. Each check computes one number for every candidate and asks how far the victim's lies from the twins':
its rank, and a two-sided p-value of Student's distribution with m - 1 degrees of freedom.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from torch import Tensor

SAME = 1e-5
"""Candidates whose answers differ by no more than this are one model."""
REFUSED, CAUTIONED = 0.001, 0.05
"""P-values below which a kit accuses nobody, and below which it adds a caution to every verdict."""


@dataclass(frozen=True)
class Check:
    """One comparison of the victim with its twins.

    Attributes:
        name: what is compared.
        victim: its number; NaN for a check without numbers.
        low, high: the twins' smallest and largest.
        rank: how many candidates have a number at most the victim's, itself included, of ``of``.
        p_value: two-sided; 0 if something is certainly wrong.
        meaning: what it means if the check is off.
        numbers: of every candidate, the victim first; empty for a check without numbers.
    """

    name: str
    victim: float
    low: float
    high: float
    rank: int
    of: int
    p_value: float
    meaning: str
    numbers: tuple[float, ...] = ()

    @property
    def refused(self) -> bool:
        return self.p_value < REFUSED

    @property
    def cautioned(self) -> bool:
        return self.p_value < CAUTIONED

    @property
    def line(self) -> str:
        """The check on one line."""
        if np.isnan(self.victim):
            return f"{self.name}: {self.meaning}"
        place = (
            f"victim {self.victim:.4g}, twins {self.low:.4g} to {self.high:.4g}, rank {self.rank} of"
            f" {self.of}, p {self.p_value:.2g}"
        )
        return f"{self.name}: {place}" + (f"; {self.meaning}" if self.cautioned else "")


def examined(answers: Tensor, accuracies: Sequence[float], references: Tensor) -> tuple[Check, ...]:
    """All checks of a kit.

    Args:
        answers: float32 ``[m + 1, q, K]``, the candidates' to images of the victim's task, the victim first.
        accuracies: of each candidate, in [0, 1].
        references: float32 ``[R, q, K]``.
    """
    roots = answers.clamp(min=0).sqrt().flatten(1).double()
    apart = mean_squared(roots, roots)
    others = ~np.eye(len(roots), dtype=bool)
    checks = [
        *_same(answers),
        _compared(
            "accuracy",
            np.asarray(accuracies, dtype=float),
            "was the victim picked as the best of many, or trained in another way?",
        ),
        _compared(
            "mean confidence",
            np.asarray(answers.amax(-1).double().mean(-1)),
            "was the victim trained otherwise, or longer?",
        ),
        _compared(
            "mean distance to the other candidates",
            np.array([row[keep].mean() for row, keep in zip(apart, others, strict=True)]),
            "nearer: do the twins start from the victim's weights? farther: was the victim trained on other"
            " data, or from another model?",
        ),
        _compared(
            "distance to the nearest candidate",
            np.array([row[keep].min() for row, keep in zip(apart, others, strict=True)]),
            "do some twins start from the victim's weights?",
        ),
    ]
    if len(references):
        beside = mean_squared(roots, references.clamp(min=0).sqrt().flatten(1).double()).mean(1)
        checks.append(
            _compared(
                "mean distance to the references",
                beside,
                "was the victim distilled from somebody else's model?",
            )
        )
    return tuple(checks)


def spoken(checks: Sequence[Check]) -> tuple[str, tuple[str, ...]]:
    """Why a kit accuses nobody ("" if it may), and the cautions for every verdict."""
    wrong = [c.line for c in checks if c.refused]
    refused = (
        f"victim and twins are not exchangeable: {'; '.join(wrong)}; an accusation would rest on that"
        if wrong
        else ""
    )
    return refused, tuple(c.line for c in checks if c.cautioned and not c.refused)


def _same(answers: Tensor) -> list[Check]:
    """Pairs of candidates that are one model."""
    rows = answers.flatten(1)
    pairs = [
        (i, j) for j in range(len(rows)) for i in range(j) if float((rows[i] - rows[j]).abs().max()) <= SAME
    ]
    if not pairs:
        return []
    who = ", ".join(
        f"twin {j} is the victim" if i == 0 else f"twins {i} and {j} are one" for i, j in pairs[:3]
    )
    text = (
        f"{len(pairs)} pairs of candidates give the same answers ({who}): the training code ignores its seed,"
        " or copies a model"
    )
    return [Check("same model", float("nan"), float("nan"), float("nan"), 0, len(rows), 0.0, text)]


def _compared(name: str, values: np.ndarray, text: str) -> Check:
    """Compare the victim's number with its twins'."""
    victim, twins = float(values[0]), values[1:]
    rank = 1 + int((twins <= victim).sum())
    spread = float(twins.std(ddof=1)) if len(twins) > 1 else 0.0
    p = 1.0
    if spread > 0:
        p = 2 * float(
            stats.t.sf(abs(victim - twins.mean()) / (spread * np.sqrt(1 + 1 / len(twins))), len(twins) - 1)
        )
    return Check(
        name,
        victim,
        float(twins.min()),
        float(twins.max()),
        rank,
        len(values),
        p,
        text,
        tuple(values.tolist()),
    )


def mean_squared(one: Tensor, other: Tensor) -> np.ndarray:
    """Mean squared differences of rows: float64 ``[n, k]``."""
    products = one @ other.T
    squared = (one**2).sum(1)[:, None] + (other**2).sum(1)[None, :] - 2 * products
    return np.maximum(np.asarray(squared), 0) / one.shape[1]
