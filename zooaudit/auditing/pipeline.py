"""The whole audit, one way down: data -> zoo (victim, twins, references, suspects) -> two tests -> kit ->
verdicts.

The tests stand side by side: **the paper's** asks datapoints with and without the victim's universal
perturbation and compares fingerprints through an encoder; **the twin test** asks what models differ on most
and ranks the victim among its twins. A kit holds both.

Nothing here knows Ray, S3 or HTTP: models come from a farm, artifacts from a store. Every step is stored
under a digest of its inputs, so a second run picks up where the first one stopped, and repeating a finished
run trains nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from zooaudit.auditing import answering, steps, twin_step, zoo_plan
from zooaudit.auditing.context import Context
from zooaudit.auditing.results import Audit, Judgement, Suspect, Zoo
from zooaudit.config import EncoderConfig
from zooaudit.errors import NotEnoughModelsError
from zooaudit.kits.kit import Kit
from zooaudit.paper.uap import Uap
from zooaudit.suspects.blackbox import Recorded
from zooaudit.telemetry.phases import Count, Phase, Phases, ignore_count, ignore_phase
from zooaudit.verdict.examined import Candidate, Examined
from zooaudit.verdict.registry import check_statistic
from zooaudit.verdict.twin_test import TwinTest
from zooaudit.zoo.build import Status
from zooaudit.zoo.spec import Group, ModelSpec, Role

PAPER = "paper"
PHASES = (
    "perturbation",
    "answers for the paper's test",
    "answers of twins and references",
    "answers of suspects",
    "encoder and verdicts",
)
"""The phases after the zoo is built, in order."""


def check_before_training(context: Context) -> None:
    """Raise early what would stop an audit before it trains anything. Saves the user's own victim.

    Raises:
        ConfigError, DataError, ModelError: the data is too small, the victim is worse than the recipe's
            floor, or there is no such statistic.
    """
    check_statistic(context.recipe.twin_test)
    zoo_plan.plan(context.recipe, context.dataset, context.artifacts, context.own)


def run_audit(context: Context, notify: Callable[[Phase], None] = ignore_phase) -> Audit:
    """Audit a victim from end to end.

    Args:
        notify: called with each phase after the zoo's, and its progress.

    Raises:
        NotEnoughModelsError: too few models learnt for an encoder or a verdict.
    """
    zoo = build_zoo(context)
    phases = Phases(PHASES, notify)
    cast = Cast.of(zoo)
    fingerprinted = ask_by_paper(context, zoo, cast, phases)
    test, examined = ask_by_twin_test(context, zoo, cast, phases)

    phases.begin("encoder and verdicts")
    judged = _judged(context, context.recipe.encoder, zoo, cast, fingerprinted, test, examined)
    kit_id = _save_kit(context, judged, fingerprinted.uap)
    with_paper_encoder = None
    if context.recipe.encoder.name != PAPER:
        encoder = context.recipe.paper_encoder
        with_paper_encoder = _judged(context, encoder, zoo, cast, fingerprinted, test, examined)
    return Audit(
        **vars(judged),
        recipe=context.recipe,
        dataset=context.dataset,
        zoo=zoo,
        uap=fingerprinted.uap,
        answers=fingerprinted.answers,
        kit_id=kit_id,
        itself=examined[zoo.plan.victim],
        by_paper=with_paper_encoder,
    )


def build_zoo(context: Context) -> Zoo:
    """Plan the zoo and have the farm build the models that the store lacks."""
    plan = zoo_plan.plan(context.recipe, context.dataset, context.artifacts, context.own)
    missing = zoo_plan.missing_models(plan, context.artifacts)
    built = _build(context, missing)
    zoo = Zoo(plan, zoo_plan.records(plan, context.artifacts), built)
    if zoo.records[plan.victim].status is Status.FAILED:
        raise NotEnoughModelsError(
            f"the victim {plan.victim} did not learn: {zoo.records[plan.victim].reason}"
        )
    return zoo


@dataclass(frozen=True)
class Cast:
    """The models of the zoo that learnt, by their part in the audit.

    Attributes:
        encoder_models: train the encoder.
        suspects: are judged, innocent ones and copies.
        asked: ids of all models that both tests ask, the victim first.
    """

    encoder_models: Sequence[ModelSpec]
    suspects: Sequence[ModelSpec]
    asked: Sequence[str]

    @staticmethod
    def of(zoo: Zoo) -> "Cast":
        training = [s for role in (Role.PIRACY, Role.HOMOLOGOUS) for s in zoo.learnt(role, Group.ENCODER)]
        suspects = [s for role in Role for s in zoo.learnt(role, Group.SUSPECT)]
        return Cast(training, suspects, [zoo.plan.victim, *(s.id for s in (*training, *suspects))])


@dataclass(frozen=True, eq=False)
class Fingerprinted:
    """What the paper's test asked, uint8 ``[views, N, c, h, w]``, the perturbation, and the raw answers
    ``[views, N, 2, K]`` by model id."""

    uap: Uap
    points: Tensor
    answers: dict[str, Tensor]


def ask_by_paper(context: Context, zoo: Zoo, cast: Cast, phases: Phases) -> Fingerprinted:
    """The paper's test: a perturbation that fools the victim on most images, and the answers to datapoints
    with and without it."""
    recipe, dataset, artifacts = context.recipe, context.dataset, context.artifacts
    phases.begin("perturbation")
    victim = steps.Victim.load(zoo.plan.victim, artifacts, dataset)
    uap = steps.uap(recipe, victim, dataset, artifacts)
    points = steps.points(recipe, victim, dataset, artifacts)
    count = phases.begin("answers for the paper's test")
    asked = steps.questions(uap, points)
    return Fingerprinted(uap, points, answering.answers(cast.asked, asked, dataset, artifacts, count=count))


def ask_by_twin_test(
    context: Context, zoo: Zoo, cast: Cast, phases: Phases
) -> tuple[TwinTest, dict[str, Examined]]:
    """The twin test: questions on which models differ most, and for each suspect the victim's rank among its
    twins. The victim itself is examined too."""
    test = twin_test(context, zoo, phases.begin("answers of twins and references"))
    count = phases.begin("answers of suspects")
    clean = answering.clean_answers(
        cast.asked, test.questions(), context.dataset, context.artifacts, count=count
    )
    return test, {id_: test.examine(Recorded(given)) for id_, given in clean.items()}


def twin_test(context: Context, zoo: Zoo, count: Count = ignore_count) -> TwinTest:
    """The twin test's parts: the victim, the twins and references that learnt, and the questions that tell
    them apart."""
    twins, references = zoo.learnt(Role.TWIN), zoo.learnt(Role.REFERENCE)
    candidates = [
        Candidate(id_, zoo.records[id_].accuracy) for id_ in (zoo.plan.victim, *(s.id for s in twins))
    ]
    return twin_step.make(
        context.recipe.twin_test,
        context.recipe.seed,
        context.dataset,
        context.artifacts,
        candidates,
        references,
        context.sources,
        twin_step.procedure(twins[0]) if twins else "",
        count,
    )


def victims_uap(context: Context) -> Uap:
    """The victim's UAP alone: trains no more than the victim."""
    recipe, dataset, artifacts = context.recipe, context.dataset, context.artifacts
    plan = zoo_plan.plan(recipe, dataset, artifacts, context.own)
    _build(context, [s for s in zoo_plan.missing_models(plan, artifacts) if s.id == plan.victim])
    return steps.uap(recipe, steps.Victim.load(plan.victim, artifacts, dataset), dataset, artifacts)


def _build(context: Context, specs: list[ModelSpec]) -> int:
    """Have the farm build these models; returns how many it built."""
    return context.farm.build(specs, context.dataset, context.artifacts, context.watch) if specs else 0


def _judged(
    context: Context,
    config: EncoderConfig,
    zoo: Zoo,
    cast: Cast,
    fingerprinted: Fingerprinted,
    test: TwinTest,
    examined: dict[str, Examined],
) -> Judgement:
    """Every suspect's verdict by the twin test and by the paper's test, through one encoder."""
    recipe, answers = replace(context.recipe, encoder=config), fingerprinted.answers
    architectures = config.architectures or recipe.zoo.encoder_architectures
    trained_on = [s for s in cast.encoder_models if s.architecture in architectures]
    encoder = steps.encoder(recipe, zoo.plan.victim, trained_on, answers, context.artifacts)
    references = [s.id for s in cast.suspects if s.role is Role.HOMOLOGOUS]
    kit = steps.kit(
        recipe, zoo.plan.victim, fingerprinted.uap, fingerprinted.points, encoder, answers, references, test
    )
    return Judgement(kit, [_suspect(kit, s, answers[s.id], examined[s.id]) for s in cast.suspects])


def _suspect(kit: Kit, spec: ModelSpec, answers: Tensor, examined: Examined) -> Suspect:
    similarities = kit.similarities(answers)
    return Suspect(spec, similarities, kit.judge(spec.id, similarities), examined)


def _save_kit(context: Context, judged: Judgement, uap: Uap) -> str:
    """Save the kit in the store; return its id."""
    training = context.own.training if context.own else None
    return steps.commit_kit(
        judged.kit, judged.suspects, uap, context.recipe, context.dataset, context.artifacts, training
    )
