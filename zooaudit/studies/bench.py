"""The workbench of a study: a zoo, opened up. Whatever is made here is kept in the store, so that a study
goes on where it stopped."""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from torch import Tensor

from zooaudit.auditing import answering, pipeline, results, steps, zoo_plan
from zooaudit.auditing.context import Context
from zooaudit.config import EncoderConfig, Recipe
from zooaudit.data.images import Dataset
from zooaudit.data.resolve import SUBSETS
from zooaudit.errors import NotEnoughModelsError
from zooaudit.paper.uap import Uap
from zooaudit.storage.artifacts import Artifacts
from zooaudit.studies.cohort import Cohort, Variant
from zooaudit.studies.outcome import Holds
from zooaudit.training.farm import Farm, Watch
from zooaudit.zoo.build import ModelRecord, Status
from zooaudit.zoo.plan import Plan
from zooaudit.zoo.spec import Group, ModelSpec, Role

FAMILIES = (Role.PIRACY, Role.HOMOLOGOUS, Role.LOOK_ALIKE)
DRAWS = range(3)
"""Starts of an encoder that a study looks at; 0 is the audit's own."""
SEPARATES = 0.9
"""AUC from which an encoder is said to separate."""


class NoFarm:
    """A farm for studies that may not train: says what is missing."""

    def build(self, specs: list[ModelSpec], dataset: Dataset, artifacts: Artifacts, watch: Watch) -> int:
        counts = Counter(
            f"{s.role} ({s.modification.kind})" if s.modification else str(s.role) for s in specs
        )
        kinds = ", ".join(f"{n} {kind}" for kind, n in counts.items())
        raise NotEnoughModelsError(
            f"store {artifacts.url} lacks {len(specs)} models that this study needs: {kinds} (the first is"
            f" {specs[0].id}); add --build to train them"
        )


@dataclass(eq=False)
class Bench:
    """What studies work with.

    Attributes:
        farm: builds models that a study needs and the store lacks; :class:`NoFarm` refuses.
        queries: images asked of suspects through this bench; answers that the store held cost none.
        trained: models built through it.
        excluded: models that did not learn, with the reason.
    """

    recipe: Recipe
    dataset: Dataset
    artifacts: Artifacts
    farm: Farm
    watch: Watch
    queries: int = 0
    trained: int = 0
    excluded: dict[str, str] = field(default_factory=dict)

    @cached_property
    def zoo(self) -> results.Zoo:
        """The audit's zoo."""
        zoo = pipeline.build_zoo(Context(self.recipe, self.dataset, self.artifacts, self.farm, self.watch))
        self.trained += zoo.trained
        return zoo

    @cached_property
    def victim(self) -> steps.Victim:
        return steps.Victim.load(self.zoo.plan.victim, self.artifacts, self.dataset)

    @cached_property
    def uap(self) -> Uap:
        return steps.uap(self.recipe, self.victim, self.dataset, self.artifacts)

    @cached_property
    def points(self) -> Tensor:
        """uint8 ``[views, N, c, h, w]``."""
        return steps.points(self.recipe, self.victim, self.dataset, self.artifacts)

    @cached_property
    def questions(self) -> Tensor:
        """The audit's: float ``[views, N, 2, c, h, w]``."""
        return steps.questions(self.uap, self.points)

    @property
    def papers_dataset(self) -> str:
        """Name of the data set whose figures in the paper ours stand beside: of a subset,
        that of the whole."""
        whole, _ = SUBSETS.get(self.dataset.name, (self.dataset.name, 0))
        return whole

    @property
    def suspects(self) -> list[ModelSpec]:
        """Suspects that learnt: piracy, homologous, look-alikes."""
        return [s for role in FAMILIES for s in self.zoo.learnt(role, Group.SUSPECT)]

    @property
    def encoder_models(self) -> list[ModelSpec]:
        return [s for role in FAMILIES[:2] for s in self.zoo.learnt(role, Group.ENCODER)]

    def holds(self, ok: bool, encoder: str, *numbers: float) -> Holds:
        """What becomes of a claim about how an encoder's separation changes: nothing, if it does not separate
        to begin with, or if any of the ``numbers`` that the rule rests on is none."""
        if self.separation(encoder) < SEPARATES:
            return Holds.UNDECIDED
        return Holds.of(ok, *numbers)

    def separation(self, encoder: str) -> float:
        """AUC of piracy against homologous suspects by an encoder of that name: the median
        over ``DRAWS`` starts."""
        found = [
            self.cohort.scores(Variant(self.encoders[encoder], draw=d)).auc(Role.HOMOLOGOUS) for d in DRAWS
        ]
        return statistics.median(a for a in found if a is not None)

    def begin(self) -> None:
        """A study begins: only models that it needs are in its list of those that did not learn."""
        self.excluded = {s.id: self.zoo.records[s.id].reason for s in self.zoo.failed}

    @property
    def encoders(self) -> dict[str, EncoderConfig]:
        """The paper's own, in both readings of where its loss acts, and, beside it, the recipe's; by name."""
        papers = self.recipe.paper_encoder
        return {e.name: e for e in (papers, replace(papers, name="paper-b"), self.recipe.encoder)}

    @cached_property
    def cohort(self) -> Cohort:
        """Everybody's answers to the audit's questions."""
        return self.asked(self.questions)

    def asked(self, questions: Tensor) -> Cohort:
        """Victim, encoder models and suspects, asked other ``questions``."""
        training, suspects = self.encoder_models, self.suspects
        for role, least in ((Role.PIRACY, 1), (Role.HOMOLOGOUS, 2)):
            learnt = sum(s.role is role for s in suspects)
            if learnt < least:
                raise NotEnoughModelsError(
                    f"{learnt} {role} suspects learnt, a study needs {least} at least; raise"
                    " suspects_per_cell"
                )
        ids = [self.zoo.plan.victim, *(s.id for s in (*training, *suspects))]
        return Cohort(
            self.zoo.plan.victim,
            tuple(training),
            tuple(suspects),
            self.answers(ids, questions),
            self.recipe.seed,
        )

    def answers(self, models: Sequence[str], questions: Tensor) -> dict[str, Tensor]:
        """Raw answers by id, counted unless the store holds them."""
        self.queries += (
            len(answering.unanswered(models, questions, self.artifacts)) * questions.shape[:3].numel()
        )
        return answering.answers(models, questions, self.dataset, self.artifacts)

    def built(self, specs: Sequence[ModelSpec]) -> dict[ModelSpec, ModelRecord]:
        """Models that only a study needs: built if the store lacks them; those that did not
        learn are left out, and noted."""
        plan = Plan(self.zoo.plan.victim, tuple(specs))
        missing = zoo_plan.missing_models(plan, self.artifacts)
        if missing:
            self.trained += self.farm.build(missing, self.dataset, self.artifacts, self.watch)
        records = zoo_plan.records(plan, self.artifacts)
        self.excluded |= {s.id: records[s.id].reason for s in specs if records[s.id].status is Status.FAILED}
        return {s: records[s.id] for s in specs if records[s.id].status is Status.LEARNT}

    def with_suspects(self, specs: Sequence[ModelSpec]) -> Cohort:
        """The audit's cohort, joined by more suspects."""
        return self.cohort.joined_by(specs, self.answers([s.id for s in specs], self.questions))
