"""Dataset Inference: how far a walk goes, who is said to know the learnt images, and what it cannot do."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor, nn

from tests.support.makers import Affine
from zooaudit.baselines.dataset_inference import (
    EXPOSED,
    LESSONS,
    LEVEL,
    NEEDED,
    NOISES,
    STEPS,
    Arbiter,
    blind_walk,
    welch,
)
from zooaudit.data.images import to_unit
from zooaudit.errors import ConfigError
from zooaudit.suspects.blackbox import TorchBlackBox

Pair = tuple[Tensor, Tensor]


def drawn(seed: int, count: int = NEEDED) -> Pair:
    """Images of a task that cannot be learnt, only remembered: labels at random."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 1, 6, 6), dtype=torch.uint8, generator=generator)
    return images, torch.randint(0, 3, (count,), generator=generator)


def remembering(pair: Pair, seed: int) -> nn.Module:
    """A net that knows the images by heart."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Flatten(), nn.Linear(36, 256), nn.ReLU(), nn.Linear(256, 3))
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(150):
        optimiser.zero_grad()
        F.cross_entropy(model(to_unit(pair[0]) - 0.5), pair[1]).backward()
        optimiser.step()
    centred = nn.Sequential(Centred(), model).eval()
    assert (centred(to_unit(pair[0])).argmax(1) == pair[1]).float().mean() > 0.95
    return centred


class Centred(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - 0.5


def box(model: nn.Module, classes: int = 3) -> TorchBlackBox:
    return TorchBlackBox(model, classes)


@pytest.fixture(scope="module")
def learnt() -> Pair:
    return drawn(1)


@pytest.fixture(scope="module")
def victim(learnt: Pair) -> nn.Module:
    return remembering(learnt, 1)


@pytest.fixture(scope="module")
def arbiter(victim: nn.Module, learnt: Pair) -> Arbiter:
    return Arbiter.of(box(victim).ask, learnt, drawn(2))


def test_a_walk_ends_where_plain_steps_end() -> None:
    """Of a linear model on grey images, which leave room for uniform noise: what is wrong
    once stays wrong."""
    model, generator = Affine(), torch.Generator().manual_seed(4)
    images = 0.5 + 0.05 * torch.rand(20, 1, 4, 4, generator=generator)
    labels = model(images).argmax(1)
    labels[:3] = (labels[:3] + 1) % 4
    found = blind_walk(box(model, 4).ask, images, labels, seed=7, starts=1)[:, 0]
    step = NOISES[0][0](images.shape, torch.Generator().manual_seed(7))
    for image, label, one, distance in zip(images, labels, step, found, strict=True):
        ends = next(
            (k for k in range(1, STEPS + 1) if model((image + k * one)[None]).argmax() != label), STEPS
        )
        assert float(distance) == pytest.approx(ends * float(one.abs().max()), rel=1e-4)
    assert (found[:3] < 0.0051).all(), "what is wrong already is at no distance"
    assert len(set(found.tolist())) > 5, "not all alike"


def test_walks_of_all_noises_are_measured_and_repeat() -> None:
    model, (images, labels) = Affine(36, 3), drawn(3, 30)
    found = blind_walk(box(model).ask, to_unit(images), labels, seed=1, starts=2)
    assert found.shape == (30, 6) and bool((found > 0).all())
    assert torch.equal(found, blind_walk(box(model).ask, to_unit(images), labels, seed=1, starts=2))
    assert not torch.equal(found, blind_walk(box(model).ask, to_unit(images), labels, seed=2, starts=2))


def test_a_walk_asks_few_questions() -> None:
    model, (images, labels) = box(Affine(36, 3)), drawn(3, 30)
    blind_walk(model.ask, to_unit(images), labels, seed=1, starts=2)
    assert 30 * 6 < model.queries <= 30 * 6 * (2 + math.ceil(math.log2(STEPS)))


def test_noises_are_as_large_as_they_should_be() -> None:
    generator, shape = torch.Generator().manual_seed(0), torch.Size([200_000])
    uniform, gaussian, laplace = (noise(shape, generator) for noise, _ in NOISES)
    assert float(uniform.abs().max()) <= 0.005 and float(uniform.abs().mean()) == pytest.approx(
        0.0025, rel=0.02
    )
    assert float(gaussian.std()) == pytest.approx(0.005, rel=0.02)
    assert float(laplace.abs().mean()) == pytest.approx(0.01, rel=0.02) and abs(float(laplace.mean())) < 2e-4


def test_who_learnt_the_images_is_told_from_who_did_not(arbiter: Arbiter, victim: nn.Module) -> None:
    assert arbiter.p_value(box(victim).ask) < LEVEL
    copy = remembering(drawn(1), 1)
    with torch.no_grad():
        for weight in copy.parameters():
            weight.add_(
                0.05 * weight.std() * torch.randn(weight.shape, generator=torch.Generator().manual_seed(5))
            )
    assert arbiter.p_value(box(copy).ask) < LEVEL
    assert arbiter.p_value(box(remembering(drawn(9), 4)).ask) > LEVEL


def test_a_twin_cannot_be_told_from_the_victim(arbiter: Arbiter, learnt: Pair) -> None:
    """By design: it learnt the same images; so there is no rank among twins."""
    assert arbiter.p_value(box(remembering(learnt, 2)).ask) < LEVEL


def test_the_same_dispute_ends_alike(arbiter: Arbiter, victim: nn.Module, learnt: Pair) -> None:
    before = torch.random.get_rng_state()
    again = Arbiter.of(box(victim).ask, learnt, drawn(2))
    assert again.p_value(box(victim).ask) == arbiter.p_value(box(victim).ask)
    assert torch.equal(before, torch.random.get_rng_state()), "no other draw is disturbed"


def test_a_model_that_never_changes_its_mind_shows_nothing(learnt: Pair) -> None:
    def ask(images: Tensor) -> Tensor:
        return torch.eye(3)[:1].expand(len(images), 3)

    alike = learnt[0], torch.zeros_like(learnt[1])
    assert Arbiter.of(ask, alike, alike).p_value(ask) == pytest.approx(0.5), "both are the same images"


def test_p_by_hand() -> None:
    low, high = np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0])
    assert welch(low, high) == pytest.approx(stats.t.sf(3 / math.sqrt(2 / 3), 4)) and welch(high, low) > 0.98
    assert welch(np.full(5, -1.0), np.full(5, 1.0)) == 0.0 and welch(np.ones(5), np.ones(5)) == 1.0


def test_what_the_regressor_learns_on_is_not_what_is_tested(arbiter: Arbiter, learnt: Pair) -> None:
    assert len(arbiter.learnt[0]) == len(arbiter.other[0]) == EXPOSED
    assert torch.equal(arbiter.learnt[0], to_unit(learnt[0][LESSONS:NEEDED]))


@pytest.mark.parametrize(("few", "word"), [(0, "that the model learnt"), (1, "that it did not learn")])
def test_too_few_images_are_refused(few: int, word: str) -> None:
    pairs = [drawn(1), drawn(2)]
    pairs[few] = drawn(1, NEEDED - 1)
    with pytest.raises(ConfigError, match=rf"449 images {word}; it needs 450"):
        Arbiter.of(box(Affine(36, 3)).ask, pairs[0], pairs[1])
