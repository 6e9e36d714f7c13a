"""Many UAPs at once are those that are made one by one."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from zooaudit.config import UapConfig
from zooaudit.data.images import Dataset
from zooaudit.paper import many_uaps as batched
from zooaudit.paper.many_uaps import many_uaps
from zooaudit.paper.uap import craft_uap

CONFIGS = [
    UapConfig(method="gradient", norm="linf", epsilon=0.3, points=60, max_steps=8, batch_size=20),
    UapConfig(method="gradient", norm="l2", epsilon=2.0, points=60, max_steps=8, batch_size=20),
    UapConfig(method="deepfool", norm="linf", epsilon=0.3, points=50, max_steps=7, batch_size=20),
    UapConfig(method="deepfool", norm="l2", epsilon=2.0, points=50, max_steps=7, batch_size=20),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.method}-{c.norm}")
@pytest.mark.parametrize("at_once", [40, 10_000])
def test_the_same_as_one_by_one(
    config: UapConfig,
    at_once: int,
    learnt: nn.Module,
    digits: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    same_global_rng: None,
) -> None:
    monkeypatch.setattr(batched, "MOST_ON_CPU", at_once)
    found = many_uaps(learnt, digits.train.images, config, range(5))
    alone = [
        craft_uap(learnt, digits.train.images, digits.test.images[:10], config, seed).v for seed in range(5)
    ]
    assert torch.allclose(found, torch.stack(alone), atol=1e-4)
    assert not torch.allclose(found[0], found[1], atol=1e-2)


def test_deepfool_goes_on_for_those_that_are_not_done(learnt: nn.Module, digits: Dataset) -> None:
    """A ball so large that some fool all of their few images early, while others still step."""
    config = replace(CONFIGS[3], epsilon=9.0, points=8, max_steps=60, batch_size=4)
    alone = [
        craft_uap(learnt, digits.train.images, digits.test.images[:10], config, seed) for seed in range(6)
    ]
    assert len({u.steps for u in alone}) > 1
    found = many_uaps(learnt, digits.train.images, config, range(6))
    assert torch.allclose(found, torch.stack([u.v for u in alone]), atol=1e-3)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.method}-{c.norm}")
def test_all_lie_in_their_ball(config: UapConfig, learnt: nn.Module, digits: Dataset) -> None:
    found = many_uaps(learnt, digits.train.images, config, range(3)).flatten(1)
    length = found.abs().amax(1) if config.norm == "linf" else found.norm(dim=1)
    assert float(length.max()) <= config.epsilon * (1 + 1e-6)
    assert float(length.min()) > 0.1 * config.epsilon
