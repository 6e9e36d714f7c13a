"""`specific` fitted at one rung of the access ladder: what turns a suspect's answers into a running score, and when it is looked at."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from zooaudit.encoder.discriminant import Discriminant, fit_discriminant, left_out_parts
from zooaudit.fingerprint.access import Access
from zooaudit.verdict.sequential import Looks, looks_at, peaks


@dataclass(frozen=True, eq=False)
class Scale:
    """A discriminant and its looks, from training models alone."""

    access: Access
    discriminant: Discriminant
    looks: Looks

    @staticmethod
    def fit(access: Access, copies: Tensor, innocent: Tensor, groups: Sequence[int] | None = None) -> "Scale":
        """From answers ``[models, Q, K]``, the most telling questions first, of models that are never judged.

        Args:
            groups: of each innocent row, which model's it is; by default each is another's.

        Raises:
            NotEnoughModelsError: fewer than two models of a class.
        """
        stolen, free = access.told(copies), access.told(innocent)
        discriminant = fit_discriminant(stolen, free)
        looks = Looks.of(left_out_parts(stolen, free, groups=groups).numpy(), looks_at(copies.shape[1]))
        return Scale(access, discriminant, looks)

    def running(self, answers: Tensor) -> np.ndarray:
        """Standardised running scores ``[..., looks reached]`` of answers ``[..., queries, K]`` to the first questions."""
        return self.looks.standardised(self._parts(answers))

    def peaks(self, answers: Tensor) -> np.ndarray:
        """The highest running score of each model over all that it answered: ``[...]``."""
        return peaks(self.running(answers))[..., -1]

    def score(self, answers: Tensor) -> np.ndarray:
        """0 as innocent training models, 1 as the copies that it was fitted on, by the questions answered so far: ``[...]``."""
        parts = self._parts(answers)
        return np.asarray(parts.sum(-1) / self.discriminant.shares[: parts.shape[-1]].sum().item())

    def _parts(self, answers: Tensor) -> np.ndarray:
        part = self.discriminant.first(answers.shape[-2])
        return part.parts(self.access.told(answers)).numpy()
