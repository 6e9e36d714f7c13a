"""Every study, run once on a tiny zoo, for the tests that look at what came of it."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType

import pytest

from tests.support import zoos
from zooaudit.data.images import Dataset
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.opening import open_store
from zooaudit.studies import (
    encoders,
    extractions,
    modifications,
    strengths,
    subspaces,
    thieves,
    under_twins,
)
from zooaudit.studies.bench import Bench
from zooaudit.studies.registry import STUDIES
from zooaudit.studies.runner import Result, run_study
from zooaudit.training.farm import Farm, SerialFarm

TINY = dataclasses.replace(zoos.TINY, zoo=dataclasses.replace(zoos.TINY.zoo, twins=2))


def bench(dataset: Dataset, artifacts: Artifacts, farm: Farm | None = None) -> Bench:
    return zoos.bench(dataset, artifacts, farm, TINY)


@contextmanager
def smaller_studies() -> Iterator[None]:
    """Studies with fewer models, UAPs and steps, but all of their kinds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thieves, "PER_SHARE", 1)
        for name, value in {"STARTS": 2, "FEW": 2, "MANY": 10}.items():
            patch.setattr(encoders, name, value)
        changes: tuple[tuple[ModuleType, dict[str, object]], ...] = (
            (
                modifications,
                {"ITERATIONS": (1, 2), "EPOCHS": (1, 2), "PRUNED": (0.2,), "PRUNED_CHANNELS": (0.2,)},
            ),
            (extractions, {"PER_CELL": 1, "SEED_SHARES": (0.02, 0.05), "ROUNDS": (0, 1)}),
            (strengths, {"TIMES": (0.5, 1.0), "PER_CELL": 2}),
            (under_twins, {"VIEWS": 2, "PAIRS": 10}),
        )
        for module, changed in changes:
            for wanted, small in changed.items():
                patch.setattr(module, wanted, small)
        patch.setattr(strengths, "DEEPFOOL", {"batch_size": 8, "points": 20, "max_steps": 4})
        patch.setattr(
            subspaces,
            "ARMS",
            tuple(dataclasses.replace(arm, most=3, steps=3, points=20) for arm in subspaces.ARMS),
        )
        yield


@pytest.fixture(scope="module")
def small_studies() -> Iterator[None]:
    """For tests that run one again."""
    with smaller_studies():
        yield


@dataclass(frozen=True)
class Studied:
    """The bench that all studies were run on, what they gave, and the store that keeps it."""

    bench: Bench
    results: dict[str, Result]
    place: str


@pytest.fixture(scope="session")
def studied(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Studied:
    """It takes most of a minute: files that ask for it are of the group ``studies``, for one worker."""
    place = str(tmp_path_factory.mktemp("studies") / "store")
    working = bench(digits, open_store(place), SerialFarm())
    with smaller_studies():
        results = {name: run_study(study, working, {"command": "a test"}) for name, study in STUDIES.items()}
    return Studied(working, results, place)
