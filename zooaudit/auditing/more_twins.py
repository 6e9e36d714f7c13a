"""Add twins to an existing kit: only the new ones are trained and asked, and no suspect is asked again.

The kit's questions were chosen by the references' answers, not by the candidates', so they serve any number
of twins. The new kit has its own id; the old one stays.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from zooaudit.auditing import steps, zoo_plan
from zooaudit.auditing.twin_step import asked_more
from zooaudit.config import OwnTraining, Recipe
from zooaudit.data.images import Dataset
from zooaudit.errors import ConfigError, InputError, NotEnoughModelsError
from zooaudit.kits.kit import FIRST, Kit, asked_as, read_kit, save_kit
from zooaudit.recipes.named import recipe_from
from zooaudit.storage.artifact import Artifact
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.models import load_record
from zooaudit.training.farm import Farm, Watch
from zooaudit.verdict.examined import Candidate
from zooaudit.verdict.twin_test import TwinTest
from zooaudit.zoo.build import Status
from zooaudit.zoo.plan import Plan
from zooaudit.zoo.spec import ModelSpec, Role


def committed_training(facts: dict[str, Any]) -> OwnTraining | None:
    """The owner's procedure that trained a kit's twins; None if our own recipe trained the victim, or if
    there is no procedure.

    Raises:
        InputError: the facts hold something else.
    """
    result = facts.get("training")
    try:
        return OwnTraining(**result) if result else None
    except TypeError as error:
        raise InputError(
            f"the kit's training procedure cannot be read ({error}); it was made by another version of"
            " zooaudit"
        ) from error


def twin_specs(
    recipe: Recipe, victim: str, dataset: Dataset, training: OwnTraining | None
) -> list[ModelSpec]:
    """The twins that the recipe plans for a kit's victim.

    Raises:
        ConfigError: it is unknown how the victim was trained.
        InputError: the recipe would train another victim.
    """
    if victim.startswith("victim-own-"):
        if training is None:
            raise ConfigError(
                f"the kit does not say how its victim {victim} was trained, so it can have no twins; audit"
                " again with --train or --train-command"
            )
        return zoo_plan.plan_for(recipe, dataset, victim, training).of(Role.TWIN)
    plan = zoo_plan.plan_for(recipe, dataset, None)
    if plan.victim != victim:
        raise InputError(
            f"the kit's recipe trains {plan.victim}, but the kit's victim is {victim}; its twins cannot be"
            " trained"
        )
    return plan.of(Role.TWIN)


def add_twins(
    kit: Artifact,
    twins: int,
    dataset: Dataset,
    artifacts: Artifacts,
    farm: Farm,
    watch: Watch,
    training: OwnTraining | None = None,
) -> Artifact:
    """A new kit with ``twins`` twins in all, or with as many as learn.

    Args:
        training: the owner's procedure as it is now; it trains the twins of the user's own victim.

    Raises:
        ConfigError: the kit has that many already, or the procedure has changed or is unknown.
        InputError: the data is not the kit's.
        NotEnoughModelsError: none of the new twins learnt.
    """
    found = read_kit(kit)
    _check(found, twins, dataset, training)
    recipe = recipe_from(found.facts["recipe"])
    recipe = replace(recipe, zoo=replace(recipe.zoo, twins=twins))
    there = {c.id for c in found.twin_test.candidates}
    new = [s for s in twin_specs(recipe, found.victim, dataset, training) if s.id not in there]
    plan = Plan(found.victim, tuple(new))
    if missing := zoo_plan.missing_models(plan, artifacts):
        farm.build(missing, dataset, artifacts, watch)
    records = {s.id: load_record(artifacts, s.id) for s in new}
    learnt = [Candidate(s.id, records[s.id].accuracy) for s in new if records[s.id].status is Status.LEARNT]
    if not learnt:
        why = next((records[s.id].reason for s in new), "")
        raise NotEnoughModelsError(f"none of {len(new)} new twins learnt ({why}); the kit stays as it is")
    facts = found.facts | {"recipe": asdict(recipe), FIRST: asked_as(kit)}
    return save_kit(
        artifacts,
        replace(found, twin_test=_grown(found.twin_test, learnt, recipe, dataset, artifacts), facts=facts),
    )


def _check(kit: Kit, twins: int, dataset: Dataset, training: OwnTraining | None) -> None:
    facts, there, committed = kit.facts, kit.twin_test.twins, committed_training(kit.facts)
    if twins <= there:
        raise ConfigError(
            f"the kit has {there} twins already; --twins is the number in all: expected at least {there + 1},"
            f" not {twins}"
        )
    if facts.get("data") != dataset.digest:
        raise InputError(
            f"the kit was made on data {facts.get('data')}, this is {dataset.digest} ({dataset.name}); give"
            " the same --data"
        )
    if committed and training and steps.settled(training) != steps.settled(committed):
        raise ConfigError(
            f"{committed.function or committed.command} is not the code that the kit's twins were trained by "
            f"(SHA-256 {committed.code[:16]}, now {training.code[:16]}): victim and twins must differ by the "
            "seed alone; restore that code, or audit again"
        )


def _grown(
    test: TwinTest, more: Sequence[Candidate], recipe: Recipe, dataset: Dataset, artifacts: Artifacts
) -> TwinTest:
    """The test with the new twins after the others."""
    new = asked_more(test, [c.id for c in more], recipe.twin_test, recipe.seed, dataset, artifacts)

    def joined(old: Tensor | None, added: Tensor | None, dim: int = 0) -> Tensor | None:
        return None if old is None or added is None else torch.cat([old, added], dim=dim)

    return replace(
        test,
        candidates=(*test.candidates, *more),
        answers=torch.cat([test.answers, new.plain]),
        behind=joined(test.behind, new.behind, dim=1),
        predicted=joined(test.predicted, new.predicted),
        defended=joined(test.defended, new.defended),
        defended_predicted=joined(test.defended_predicted, new.defended_predicted),
    )
