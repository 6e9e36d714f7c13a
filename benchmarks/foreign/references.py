"""Reference models: made by zooaudit's own code on purpose, and of the kinds that its plan for a zoo has."""

from functools import cache

import torch
from torch import nn

from benchmarks.foreign.data import Data, derive
from benchmarks.foreign.models import SIDES
from zooaudit.config import ExtractConfig, TrainConfig, ZooConfig
from zooaudit.data.images import Dataset, ImageSet
from zooaudit.zoo.arch import build_architecture
from zooaudit.zoo.build import Parent, Status, build
from zooaudit.zoo.planner import Planner
from zooaudit.zoo.shape import ModelShape
from zooaudit.zoo.spec import ModelSpec

COUNT = ZooConfig().references
IMAGES = {"fashion-mnist": 10_000 / 40_000, "cifar10": 10_000 / 33_333}
"""Share of the owners' two thirds of the training images that each is trained on."""
STATISTICS = {
    "fashion-mnist": ((0.286,), (0.353,)),
    "cifar10": ((0.491, 0.482, 0.447), (0.247, 0.243, 0.262)),
}
"""Mean and standard deviation of the pixels."""
CLASSES = tuple("0123456789")


@cache
def specs(name: str) -> tuple[ModelSpec, ...]:
    """The references of a data set, strangers before what is extracted from them; smaller
    than a recipe's, as all models here are."""
    colour = name == "cifar10"
    extraction = ExtractConfig(seed_size=2500, rounds=2, final_epochs=7 if colour else 5, augment=colour)
    zoo = ZooConfig(
        references=COUNT,
        data_fraction=IMAGES[name],
        hidden=64,
        training=TrainConfig(epochs=5 if colour else 3, mirror=colour, shift=1),
        extraction=extraction,
        second_attack=ExtractConfig("jbda", "soft", 1500, 2, 2, extraction.final_epochs, augment=colour),
        accuracy_floor=0.35 if colour else 0.7,
        recovery_floor=0.7,
        batch_sizes=(64, 128),
    )
    channels, side = SIDES[name]
    shape = ModelShape((channels, side, side), 10, *STATISTICS[name], zoo.widths, zoo.hidden)
    return tuple(Planner(zoo, name, shape, derive("references", name)).references())


def made(data: Data, index: int, parent: nn.Module | None, parent_accuracy: float) -> tuple[nn.Module, int]:
    """The reference with that index, and how many images it asked its parent about.

    Raises:
        ArithmeticError: it did not learn.
    """
    spec = specs(data.name)[index]
    test = ImageSet(data.natural, data.natural_labels)
    dataset = Dataset(data.name, ImageSet(data.images, data.labels), test, CLASSES, "benchmarks.foreign")
    built = build(spec, dataset, Parent(parent, parent_accuracy) if parent else None)
    if built.record.status is Status.FAILED:
        raise ArithmeticError(f"{spec.id} did not learn: {built.record.reason}")
    model = build_architecture(spec.architecture, spec.shape)
    model.load_state_dict({k: torch.as_tensor(v) for k, v in built.weights.items()})
    return model.eval(), built.record.queries
