"""Test somebody else's kit with twins that the checker trains: does the victim still stand out among them?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from zooaudit.auditing import steps, zoo_plan
from zooaudit.auditing.more_twins import committed_training, twin_specs
from zooaudit.auditing.twin_questions import natural_images
from zooaudit.auditing.twin_step import answered, answered_behind, asked_more, places, reference
from zooaudit.config import OwnTraining, Recipe, Start
from zooaudit.data.images import Dataset
from zooaudit.data.on_disk import in_memory
from zooaudit.errors import DataError, InputError
from zooaudit.evidence import parts
from zooaudit.evidence.accuracies import accuracies
from zooaudit.evidence.checks import Finding, as_one_of
from zooaudit.evidence.packs import Opened
from zooaudit.evidence.stated import stated_twins
from zooaudit.recipes.named import recipe_from
from zooaudit.seeds import derive
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.copying import copy
from zooaudit.storage.models import KIND as MODEL
from zooaudit.suspects.access import Access
from zooaudit.training.farm import Farm, Watch
from zooaudit.verdict import wording
from zooaudit.verdict.decision import Decision
from zooaudit.verdict.examined import Candidate, Examined
from zooaudit.verdict.exchangeable import spoken
from zooaudit.verdict.ranking import smallest_p, twins_for
from zooaudit.verdict.twin_test import TwinTest
from zooaudit.zoo.build import Status
from zooaudit.zoo.fit import accuracy
from zooaudit.zoo.plan import Plan
from zooaudit.zoo.planner import OWN_SEEDS
from zooaudit.zoo.spec import ModelSpec, Role


@dataclass(frozen=True)
class Trial:
    """The checker's settings.

    Attributes:
        twins: fresh twins of the victim.
        references: models of other procedures; None for as many as the kit's recipe has; 0 to rely on the
            kit's own alone.
        start: the public checkpoint that the references begin with, as the checker allows it; None for none.
        checkpoints: the checker's copies of those that the recipe's nets begin with.
        seed: must be unknown to the owner beforehand, who could otherwise make a victim that stands out among
            just these twins.
    """

    twins: int = 19
    references: int | None = None
    seed: int = 0
    start: Start | None = None
    checkpoints: tuple[Start, ...] = ()

    def __post_init__(self) -> None:
        if self.twins < 3:
            raise InputError(f"{self.twins} twins show nothing; take at least 19, for level .05")


@dataclass(frozen=True, eq=False)
class Fresh:
    """What the checker trained and asked: the kit's test with the victim and the fresh twins that learnt as
    its candidates; and the same with the checker's references, None without any."""

    by_kits: TwinTest
    by_theirs: TwinTest | None


def crosscheck(
    opened: Opened,
    pack: Artifacts,
    dataset: Dataset,
    artifacts: Artifacts,
    farm: Farm,
    watch: Watch,
    trial: Trial,
    training: OwnTraining | None = None,
) -> list[Finding]:
    """Train fresh twins of the victim in the checker's own store, and rank the victim among them.

    Args:
        pack: contains the victim's weights.
        dataset: the victim's domain, from the checker's own copy.
        artifacts: the checker's store; finished models are used again.
        training: the owner's procedure as the checker allows it; a pack never chooses which code runs here.

    Raises:
        InputError: the data is not the kit's, the seed is the owner's, or the twins cannot confirm anything.
    """
    kit = opened.kit
    if kit.facts.get("data") != dataset.digest:
        raise InputError(
            f"the kit was made on data {kit.facts.get('data')}, this is {dataset.digest} ({dataset.name});"
            " give the same data"
        )
    recipe = recipe_from(kit.facts["recipe"])
    if trial.seed == recipe.seed:
        raise InputError(
            f"seed {trial.seed} is the owner's own, so these would be the owner's models; choose another"
            " --seed"
        )
    _check_enough(opened, trial)
    copy(pack, artifacts, [(MODEL, kit.victim)], lambda _: None)
    victim = steps.Victim.load(kit.victim, artifacts, dataset)
    found = [parts.uap_again(opened, recipe, victim, dataset), parts.questions(opened, recipe, dataset)]
    found.append(parts.itself(opened, recipe, victim, dataset))
    try:
        places(kit.twin_test, recipe.twin_test, recipe.seed, dataset)
    except DataError as error:  # the questions are made up, so answers to them confirm nothing
        return [*found, Finding("lessons", False, str(error))]
    if kit.twin_test.twins == 0:
        return [
            *found,
            Finding(
                "fresh twins", None, "the kit has no twins and accuses nobody; there is nothing to confirm"
            ),
        ]
    found.append(_training(opened, training))
    specs = _specs(recipe, kit.victim, dataset, training, trial)
    fresh = _fresh(opened, specs, accuracy(victim.module, dataset.test), dataset, artifacts, farm, watch)
    return [*found, *_confirmed(opened, fresh, trial)]


def _check_enough(opened: Opened, trial: Trial) -> None:
    """Refuse too few twins to confirm any accusation, before any is trained."""
    meta, count = opened.evidence.meta, len(opened.together.p_values)
    needed = twins_for(meta["level"] / (count if opened.together.correction == "holm" else 1))
    if meta["p_value"] == "rank" and meta["verdict"]["decision"] == Decision.STOLEN and trial.twins < needed:
        raise InputError(
            f"{trial.twins} twins allow no p under {smallest_p(trial.twins):.2g}; to confirm this pack, of"
            f" {count} suspects at level {meta['level']:g}, take --twins {needed}"
        )


def _training(opened: Opened, training: OwnTraining | None) -> Finding:
    """Whether the checker's twins are trained by what the owner committed to."""
    committed = committed_training(opened.kit.facts)
    if training is None or committed is None:
        return Finding("training", True, "twins are trained by zooaudit's own recipe")
    text = f"committed {committed.function or committed.command!r}, SHA-256 {committed.code[:16]}"
    if steps.settled(training) == steps.settled(committed):
        return Finding("training", True, text)
    here = f"{training.function or training.command!r}, SHA-256 {training.code[:16]}"
    return Finding("training", None, f"{text}; here {here}: compare the two")


def _specs(
    recipe: Recipe, victim: str, dataset: Dataset, training: OwnTraining | None, trial: Trial
) -> list[ModelSpec]:
    """Specs of fresh twins and references."""
    if lacking := [
        c
        for c in recipe.zoo.checkpoints
        if (c.net, c.weights) not in {(t.net, t.weights) for t in trial.checkpoints}
    ]:
        first = lacking[0]
        raise InputError(
            f"models of the kit's recipe begin with a checkpoint of {first.net}, SHA-256"
            f" {first.weights[:16]}; expected the same file of yours: --checkpoint {first.net}=FILE"
        )
    # A pack never chooses which code is run or which file is read here.
    zoo = replace(recipe.zoo, twins=1, start=trial.start, checkpoints=trial.checkpoints)
    (pattern,) = twin_specs(replace(recipe, zoo=zoo), victim, dataset, training)
    seeds = [derive(trial.seed, "fresh twin", i) for i in range(trial.twins)]
    twins = [replace(pattern, seed=s % OWN_SEEDS if pattern.own_training else s) for s in seeds]
    count = recipe.zoo.references if trial.references is None else trial.references
    others = zoo_plan.plan_for(
        replace(recipe, zoo=replace(zoo, references=count), seed=trial.seed), dataset, victim
    )
    return [*twins, *others.of(Role.REFERENCE)]


def _fresh(
    opened: Opened,
    specs: Sequence[ModelSpec],
    accuracy_of_victim: float,
    dataset: Dataset,
    artifacts: Artifacts,
    farm: Farm,
    watch: Watch,
) -> Fresh:
    """Train the missing models and ask all of them the kit's questions."""
    victim = opened.kit.victim
    plan = Plan(victim, tuple(specs))
    if missing := zoo_plan.missing_models(plan, artifacts):
        farm.build(missing, dataset, artifacts, watch)
    records = zoo_plan.records(plan, artifacts)
    twins, references = (
        [s for s in plan.of(role) if records[s.id].status is Status.LEARNT]
        for role in (Role.TWIN, Role.REFERENCE)
    )
    candidates = (
        Candidate(victim, accuracy_of_victim),
        *(Candidate(s.id, records[s.id].accuracy) for s in twins),
    )
    recipe, test, ids = (
        recipe_from(opened.kit.facts["recipe"]),
        opened.kit.twin_test,
        [s.id for s in references],
    )
    by_kits = _among(candidates, test, recipe, dataset, artifacts)
    if not references:
        return Fresh(by_kits, None)
    plain, behind = (asked(ids, test.images, dataset, artifacts) for asked in (answered, answered_behind))
    theirs = replace(
        test,
        references=tuple(reference(s) for s in references),
        reference_answers=plain,
        reference_behind=behind,
        lessons=answered(
            ids,
            in_memory(natural_images(dataset, recipe.seed, recipe.twin_test.pool).images),
            dataset,
            artifacts,
        ),
    )
    return Fresh(by_kits, _among(candidates, theirs, recipe, dataset, artifacts))


def _among(
    candidates: tuple[Candidate, ...], test: TwinTest, recipe: Recipe, dataset: Dataset, artifacts: Artifacts
) -> TwinTest:
    """The test with other candidates."""
    asked = asked_more(test, [c.id for c in candidates], recipe.twin_test, recipe.seed, dataset, artifacts)
    return replace(
        test,
        candidates=candidates,
        answers=asked.plain,
        behind=asked.behind,
        predicted=asked.predicted,
        defended=asked.defended,
        defended_predicted=asked.defended_predicted,
    )


def _confirmed(opened: Opened, fresh: Fresh, trial: Trial) -> list[Finding]:
    """Rank the victim among the fresh twins, with the kit's references and with the checker's; and compare
    the kit's twins with the fresh ones."""
    with_kits = fresh.by_kits
    learnt = with_kits.twins
    if learnt < 3:
        why = (
            f"only {learnt} of {trial.twins} fresh twins learnt: the committed procedure does not train the"
            " victim's twins"
        )
        return [Finding("fresh twins", _unless_silent(opened, False), why)]
    refused, cautions = spoken(with_kits.exchangeability)
    said = (
        refused or "; ".join(cautions) or f"the victim looks like a draw of what trained {learnt} fresh twins"
    )
    found = [
        Finding("exchangeable", _unless_silent(opened, not refused), said),
        stated_twins(opened.kit.twin_test, with_kits.candidates, with_kits.answers),
        _ranked(opened, with_kits, "fresh twins", "the kit's"),
    ]
    found.append(accuracies(opened, with_kits, fresh.by_theirs))
    if fresh.by_theirs is not None:
        found.append(_ranked(opened, fresh.by_theirs, "fresh references", "the checker's"))
    return found


def _ranked(opened: Opened, test: TwinTest, name: str, whose: str) -> Finding:
    """The pack's decision again, among fresh twins, from the same answers: the suspect is not asked again."""
    meta = opened.evidence.meta
    again: Examined = test.judge(
        opened.answers, meta["level"], Access.named(meta["read_as"]), meta["p_value"], len(opened.answers)
    )
    now, stated = as_one_of(opened, again.verdict), meta["verdict"]
    text = (
        f"among {test.twins} fresh twins, with {whose} {len(test.references)} references,"
        f" {wording.headline(now)}: {now.reason}"
    )
    if stated["decision"] == now.decision:
        return Finding(name, True, text)
    text += (
        f"; the pack states {stated['decision']}, p {stated['p_value']}, among {opened.kit.twin_test.twins}"
        " twins of its own"
    )
    return Finding(name, False if stated["decision"] == Decision.STOLEN else None, text)


def _unless_silent(opened: Opened, passed: bool) -> bool | None:
    """A failed check, unless the kit accuses nobody and so cannot harm anybody."""
    return (
        None if opened.evidence.meta["verdict"]["decision"] == Decision.CANNOT_TELL and not passed else passed
    )
