"""Anytime-valid evidence: asking may stop as soon as there is enough, and the claim still holds.

Queries, and the views of a model, depend on each other, so multiplying what each says is invalid. Here a whole model is the unit. Each
model's running score after t queries is turned into a positive wealth, and its peak so far is taken; then

    E_t = (n + 1) peak_t(suspect) / (peak_t(suspect) + sum over the n references of peak_T(reference))

with the references' peaks over the whole budget T. E_T is one of n + 1 exchangeable models' share of their total, times n + 1: its
expectation is 1 for an innocent suspect that came about as the references did (a soft-rank e-value: Wang and Ramdas, JRSS B 84, 2022).
``x / (x + c)`` grows with x and a peak only grows with t, so E_t <= E_T whenever one stops: an e-process, and by Markov's inequality
``P(E_t >= 1 / level for any t) <= level``. E never exceeds n + 1, the same limit as a conformal p's.
"""

from dataclasses import dataclass

import numpy as np

SHARPNESS = 8.0
"""How steeply wealth grows with the score, per standard deviation of innocent models; any value is valid, this one stops early
(chosen on the development zoo, docs/log.md)."""


@dataclass(frozen=True, eq=False)
class Looks:
    """When a running score is looked at, and what innocent models score there; from models that are neither references nor suspects.

    The spread decides how soon asking can stop, never whether the claim holds.

    Attributes:
        queries: int ``[looks]``, ascending: after so many queries.
        mean, deviation: float ``[looks]``, of the innocent training models' running scores.
    """

    queries: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray

    @staticmethod
    def of(parts: np.ndarray, queries: np.ndarray) -> "Looks":
        """From what each query adds to the scores of innocent training models: ``[models, budget]``, each by a discriminant that was
        fitted without it, since models that it was fitted on lie closer together than others do."""
        running = parts.cumsum(1)[:, queries - 1]
        deviation = running.std(0, ddof=1)
        return Looks(queries, running.mean(0), np.maximum(deviation, 1e-12))

    def standardised(self, parts: np.ndarray) -> np.ndarray:
        """Running scores ``[..., looks]``, in standard deviations from the innocent mean, of ``parts`` ``[..., budget]``."""
        return (parts.cumsum(-1)[..., self.queries - 1] - self.mean) / self.deviation


def peaks(standardised: np.ndarray) -> np.ndarray:
    """Logarithm of the highest wealth so far: ``[..., looks]`` to ``[..., looks]``."""
    return np.maximum.accumulate(SHARPNESS * standardised, axis=-1)


def e_process(suspect: np.ndarray, references: np.ndarray) -> np.ndarray:
    """E after each look, in (0, n + 1].

    Args:
        suspect: standardised running scores ``[looks]``; fewer looks than the references' if asking stopped early.
        references: ``[models, all looks]``.
    """
    own, final = peaks(suspect), peaks(references)[:, -1] if references.shape[1] else np.empty(0)
    total = np.logaddexp(own, np.logaddexp.reduce(final)) if len(final) else own
    return np.asarray((len(final) + 1) * np.exp(own - total))


def stopping_look(evidence: np.ndarray, level: float) -> int | None:
    """Index of the first look at which E reaches ``1 / level``; None if it never does."""
    reached = np.flatnonzero(evidence >= 1 / level)
    return int(reached[0]) if len(reached) else None
