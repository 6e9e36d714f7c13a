"""Anytime-valid evidence: asking may stop as soon as there is enough, and the claim still holds.

Queries, and the views of a model, depend on each other, so multiplying what each says is invalid. Here a whole model is the unit. Each
model's running score after t queries is standardised, and its highest value so far, its peak, is taken. The suspect's peak after t queries
is compared with the references' peaks over the whole budget T. An innocent suspect's peak_T is as likely to take any rank among theirs as
any other, and peak_t <= peak_T: so a p-value by rank after any query is at least that of the end, and

    P(p_t <= level for any t) <= P(p_T <= level) <= level.

That is a p-process: asking may stop at the first t at which it is small enough. An e-process of the same peaks, for those who want to
multiply evidence of several audits, is

    E_t = (n + 1) w(peak_t of the suspect) / (w(peak_t of the suspect) + sum over the n references of w(peak_T)),  w(x) = exp(SHARPNESS x)

one of n + 1 exchangeable models' share of their total, times n + 1: its expectation is 1 (a soft-rank e-value: Wang and Ramdas, JRSS B 84,
2022), it only grows with t, and by Markov's inequality ``P(E_t >= 1 / level for any t) <= level``. It asks for more than the p-process:
E reaches 1 / level only if no reference's peak comes near. Neither can claim more than 1 / (n + 1).
"""

from dataclasses import dataclass

import numpy as np

SHARPNESS = 8.0
"""How steeply wealth grows with the score, per standard deviation of innocent models; any value is valid, this one stops early
(chosen on the development zoo, docs/log.md)."""
LEAST_LOOK, FIRST_SHARE, STEP = 20, 0.25, 1.25


def looks_at(budget: int) -> np.ndarray:
    """After how many queries evidence is looked at: first after a quarter of the budget, each time a quarter more, and at the end.

    An earlier look would be as valid for innocent models like the references; of kinds that are not among them, hardened ones for
    example, the first images alone tell too little (docs/log.md).
    """
    counts = [min(max(LEAST_LOOK, int(FIRST_SHARE * budget)), budget)]
    while counts[-1] < budget:
        counts.append(min(int(counts[-1] * STEP) + 1, budget))
    return np.array(counts)


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
        """Running scores ``[..., looks reached]``, in standard deviations from the innocent mean, of ``parts`` ``[..., queries]``."""
        reached = int((self.queries <= parts.shape[-1]).sum())
        at = self.queries[:reached]
        return (parts.cumsum(-1)[..., at - 1] - self.mean[:reached]) / self.deviation[:reached]


def peaks(standardised: np.ndarray) -> np.ndarray:
    """The highest so far: ``[..., looks]`` to ``[..., looks]``."""
    return np.maximum.accumulate(standardised, axis=-1)


def e_process(suspect: np.ndarray, references: np.ndarray) -> np.ndarray:
    """E after each look, in (0, n + 1].

    Args:
        suspect: standardised running scores ``[looks]``; fewer looks than the references' if asking stopped early.
        references: peaks ``[models]`` over all looks.
    """
    own, final = SHARPNESS * peaks(suspect), SHARPNESS * np.asarray(references)
    total = np.logaddexp(own, np.logaddexp.reduce(final)) if len(final) else own
    return np.asarray((len(final) + 1) * np.exp(own - total))


def first_at(evidence: np.ndarray) -> int | None:
    """Index of the first look at which a condition, bool ``[looks]``, holds; None if it never does."""
    reached = np.flatnonzero(evidence)
    return int(reached[0]) if len(reached) else None
