"""The paper's decision (section 5.2): a t-test of a suspect's similarities against those of
homologous models.

Its limits, which every report states: views of one model are not independent replicates, so p says little
about the next innocent model; and the reference is homologous models only, so the test does not cover models
extracted from somebody else's victim.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import stats

from zooaudit.config import VerdictConfig
from zooaudit.errors import NotEnoughModelsError


class PaperDecision(StrEnum):
    """The paper has two decisions: piracy, or inconclusive."""

    PIRACY = "piracy"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Verdict:
    """A decision and its basis."""

    decision: PaperDecision
    similarity: float
    """Mean over all views, in [0, 1]."""
    p_value: float
    """Mean over the repeats of the t-test, in [0, 1]."""
    reference_models: int
    reference_above: int
    """Innocent reference models whose similarity is at least the suspect's. With n of them, no method that
    ranks models can claim less than (1 + this) / (n + 1)."""
    reason: str


def decide(suspect: np.ndarray, references: np.ndarray, config: VerdictConfig, seed: int) -> Verdict:
    """Decide about one suspect.

    Args:
        suspect: similarities ``[views]``.
        references: similarities ``[models, views]`` of homologous models that neither
            trained the encoder nor are the suspect.
        seed: of the random draws.

    Raises:
        NotEnoughModelsError: fewer reference models than ``config.min_reference_models``.
    """
    if len(references) < config.min_reference_models:
        raise NotEnoughModelsError(
            f"a verdict needs {config.min_reference_models} homologous reference models, {len(references)}"
            " learnt; see the zoo's failed models, or raise suspects_per_cell"
        )
    p = mean_p_value(suspect, references, config, seed)
    similarity = float(suspect.mean())
    above = int((references.mean(1) >= similarity).sum())
    decision = PaperDecision.PIRACY if p < config.level else PaperDecision.INCONCLUSIVE
    sign = "<" if p < config.level else ">="
    reason = (
        f"mean p {p:.2g} {sign} {config.level:g}; similarity {similarity:.3f}, {above} of {len(references)}"
        " homologous references as high"
    )
    return Verdict(decision, similarity, p, len(references), above, reason)


def mean_p_value(suspect: np.ndarray, references: np.ndarray, config: VerdictConfig, seed: int) -> float:
    """Mean p over ``config.repeats`` of a one-sided Welch t-test, ``config.fingerprints``
    random similarities a side."""
    generator = np.random.default_rng(seed)
    pool = references.ravel()
    draws = [
        (
            generator.choice(suspect, config.fingerprints, replace=False),
            generator.choice(pool, config.fingerprints, replace=False),
        )
        for _ in range(config.repeats)
    ]
    drawn, against = (np.stack(side) for side in zip(*draws, strict=True))
    return float(t_tests(drawn, against).mean())


def t_tests(samples: np.ndarray, references: np.ndarray) -> np.ndarray:
    """p of "the sample's mean is not greater", in [0, 1], of each row of ``[repeats, n]`` against the same
    row: ``[repeats]``. Two samples without any spread compare by their means alone."""
    p = np.where(samples[:, 0] > references[:, 0], 0.0, 1.0)
    spread = (np.ptp(samples, axis=1) > 0) | (np.ptp(references, axis=1) > 0)
    if spread.any():
        sides = [s[spread].astype(np.float64) for s in (samples, references)]
        moments = [m for s in sides for m in (s.mean(1), s.std(1, ddof=1), s.shape[1])]
        # Takes a tenth of ttest_ind's time.
        p[spread] = stats.ttest_ind_from_stats(*moments, equal_var=False, alternative="greater").pvalue
    return p
