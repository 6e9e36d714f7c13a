"""Innocent models that a suspect is measured against, and the p-value that they support."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from zooaudit.verdict.conformal import p_value, references_for, smallest_p
from zooaudit.verdict.predictive import Prediction, predict


@dataclass(frozen=True)
class FamilyEvidence:
    """How a suspect stands to one family of innocent models.

    Attributes:
        models, sources: how many, and from how many independent origins.
        above: models that score as high as the suspect.
        p_value: chance that the next of the family does (:mod:`zooaudit.verdict.predictive`).
    """

    family: str
    models: int
    sources: int
    above: int
    p_value: float


@dataclass(frozen=True, eq=False)
class References:
    """Innocent models that had no part in the score.

    Attributes:
        peaks: float ``[n]``, the highest standardised score of each over the whole budget.
        families: of each, the kind of innocent model that it is.
        kin: of each, the source that it shares with those it stands or falls with.
    """

    peaks: np.ndarray
    families: tuple[str, ...]
    kin: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.peaks)

    @cached_property
    def predictions(self) -> dict[str, Prediction]:
        """By family."""
        return {family: predict(*self._of(family)) for family in dict.fromkeys(self.families)}

    def _of(self, family: str) -> tuple[np.ndarray, list[str]]:
        ours = [i for i, f in enumerate(self.families) if f == family]
        return self.peaks[ours], [self.kin[i] for i in ours]

    def take(self, kept: Sequence[int]) -> "References":
        """Some of them: a suspect of the zoo must not be among its own references, nor its kin."""
        return References(self.peaks[list(kept)], tuple(self.families[i] for i in kept), tuple(self.kin[i] for i in kept))

    def evidence(self, peak: float) -> list[FamilyEvidence]:
        """Family by family."""
        found = []
        for family, prediction in self.predictions.items():
            peaks, kin = self._of(family)
            found.append(FamilyEvidence(family, len(peaks), len(set(kin)), int((~(peaks < peak)).sum()), prediction.p_value(peak)))
        return found

    def p_value(self, peak: float) -> float:
        """The larger of the rank's p over all references and every family's own: small only for who is beyond every kind of innocent."""
        return max([p_value(peak, self.peaks), *(p.p_value(peak) for p in self.predictions.values())])

    def too_few(self, level: float, required: Sequence[str] = ()) -> str:
        """Why nobody can be accused at ``level`` whatever the score; empty if somebody can."""
        for family in dict.fromkeys([*required, *self.families]):
            sources = len(set(self._of(family)[1]))
            if sources < 2:
                return f"{family} references come from {sources} source{'' if sources == 1 else 's'}; how they vary takes 2 at least"
        if smallest_p(len(self)) > level:
            least, needed = smallest_p(len(self)), references_for(level)
            return f"{len(self)} innocent references allow no p under {least:.2g}; level {level:g} needs {needed}"
        return ""
