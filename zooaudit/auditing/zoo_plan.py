"""The step before any training: plan the zoo, find missing models, check that the data suffices."""

import torch

from zooaudit.auditing.victim_check import remedy
from zooaudit.config import OwnTraining, Recipe
from zooaudit.data.images import Dataset
from zooaudit.errors import ConfigError, DataError, ModelError
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.models import KIND, OwnModel, load_record, save_own
from zooaudit.storage.parallel import in_parallel
from zooaudit.zoo.build import ModelRecord, Status
from zooaudit.zoo.fit import accuracy
from zooaudit.zoo.plan import Plan, plan_zoo
from zooaudit.zoo.shape import ModelShape
from zooaudit.zoo.spec import ModelSpec

SAMPLE = 500
"""How many test images other contracts of a victim are tried on."""


def plan(recipe: Recipe, dataset: Dataset, artifacts: Artifacts, own: OwnModel | None) -> Plan:
    """The plan of the zoo; the user's own victim, if given, is measured and committed first."""
    check_sizes(recipe, len(dataset.train), own is not None)
    planned = plan_for(recipe, dataset, own.id if own else None, own.training if own else None)
    if own is not None:
        _commit_own(own, recipe, dataset, artifacts)
    return planned


def plan_for(
    recipe: Recipe, dataset: Dataset, own_victim: str | None, own_training: OwnTraining | None = None
) -> Plan:
    """The plan for an existing victim, with twins if its training procedure is known, or for a victim to
    train."""
    mean, std = dataset.channel_stats
    shape = ModelShape(
        dataset.image_shape, dataset.num_classes, mean, std, recipe.zoo.widths, recipe.zoo.hidden
    )
    return plan_zoo(recipe.zoo, dataset.digest, shape, recipe.seed, own_victim, own_training)


def check_sizes(recipe: Recipe, images: int, own: bool) -> None:
    """Refuse data that is too small, before any training.

    Args:
        images: the size of the training set.
        own: whether the victim is the user's own, which may have seen all of them.

    Raises:
        ConfigError, DataError: the data is too small.
    """
    held = images if own else round(images * recipe.zoo.data_fraction)
    n, views = recipe.fingerprint.points, recipe.fingerprint.views
    if n * views > held:
        raise ConfigError(
            f"{n} datapoints x {views} views need {n * views:,} images, but the victim's training set has"
            f" {held:,}; lower FingerprintConfig.points or views"
        )
    left = images if own else images - held
    for attack in (recipe.zoo.extraction, recipe.zoo.second_attack, *recipe.zoo.thieves):
        if attack and attack.images == "domain" and attack.images_needed > left:
            raise DataError(
                f"the attack's seed set asks for {attack.images_needed} images outside the victim's training"
                f" set, which leaves {left}; lower {'pool_size, ' if attack.chooses else ''}seed_size or"
                " data_fraction"
            )


def _commit_own(own: OwnModel, recipe: Recipe, dataset: Dataset, artifacts: Artifacts) -> None:
    """Store the user's own victim, unless it is there. A recipe with a higher floor may still refuse it."""
    there = artifacts.has(KIND, own.id)
    device = dataset.test.images.device
    reached = (
        load_record(artifacts, own.id).accuracy if there else accuracy(own.load().to(device), dataset.test)
    )
    if reached < recipe.zoo.accuracy_floor:
        sample = dataset.test.take(
            torch.randperm(len(dataset.test), generator=torch.Generator().manual_seed(0))[:SAMPLE]
        )
        advice = (
            remedy(own.loaded(), own.asked, sample)
            or "is it the right model for this data, and is it asked as it expects (--contract)? If it is as"
            " good as the task allows, 'zooaudit recipe new' makes a recipe with floors that fit"
        )
        raise ModelError(
            f"{own.path} has accuracy {reached:.3f} on the test images, under the recipe's floor"
            f" {recipe.zoo.accuracy_floor:g}; {advice}"
        )
    if not there:
        save_own(artifacts, own, ModelRecord(Status.LEARNT, reached, None, 0, 0.0, 0, "own"))


def missing_models(plan: Plan, artifacts: Artifacts) -> list[ModelSpec]:
    """Specs of the models that the store lacks. Twins that the owner's own procedure failed to train are
    removed from it and tried again: the owner may have fixed the cause, for example a full disk, without
    changing the code that their names depend on.
    """
    there = set(artifacts.ids(KIND))
    for spec in plan.specs:
        if (
            spec.own_training is not None
            and spec.id in there
            and load_record(artifacts, spec.id).status is Status.FAILED
        ):
            artifacts.remove(KIND, spec.id)
            there.remove(spec.id)
    return [s for s in plan.specs if s.id not in there]


def records(plan: Plan, artifacts: Artifacts) -> dict[str, ModelRecord]:
    """The outcome of every model of the plan, the victim included."""
    ids = list(dict.fromkeys([plan.victim, *(s.id for s in plan.specs)]))
    return dict(zip(ids, in_parallel(lambda id_: load_record(artifacts, id_), ids), strict=True))
