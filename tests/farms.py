"""Farms and recipes for tests of the whole audit."""

from dataclasses import replace

from tests.makers import ATTACK
from zooaudit.config import EncoderConfig, Recipe, TrainConfig, VerdictConfig
from zooaudit.data.images import Dataset
from zooaudit.errors import FarmError
from zooaudit.farm import SerialFarm, Watch
from zooaudit.recipes import DIGITS
from zooaudit.storage.artifacts import Artifacts
from zooaudit.zoo.spec import ModelSpec


def quiet(_: object) -> None:
    """Watches nothing."""


class Interrupted:
    """A farm that is stopped after a few models, as by Ctrl-C or a full cluster."""

    def build(self, specs: list[ModelSpec], dataset: Dataset, artifacts: Artifacts, watch: Watch) -> int:
        SerialFarm().build(specs[:6], dataset, artifacts, watch)
        raise FarmError("stopped")


class Untouched:
    """A farm that must not be asked."""

    def build(self, specs: list[ModelSpec], dataset: Dataset, artifacts: Artifacts, watch: Watch) -> int:
        raise AssertionError(f"{len(specs)} models would have been trained")


def with_zoo(recipe: Recipe = DIGITS, **changes: object) -> Recipe:
    return replace(recipe, zoo=replace(recipe.zoo, **changes))  # type: ignore[arg-type]


SMALL = replace(
    with_zoo(
        architectures=("C",), optimisers=("sgd", "adam", "rmsprop"), look_alikes_per_victim=1,
        training=TrainConfig(epochs=2), extraction=ATTACK,
        accuracy_floor=0.0, recovery_floor=0.0,
    ),
    name="small", uap=replace(DIGITS.uap, max_steps=30), encoder=replace(DIGITS.encoder, steps=30),
    paper_encoder=EncoderConfig(steps=30), verdict=VerdictConfig(fingerprints=8, min_reference_models=2),
)  # fmt: skip
"""A whole audit of models that learn little: for tests that look at its way through farm and store. 13 models, in a few seconds."""
