"""Recipes for an owner's own model."""

from pathlib import Path

import pytest
from safetensors.torch import save_file

from tests.support import owners
from zooaudit.data.images import Dataset
from zooaudit.planning.own_task import VictimFacts

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
