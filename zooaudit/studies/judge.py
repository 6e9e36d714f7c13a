"""`specific` as one fold's training models make it, at one rung of the access ladder."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from zooaudit.encoder.discriminant import Discriminant, fit_discriminant
from zooaudit.fingerprint.access import Access
from zooaudit.studies.families import Contest, Fold
from zooaudit.suspects.defences import TREATMENTS, Defence
from zooaudit.zoo.spec import ModelSpec


@dataclass(eq=False)
class Judge:
    """Scores models by their answers to the pool's images at ``chosen`` (int64 ``[Q]``), in that order.

    Attributes:
        innocent: whom it learns from beside the fold's copies; the fold's own unless said otherwise.
        treatments: interfaces that it learns behind.
    """

    contest: Contest
    fold: Fold
    rung: Access
    chosen: Tensor
    innocent: tuple[ModelSpec, ...] | None = None
    treatments: tuple[Defence, ...] = TREATMENTS

    def told(self, specs: Sequence[ModelSpec]) -> Tensor:
        """What models tell here, ``[models, Q, K]``."""
        return self.rung.told(torch.stack([self.contest.pool_answers[s.id][self.chosen] for s in specs]))

    @cached_property
    def learnt_from(self) -> tuple[Tensor, Tensor]:
        """Copies and innocent models, as they are and behind interfaces, as told."""
        return self._taught(self.fold.copies), self._taught(self._innocent)

    @property
    def _innocent(self) -> tuple[ModelSpec, ...]:
        return self.fold.innocent if self.innocent is None else self.innocent

    def _taught(self, specs: Sequence[ModelSpec]) -> Tensor:
        behind = [torch.stack(self.contest.behind(t, specs, self.chosen)) for t in self.treatments]
        return torch.cat([self.told(specs), *(self.rung.told(answers) for answers in behind)])

    @cached_property
    def discriminants(self) -> tuple[Discriminant, ...]:
        """By witness: from models as they are, and behind interfaces too (:class:`~zooaudit.verdict.probe.Witness`)."""
        plain = fit_discriminant(self.told(self.fold.copies), self.told(self._innocent))
        return (plain, fit_discriminant(*self.learnt_from)) if self.treatments else (plain,)

    def scores(self, specs: Sequence[ModelSpec]) -> list[float]:
        """One a model, 0 as innocent training models, 1 as copies: of the witness that holds less against it."""
        return self._least(self.told(specs))

    def scores_of(self, answers: Sequence[Tensor]) -> list[float]:
        """Of models that would answer ``[Q, K]`` each to the same images."""
        return self._least(self.rung.told(torch.stack(list(answers))))

    def _least(self, told: Tensor) -> list[float]:
        found: list[float] = torch.stack([d.scores(told) for d in self.discriminants]).amin(0).tolist()
        return found
