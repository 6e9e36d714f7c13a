"""A tiny zoo of the digits, for all that does not ask how well models learnt: every role, thirteen models
that train in a second or two."""

from dataclasses import replace

from zooaudit.config import (
    EncoderConfig,
    ExtractConfig,
    FingerprintConfig,
    OwnTraining,
    Recipe,
    TrainConfig,
    UapConfig,
    VerdictConfig,
)
from zooaudit.data.images import Dataset
from zooaudit.recipes.named import DIGITS
from zooaudit.storage.artifacts import Artifacts
from zooaudit.studies.bench import Bench, NoFarm
from zooaudit.training.farm import Farm
from zooaudit.zoo.planner import Planner
from zooaudit.zoo.shape import ModelShape
from zooaudit.zoo.spec import ModelSpec

TINY = replace(
    DIGITS,
    name="tiny",
    zoo=replace(
        DIGITS.zoo,
        victim_architecture="C",
        twins=0,
        references=0,
        architectures=("C",),
        encoder_architectures=("C",),
        optimisers=("sgd",),
        suspects_per_cell=3,
        encoder_per_role=2,
        other_victims=1,
        look_alikes_per_victim=1,
        training=TrainConfig(epochs=3, precision="float32"),
        widths=(4, 8),
        hidden=16,
        extraction=ExtractConfig(seed_size=60, rounds=1, round_epochs=2, final_epochs=4),
        accuracy_floor=0.2,
        # by chance some learn nothing, and a file that torch exports is another one wherever it is made
        recovery_floor=0.0,
    ),
    uap=UapConfig(epsilon=0.35, points=100, max_steps=8, batch_size=32),
    fingerprint=FingerprintConfig(points=8, views=4),
    encoder=EncoderConfig("hellinger", steps=20),
    paper_encoder=EncoderConfig(steps=20),
    verdict=VerdictConfig(fingerprints=4, repeats=3, min_reference_models=2),
)


def bench(dataset: Dataset, artifacts: Artifacts, farm: Farm | None = None, recipe: Recipe = TINY) -> Bench:
    """A bench on the tiny zoo, or another; without a farm it may not build."""
    return Bench(recipe, dataset, artifacts, farm or NoFarm(), lambda _: None)


def twins(own: OwnTraining, dataset: Dataset, count: int = 1, floor: float = 0.0) -> list[ModelSpec]:
    zoo = replace(TINY.zoo, twins=count, references=0, accuracy_floor=floor)
    mean, std = dataset.channel_stats
    shape = ModelShape(dataset.image_shape, dataset.num_classes, mean, std, zoo.widths, zoo.hidden)
    return Planner(zoo, dataset.digest, shape, 0).own_twins(own)
