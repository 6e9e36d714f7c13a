"""The results of an audit: the zoo, every suspect judged, and the whole."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from zooaudit.config import Recipe
from zooaudit.data.images import Dataset
from zooaudit.kits.kit import Kit
from zooaudit.paper.fingerprint import fingerprints
from zooaudit.paper.t_test import PaperDecision, Verdict
from zooaudit.paper.uap import Uap
from zooaudit.verdict.decision import Decision
from zooaudit.verdict.distances import auc
from zooaudit.verdict.examined import Examined
from zooaudit.zoo.build import ModelRecord, Status
from zooaudit.zoo.plan import Plan
from zooaudit.zoo.spec import Group, ModelSpec, Role


@dataclass(frozen=True, eq=False)
class Zoo:
    """The plan, and the outcome of every model in it."""

    plan: Plan
    records: dict[str, ModelRecord]
    trained: int
    """Models built by this run; the others were in the store."""

    def learnt(self, role: Role, group: Group | None = None) -> list[ModelSpec]:
        """Specs of a role whose models learnt their task."""
        return [s for s in self.plan.of(role, group) if self.records[s.id].status is Status.LEARNT]

    @property
    def failed(self) -> list[ModelSpec]:
        return [s for s in self.plan.specs if self.records[s.id].status is Status.FAILED]


@dataclass(frozen=True, eq=False)
class Suspect:
    """One suspect of the zoo, whose truth is known, with its similarities ``[views]`` and verdict."""

    spec: ModelSpec
    similarities: np.ndarray
    verdict: Verdict
    """By the paper's test."""
    examined: Examined
    """The verdict of the twin test."""


@dataclass(frozen=True, eq=False)
class Judgement:
    """Every suspect of the zoo, judged through one encoder."""

    kit: Kit
    suspects: list[Suspect]

    def scores(self, role: Role) -> list[float]:
        """Model-level similarities of the suspects of a role."""
        return [s.verdict.similarity for s in self.suspects if s.spec.role is role]

    def auc(self, innocent: Role) -> float | None:
        """AUC of piracy models against one family of innocent ones, one score for each model; None without
        models."""
        return auc(self.scores(Role.PIRACY), self.scores(innocent))

    def called_stolen(self, role: Role) -> tuple[int, int]:
        """How many suspects of a role the twin test calls stolen, and how many there are."""
        examined = [s.examined for s in self.suspects if s.spec.role is role]
        return sum(e.verdict.decision is Decision.STOLEN for e in examined), len(examined)

    def accused(self, role: Role) -> int:
        """How many suspects of a role the paper's test calls piracy."""
        return sum(s.spec.role is role and s.verdict.decision is PaperDecision.PIRACY for s in self.suspects)


@dataclass(frozen=True, eq=False)
class Audit(Judgement):
    """All results of an audit."""

    recipe: Recipe
    dataset: Dataset
    zoo: Zoo
    uap: Uap
    answers: dict[str, Tensor]
    """Raw answers ``[views, N, 2, K]`` by model id."""
    kit_id: str
    itself: Examined
    """The victim, examined as if it were a suspect: a test that does not accuse it accuses no copy."""
    by_paper: Judgement | None = None
    """The same answers judged through the paper's own encoder; None if the recipe uses that one."""


@torch.no_grad()
def embeddings(audit: Audit, id_: str) -> Tensor:
    """Encoder embeddings ``[views, 20]`` of one model's fingerprints."""
    return audit.kit.encoder.embed(fingerprints(audit.answers[id_]))
