"""Named, full configurations. A variant is three lines: ``replace`` what differs and register the result."""

from dataclasses import replace

from zooaudit.config import (
    EncoderConfig,
    ExtractConfig,
    FingerprintConfig,
    Recipe,
    TrainConfig,
    UapConfig,
    VerdictConfig,
    ZooConfig,
)
from zooaudit.errors import ConfigError

DIGITS = Recipe(
    name="digits",
    dataset="digits",
    zoo=ZooConfig(
        architectures=("B", "C"),
        optimisers=("sgd", "adam"),
        batch_sizes=(32, 64),
        encoder_per_role=2,
        other_victims=1,
        look_alikes_per_victim=2,
        training=TrainConfig(epochs=8),
        widths=(8, 16),
        hidden=32,
        extraction=ExtractConfig(seed_size=150, rounds=2, round_epochs=4, final_epochs=12),
        accuracy_floor=0.70,
        recovery_floor=0.70,
    ),
    uap=UapConfig(epsilon=0.35, points=600, max_steps=150, batch_size=128),
    fingerprint=FingerprintConfig(points=20, views=8),
    encoder=EncoderConfig("hellinger", steps=200),
    verdict=VerdictConfig(fingerprints=8),
)

FMNIST_QUICK = Recipe(
    name="fmnist-quick",
    dataset="fashion-mnist",
    seed=1,
    zoo=ZooConfig(
        encoder_architectures=("B", "C", "D", "E"),
        epochs=(("A", 6), ("B", 3), ("C", 12), ("D", 3)),
        mirrored=("A", "C"),
        second_attack=ExtractConfig(attack="jbda"),
    ),
    encoder=EncoderConfig("hellinger"),
)

FMNIST_PAPER = replace(
    FMNIST_QUICK,
    name="fmnist-paper",
    seed=7,
    zoo=replace(
        FMNIST_QUICK.zoo,
        encoder_architectures=("E", "B", "C", "D"),
        encoder_per_role=20,
        second_attack=None,
        suspects_per_cell=10,
        other_victims=4,
        look_alikes_per_victim=6,
    ),
    paper_encoder=EncoderConfig(architectures=("E",)),
)

RECIPES = {r.name: r for r in (DIGITS, FMNIST_QUICK, FMNIST_PAPER)}


def get_recipe(name: str) -> Recipe:
    """Look a recipe up by name; raise ConfigError with the known names if there is none."""
    if name not in RECIPES:
        raise ConfigError(f"unknown recipe {name!r}; known recipes: {', '.join(sorted(RECIPES))}")
    return RECIPES[name]
