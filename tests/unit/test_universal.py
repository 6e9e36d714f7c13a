"""Universal perturbations: inside their ball, measured by hand, and the published loop."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.support.oracles import deepfool as textbook
from zooaudit.config import UapConfig
from zooaudit.data.images import Dataset, to_unit
from zooaudit.paper.uap import craft_uap, deepfool_uap, fooling_rate, predict, project

CONFIGS = [
    UapConfig(method="gradient", norm="linf", epsilon=0.3, points=300, max_steps=60),
    UapConfig(method="gradient", norm="l2", epsilon=2.0, points=300, max_steps=60),
    UapConfig(method="deepfool", norm="linf", epsilon=0.3, points=300, max_steps=60, batch_size=20),
    UapConfig(method="deepfool", norm="l2", epsilon=2.0, points=100, max_steps=20, batch_size=20),
]
IDS = [f"{c.method}-{c.norm}" for c in CONFIGS]


def length(v: Tensor, norm: str) -> float:
    return float(v.abs().max() if norm == "linf" else v.norm())


@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
def test_fools_most_of_the_images_it_has_not_seen_from_inside_the_ball(
    config: UapConfig, learnt: nn.Module, digits: Dataset
) -> None:
    uap = craft_uap(learnt, digits.train.images, digits.test.images, config, seed=0)
    assert uap.v.shape == digits.image_shape
    assert length(uap.v, config.norm) <= config.epsilon * (1 + 1e-6)
    assert length(uap.v, config.norm) > 0.5 * config.epsilon, "the ball does not bind"
    assert uap.fooling_rate > 0.35
    assert 0 < uap.steps <= config.max_steps
    assert (uap.epsilon, uap.norm, uap.method) == (config.epsilon, config.norm, config.method)
    noise = torch.where(torch.rand(uap.v.shape, generator=torch.Generator().manual_seed(0)) < 0.5, -1.0, 1.0)
    chance = fooling_rate(
        learnt, to_unit(digits.test.images), project(noise * 10, config.norm, config.epsilon)
    )
    assert uap.fooling_rate > chance + 0.1, "no better than random signs"


@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
def test_same_seed_same_bits_other_seed_other_bits(
    config: UapConfig, learnt: nn.Module, digits: Dataset, same_global_rng: None
) -> None:
    short = replace(config, max_steps=5)
    first, again, other = (
        craft_uap(learnt, digits.train.images, digits.test.images, short, seed) for seed in (1, 1, 2)
    )
    assert torch.equal(first.v, again.v)
    assert not torch.equal(first.v, other.v)


def test_rates_are_measured_on_their_own_images(learnt: nn.Module, digits: Dataset) -> None:
    config = replace(CONFIGS[0], points=200)
    uap = craft_uap(learnt, digits.train.images[:200], digits.test.images, config, seed=0)
    assert uap.fooling_rate == fooling_rate(learnt, to_unit(digits.test.images), uap.v)
    assert uap.crafting_rate == pytest.approx(fooling_rate(learnt, to_unit(digits.train.images[:200]), uap.v))


def test_fooling_rate_by_hand(learnt: nn.Module, digits: Dataset) -> None:
    images = to_unit(digits.test.images)
    v = torch.full(digits.image_shape, 0.25)
    with torch.no_grad():
        fooled = [
            int(learnt(x[None]).argmax()) != int(learnt((x + v).clamp(0, 1)[None]).argmax()) for x in images
        ]
    assert fooling_rate(learnt, images, v) == pytest.approx(sum(fooled) / len(fooled))
    assert 0 < sum(fooled) < len(fooled)
    assert fooling_rate(learnt, images, torch.zeros(digits.image_shape)) == 0


def test_sums_are_clipped_to_the_image_range() -> None:
    """Both images are white already: v cannot make them any whiter, so nothing changes."""

    class Brightness(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            mean = x.flatten(1).mean(1)
            return torch.stack([mean, torch.full_like(mean, 1.1)], 1)

    white = torch.ones(2, 1, 4, 4)
    assert fooling_rate(Brightness(), white, torch.full((1, 4, 4), 0.5)) == 0
    assert fooling_rate(Brightness(), white - 0.7, torch.full((1, 4, 4), 0.9)) == 0


@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.15), ("l2", 1.0)])
def test_deepfool_uap_one_by_one_is_algorithm_1(
    norm: str, epsilon: float, learnt: nn.Module, digits: Dataset
) -> None:
    images = to_unit(digits.train.images[:12])
    config = UapConfig(method="deepfool", norm=norm, epsilon=epsilon, batch_size=1, max_steps=18)
    v, steps = deepfool_uap(learnt, images, config, torch.Generator().manual_seed(5))
    orders = torch.Generator().manual_seed(5)
    passes = [torch.randperm(12, generator=orders) for _ in range(30)]
    expected = textbook.universal(learnt, images, passes, norm, epsilon, 18)
    torch.testing.assert_close(v, expected, atol=1e-4, rtol=1e-3)
    assert 0 < steps <= 18
    assert length(v, norm) <= epsilon * (1 + 1e-6)


def test_deepfool_uap_stops_when_everybody_is_fooled(learnt: nn.Module, digits: Dataset) -> None:
    images = to_unit(digits.train.images[:3])
    config = UapConfig(method="deepfool", norm="l2", epsilon=8.0, batch_size=1, max_steps=500)
    v, steps = deepfool_uap(learnt, images, config, torch.Generator().manual_seed(0))
    assert fooling_rate(learnt, images, v) == 1
    assert steps < 500


def test_more_steps_than_none_are_taken_on_few_images(learnt: nn.Module, digits: Dataset) -> None:
    config = replace(CONFIGS[0], batch_size=500, max_steps=3)
    assert craft_uap(learnt, digits.train.images[:4], digits.test.images[:4], config, 0).steps == 3


def test_the_victim_is_left_alone(learnt: nn.Module, digits: Dataset) -> None:
    before = {k: v.clone() for k, v in learnt.state_dict().items()}
    for config in CONFIGS:
        craft_uap(learnt, digits.train.images[:50], digits.test.images[:50], replace(config, max_steps=3), 0)
    assert all(torch.equal(before[k], v) for k, v in learnt.state_dict().items())
    assert all(p.grad is None for p in learnt.parameters())


VECTORS = st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=12)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@given(values=VECTORS, epsilon=st.floats(0.01, 4))
def test_projection_is_the_nearest_point_of_the_ball(norm: str, values: list[float], epsilon: float) -> None:
    v = torch.tensor(values).view(1, 1, -1)
    projected = project(v, norm, epsilon)
    torch.testing.assert_close(projected, textbook.project(v, norm, epsilon), atol=1e-5, rtol=1e-5)
    assert length(projected, norm) <= epsilon * (1 + 1e-5)
    if length(v, norm) <= epsilon:
        assert torch.equal(projected, v), "a point of the ball must stay where it is"
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):  # no other point of the ball is nearer
        other = textbook.project(torch.randn(v.shape, generator=generator) * epsilon, norm, epsilon)
        assert (v - projected).norm() <= (v - other).norm() + 1e-4


def test_labels_are_those_of_the_model_batch_by_batch(learnt: nn.Module, digits: Dataset) -> None:
    images = to_unit(digits.train.images[:1100])
    with torch.no_grad():
        assert torch.equal(predict(learnt, images), learnt(images).argmax(1))
