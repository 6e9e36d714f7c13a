"""Farms and recipes for tests of the whole audit."""

from dataclasses import replace

from zooaudit.config import Recipe
from zooaudit.data.images import Dataset
from zooaudit.errors import FarmError
from zooaudit.recipes.named import DIGITS
from zooaudit.storage.artifacts import Artifacts
from zooaudit.training.farm import SerialFarm, Watch
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
    return replace(recipe, zoo=replace(recipe.zoo, **changes))
