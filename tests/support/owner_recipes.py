"""Recipes for an owner's own model."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from tests.support import owners
from zooaudit.config import Recipe
from zooaudit.data.images import Dataset
from zooaudit.planning.new_recipe import derived, made
from zooaudit.planning.own_task import DataFacts, VictimFacts

Capture = pytest.CaptureFixture[str]


def victim(accuracy: float = 0.9, has_training: bool = True) -> VictimFacts:
    return VictimFacts("mine.safetensors", 100_000, accuracy, has_training)


@pytest.fixture
def own_weights(digits: Dataset, tmp_path: Path) -> Path:
    """An owner's linear model of the digits, which ``tests.support.owners:train`` trained."""
    path = tmp_path / "mine.safetensors"
    save_file(owners.train(digits.train.images, digits.train.labels, 1).state_dict(), path)
    return path


OWN = ("--factory", owners.FACTORY, "--train", "tests.support.owners:train")


def new(file: Path, *more: str) -> list[str]:
    return ["recipe", "new", "--dataset", "digits", "--out", str(file), *more]


def folder(at: Path, classes: int, each: tuple[int, int], side: int, mode: str) -> Path:
    """A class folder of PNG files: a bright bar where the class is, and noise."""
    rng = np.random.default_rng(0)
    for part, count in zip(("train", "test"), each, strict=True):
        for label in range(classes):
            place = at / part / f"class {label}"
            place.mkdir(parents=True)
            for i in range(count):
                image = rng.integers(0, 120, (side, side, len(mode)), dtype=np.uint8)
                start = label * side // classes
                image[:, start : start + side // classes] += 130
                Image.fromarray(image[..., 0] if mode == "L" else image, mode).save(place / f"{i}.png")
    return at


def facts(
    train: int = 60_000,
    test: int = 10_000,
    image: tuple[int, int, int] = (1, 28, 28),
    classes: int = 10,
    linear: float = 0.8,
) -> DataFacts:
    each = train // classes
    return DataFacts("shirts", train, test, image, classes, each, each, 1 / classes, linear)


def recipe_for(data: DataFacts, own: VictimFacts | None = None) -> Recipe:
    return made("mine", derived(data, own))
