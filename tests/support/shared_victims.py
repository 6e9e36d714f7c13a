"""Victims that two workers of Ray train together."""

from tests.support.farms import quiet, with_zoo
from zooaudit.auditing.zoo_plan import plan
from zooaudit.config import TrainConfig
from zooaudit.data.images import Dataset
from zooaudit.data.resolve import load_digits
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.opening import open_store
from zooaudit.training.ray_farm import RayFarm
from zooaudit.zoo.spec import ModelSpec, Role


def family(dataset: Dataset, artifacts: Artifacts, epochs: int = 8) -> list[ModelSpec]:
    """Of the zoo of ``digits`` in float32, one of each role: both victims, a child of each,
    the others beside."""
    training = TrainConfig(epochs=epochs, precision="float32")
    specs = plan(with_zoo(training=training), dataset, artifacts, None).specs
    return [next(s for s in specs if s.role is role) for role in Role]


def share(store: str) -> None:
    """What the run that is to be disturbed does."""
    artifacts, digits = open_store(store), load_digits()
    RayFarm(victim_workers=2).build(family(digits, artifacts, epochs=150)[:1], digits, artifacts, quiet)
