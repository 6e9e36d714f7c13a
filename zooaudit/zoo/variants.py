"""Specs of models for studies only, each derived from a spec of the zoo: modified, overlapping, poorly
extracted. Pure."""

import dataclasses
from collections.abc import Sequence

from zooaudit.config import ExtractConfig, ModifyConfig, Overlap
from zooaudit.errors import ConfigError
from zooaudit.seeds import derive
from zooaudit.zoo.spec import Group, ModelSpec
from zooaudit.zoo.transferred import FEWEST


def modified(base: ModelSpec, config: ModifyConfig, parent: ModelSpec | None = None) -> ModelSpec:
    """``base`` after a thief's modification, or continued from ``parent``, an earlier stage of the same
    modification.

    Raises:
        ConfigError: this model cannot be modified in this way.
    """
    if config.kind == "averaged" and base.start is None:
        raise ConfigError(
            f"averaged: {base.id} ({base.architecture}) was trained from scratch; expected a model that began"
            " with"
            ' a public checkpoint, which the thief fine-tunes, too: zoo.victim_architecture = "start" and'
            " [zoo.start], or a net with one of [[zoo.checkpoints]]"
        )
    if config.kind == "transfer" and base.shape.num_classes < FEWEST:
        raise ConfigError(
            f"transfer keeps half of the classes; {base.id} has {base.shape.num_classes}, expected {FEWEST}"
            " or more"
        )
    return dataclasses.replace(
        base,
        group=Group.STUDY,
        seed=derive(base.seed, config.kind, config.strength),
        modification=config,
        extraction=None,
        overlap=None,
        parent=(parent or base).id,
        parent_split_seed=None,
        floor=0.0,
    )


def hardened(base: ModelSpec, iterations: Sequence[int], config: ModifyConfig) -> list[ModelSpec]:
    """``base`` after each of these numbers of iterations (ascending) of adversarial training, where each
    stage continues the one before."""
    stages: list[ModelSpec] = []
    for count in iterations:
        done = stages[-1].modification.strength if stages and stages[-1].modification else 0
        stage = dataclasses.replace(config, kind="adversarial", strength=count, start=done)
        stages.append(modified(base, stage, stages[-1] if stages else None))
    return stages


def overlapping(base: ModelSpec, share: float, victim_seed: int) -> ModelSpec:
    """A homologous model like ``base`` whose training half lies to ``share`` in the victim's (paper appendix
    C.2)."""
    seed = derive(base.seed, "overlap", share)
    return dataclasses.replace(base, group=Group.STUDY, seed=seed, overlap=Overlap(share, victim_seed))


def weaker(base: ModelSpec, attack: ExtractConfig, turn: int) -> ModelSpec:
    """A piracy model like ``base``, extracted by a weaker attack; it counts as having learnt, however poor it
    is (paper figure 6c)."""
    seed = derive(base.seed, "weaker", attack.seed_size, turn)
    return dataclasses.replace(base, group=Group.STUDY, seed=seed, extraction=attack, floor=0.0)
