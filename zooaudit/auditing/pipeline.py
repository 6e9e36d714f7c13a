"""The whole audit, one way down: data -> zoo (victim, twins, references, suspects) -> twin test and UAP
fingerprints -> kit -> verdicts.

Nothing here knows Ray, S3 or HTTP: models come from a farm, artifacts from a store. Every
step is kept in the store under a digest of its inputs, so a second run picks up where the
first one stopped, and a finished run trains nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from zooaudit.auditing import answering, steps, twin_step, zoo_plan
from zooaudit.auditing.twin_questions import NO_SOURCES, Sources
from zooaudit.config import EncoderConfig, Recipe
from zooaudit.config import check as known
from zooaudit.data.images import Dataset
from zooaudit.errors import NotEnoughModelsError
from zooaudit.kits.kit import Kit
from zooaudit.paper.fingerprint import fingerprints
from zooaudit.paper.t_test import PaperDecision, Verdict
from zooaudit.paper.uap import Uap
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.models import OwnModel
from zooaudit.suspects.blackbox import Recorded
from zooaudit.telemetry.phases import Count, Phase, Phases, uncounted, untold
from zooaudit.training.farm import Farm, Watch
from zooaudit.verdict.decision import Decision
from zooaudit.verdict.distances import auc
from zooaudit.verdict.examined import Candidate, Examined
from zooaudit.verdict.registry import STATISTICS
from zooaudit.verdict.twin_test import TwinTest
from zooaudit.zoo.build import ModelRecord, Status
from zooaudit.zoo.plan import Plan
from zooaudit.zoo.spec import Group, ModelSpec, Role

PAPER = "paper"


PHASES = (
    "perturbation",
    "answers for the paper's test",
    "answers of twins and references",
    "answers of suspects",
    "encoder and verdicts",
)
"""After the zoo is built, in this order."""


@dataclass(frozen=True, eq=False)
class Zoo:
    """The plan and what became of every model in it."""

    plan: Plan
    records: dict[str, ModelRecord]
    trained: int
    """Models built by this run; the rest were in the store."""

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
        """AUC of piracy models against one family of innocent ones, one score a model; None
        without models."""
        return auc(self.scores(Role.PIRACY), self.scores(innocent))

    def called_stolen(self, role: Role) -> tuple[int, int]:
        """How many suspects of a role the twin test calls stolen, of how many."""
        examined = [s.examined for s in self.suspects if s.spec.role is role]
        return sum(e.verdict.decision is Decision.STOLEN for e in examined), len(examined)

    def accused(self, role: Role) -> int:
        """How many suspects of a role the paper's test calls piracy."""
        return sum(s.spec.role is role and s.verdict.decision is PaperDecision.PIRACY for s in self.suspects)


@dataclass(frozen=True, eq=False)
class Audit(Judgement):
    """All that an audit found out."""

    recipe: Recipe
    dataset: Dataset
    zoo: Zoo
    uap: Uap
    answers: dict[str, Tensor]
    """Raw answers ``[views, N, 2, K]`` by model id."""
    kit_id: str
    itself: Examined
    """The victim, examined as if it were a suspect: what does not accuse it accuses no copy."""
    by_paper: Judgement | None = None
    """The same answers judged through the paper's own encoder; None if the recipe's is that."""


def check(recipe: Recipe, dataset: Dataset, artifacts: Artifacts, own: OwnModel | None = None) -> None:
    """Raise what an audit would raise before it trains anything; keeps the user's own victim.

    Raises:
        ConfigError, DataError, ModelError: the data is too small, the victim is not as good as the recipe
            asks, or there is no such statistic.
    """
    config = recipe.twin_test
    known(config.statistic in STATISTICS, config, "statistic", f"one of {', '.join(STATISTICS)}")
    zoo_plan.plan(recipe, dataset, artifacts, own)


def build_zoo(
    recipe: Recipe,
    dataset: Dataset,
    artifacts: Artifacts,
    farm: Farm,
    watch: Watch,
    own: OwnModel | None = None,
) -> Zoo:
    """Plan the zoo and have the farm build what the store does not hold."""
    plan = zoo_plan.plan(recipe, dataset, artifacts, own)
    missing = zoo_plan.missing_models(plan, artifacts)
    built = farm.build(missing, dataset, artifacts, watch) if missing else 0
    zoo = Zoo(plan, zoo_plan.records(plan, artifacts), built)
    if zoo.records[plan.victim].status is Status.FAILED:
        raise NotEnoughModelsError(
            f"the victim {plan.victim} did not learn: {zoo.records[plan.victim].reason}"
        )
    return zoo


def craft_uap(
    recipe: Recipe,
    dataset: Dataset,
    artifacts: Artifacts,
    farm: Farm,
    watch: Watch,
    own: OwnModel | None = None,
) -> Uap:
    """The victim's UAP alone: trains no more than the victim."""
    plan = zoo_plan.plan(recipe, dataset, artifacts, own)
    missing = [s for s in zoo_plan.missing_models(plan, artifacts) if s.id == plan.victim]
    if missing:
        farm.build(missing, dataset, artifacts, watch)
    return steps.uap(recipe, steps.Victim.load(plan.victim, artifacts, dataset), dataset, artifacts)


def run_audit(
    recipe: Recipe,
    dataset: Dataset,
    artifacts: Artifacts,
    farm: Farm,
    watch: Watch,
    own: OwnModel | None = None,
    sources: Sources = NO_SOURCES,
    tell: Callable[[Phase], None] = untold,
) -> Audit:
    """Audit a victim from end to end.

    Args:
        recipe: what to do.
        dataset: the victim's domain.
        artifacts: where everything is kept.
        farm: who trains the zoo.
        watch: told how far the farm is.
        own: the user's own victim; without one, a victim is trained.
        sources: images of another task, and those that the victim was asked, for questions.
        tell: called with each phase after the zoo's, and how far it is.

    Raises:
        NotEnoughModelsError: too few models learnt for an encoder or a verdict.
    """
    zoo = build_zoo(recipe, dataset, artifacts, farm, watch, own)
    phases = Phases(PHASES, tell)
    phases.begin("perturbation")
    victim = steps.Victim.load(zoo.plan.victim, artifacts, dataset)
    uap = steps.uap(recipe, victim, dataset, artifacts)
    points = steps.points(recipe, victim, dataset, artifacts)
    encoder_models = [*zoo.learnt(Role.PIRACY, Group.ENCODER), *zoo.learnt(Role.HOMOLOGOUS, Group.ENCODER)]
    suspects = [s for role in Role for s in zoo.learnt(role, Group.SUSPECT)]
    asked = [zoo.plan.victim, *(s.id for s in encoder_models), *(s.id for s in suspects)]
    answers = answering.answers(
        asked,
        steps.questions(uap, points),
        dataset,
        artifacts,
        count=phases.begin("answers for the paper's test"),
    )

    test = twin_test(
        recipe, zoo, dataset, artifacts, sources, phases.begin("answers of twins and references")
    )
    clean = answering.clean_answers(
        asked, test.questions(), dataset, artifacts, count=phases.begin("answers of suspects")
    )
    phases.begin("encoder and verdicts")
    examined = {id_: test.examine(Recorded(given)) for id_, given in clean.items()}

    def judge(config: EncoderConfig) -> Judgement:
        using = replace(recipe, encoder=config)
        trained_on = [
            s
            for s in encoder_models
            if s.architecture in (config.architectures or recipe.zoo.encoder_architectures)
        ]
        encoder = steps.encoder(using, zoo.plan.victim, trained_on, answers, artifacts)
        references = [s.id for s in suspects if s.role is Role.HOMOLOGOUS]
        kit = steps.kit(using, zoo.plan.victim, uap, points, encoder, answers, references, test)
        return Judgement(kit, [_judge(kit, s, answers[s.id], examined[s.id]) for s in suspects])

    judged = judge(recipe.encoder)
    training = own.training if own else None
    kit_id = steps.commit_kit(judged.kit, judged.suspects, uap, recipe, dataset, artifacts, training)
    by_paper = None if recipe.encoder.name == PAPER else judge(recipe.paper_encoder)
    return Audit(
        **vars(judged),
        recipe=recipe,
        dataset=dataset,
        zoo=zoo,
        uap=uap,
        answers=answers,
        kit_id=kit_id,
        itself=examined[zoo.plan.victim],
        by_paper=by_paper,
    )


def twin_test(
    recipe: Recipe,
    zoo: Zoo,
    dataset: Dataset,
    artifacts: Artifacts,
    sources: Sources = NO_SOURCES,
    count: Count = uncounted,
) -> TwinTest:
    """What the verdict asks and rests on: the victim, the twins and references that learnt, and the questions
    to tell them apart by."""
    twins, references = zoo.learnt(Role.TWIN), zoo.learnt(Role.REFERENCE)
    candidates = [
        Candidate(id_, zoo.records[id_].accuracy) for id_ in (zoo.plan.victim, *(s.id for s in twins))
    ]
    procedure = twin_step.procedure(twins[0]) if twins else ""
    return twin_step.make(
        recipe.twin_test, recipe.seed, dataset, artifacts, candidates, references, sources, procedure, count
    )


def _judge(kit: Kit, spec: ModelSpec, answers: Tensor, examined: Examined) -> Suspect:
    similarities = kit.similarities(answers)
    return Suspect(spec, similarities, kit.judge(spec.id, similarities), examined)


@torch.no_grad()
def embeddings(audit: Audit, id_: str) -> Tensor:
    """Encoder embeddings ``[views, 20]`` of one model's fingerprints."""
    return audit.kit.encoder.embed(fingerprints(audit.answers[id_]))
