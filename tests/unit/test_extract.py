"""Model extraction: what is asked, what is crafted, and that it works."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.support.makers import FAST, Affine, shape_of
from zooaudit.compute import seeded
from zooaudit.config import ExtractConfig
from zooaudit.data.images import Dataset, to_unit
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.zoo.arch import build_architecture
from zooaudit.zoo.attacks.asking import ask_labels
from zooaudit.zoo.attacks.crafted import jacobian_step, least_certain, move_to_boundary
from zooaudit.zoo.attacks.extract import extract
from zooaudit.zoo.fit import accuracy, fit

CPU = torch.device("cpu")
Round = tuple[Tensor, Tensor, int, int]


def attack(
    victim: nn.Module, seeds: Tensor, substitute: nn.Module | None = None, **config: Any
) -> tuple[TorchBlackBox, list[Round]]:
    """Extract without training: what was asked and with what the substitute would have been trained."""
    rounds: list[Round] = []
    box = TorchBlackBox(victim, 10)
    extract(
        substitute or victim,
        box,
        seeds,
        ExtractConfig(**({"seed_size": 10} | config)),
        lambda *r: rounds.append(r),
    )
    return box, rounds


@pytest.mark.parametrize(
    ("name", "rounds", "labelled"),
    [
        ("cloudleak", 0, [60]),
        ("cloudleak", 1, [60, 120]),
        ("cloudleak", 3, [60, 120, 180, 240]),
        ("jbda", 0, [60]),
        ("jbda", 1, [60, 120]),
        ("jbda", 3, [60, 120, 240, 480]),
    ],
)
def test_queries_are_seeds_and_crafted_points(
    name: str, rounds: int, labelled: list[int], learnt: nn.Module, digits: Dataset
) -> None:
    box, trained = attack(
        learnt, digits.train.images[:60], attack=name, rounds=rounds, round_epochs=2, final_epochs=5
    )
    assert box.queries == labelled[-1], "every labelled image is one query and nothing else is asked"
    assert [len(images) for images, *_ in trained] == labelled
    assert [epochs for _, _, epochs, _ in trained] == [2] * rounds + [5]
    assert [number for *_, number in trained] == list(range(rounds + 1)), "each round must have its own seed"


@pytest.mark.parametrize("name", ["cloudleak", "jbda"])
def test_every_image_goes_with_the_victims_own_answer(name: str, learnt: nn.Module, digits: Dataset) -> None:
    with seeded(5, CPU):
        substitute = build_architecture("C", shape_of(digits)).eval()
    for labels in ("soft", "hard"):
        _, trained = attack(
            learnt, digits.train.images[:50], substitute, attack=name, rounds=2, labels=labels
        )
        images, targets, *_ = trained[-1]
        assert images.dtype == torch.uint8
        assert torch.equal(images[:50], digits.train.images[:50])
        with torch.no_grad():
            expected = learnt(to_unit(images)).softmax(1)
        if labels == "soft":
            torch.testing.assert_close(targets, expected, atol=1e-5, rtol=0)
        else:
            assert targets.dtype == torch.int64
            assert torch.equal(targets, expected.argmax(1))


def test_the_victim_is_asked_nothing_but_bytes(learnt: nn.Module, digits: Dataset) -> None:
    """An attacker can upload images only: every pixel is a multiple of 1/255."""
    seen: list[Tensor] = []

    class Listening(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x)
            return learnt(x)

    attack(Listening(), digits.train.images[:30], learnt, rounds=2)
    asked = torch.cat(seen) * 255
    assert len(asked) == 90
    assert (asked - asked.round()).abs().max() < 1e-3
    assert asked.min() >= 0
    assert asked.max() <= 255


def margin(model: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        top = model(to_unit(images)).topk(2, 1).values
    return top[:, 0] - top[:, 1]


@pytest.mark.parametrize(("step", "epsilon"), [(0.1, 0.15), (0.05, 0.2), (0.3, 0.1)])
def test_crafted_points_lie_nearer_to_the_boundary_inside_the_ball(
    step: float, epsilon: float, learnt: nn.Module, digits: Dataset
) -> None:
    images = digits.test.images[:100]
    moved = move_to_boundary(learnt, images, step, epsilon)
    assert moved.dtype == torch.uint8
    distance = (moved.int() - images.int()).abs().amax((1, 2, 3)) / 255
    assert distance.max() <= epsilon + 1e-6, "a pixel moved by more than epsilon_linf"
    assert distance.max() > 0.05
    before, after = margin(learnt, images), margin(learnt, moved)
    assert after.mean() < 0.6 * before.mean()
    assert (after < before + 0.05).float().mean() > 0.95


def test_points_on_an_affine_models_boundary_are_reached_in_one_newton_step() -> None:
    """With room to move, the two likeliest classes of a linear model end up equal, to the
    rounding of pixels."""
    model = Affine(inputs=64, classes=3)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(100, 156, (20, 1, 8, 8), generator=generator, dtype=torch.uint8)
    moved = move_to_boundary(model, images, 0.5, 0.5)
    near = margin(model, moved) < 0.1 * margin(model, images)
    assert near.float().mean() > 0.8


def test_jacobian_step_follows_finite_differences(learnt: nn.Module, digits: Dataset) -> None:
    images = digits.test.images[:3].clamp(60, 190)  # room to move either way
    targets = torch.tensor([4, 0, 7])
    moved = jacobian_step(learnt, images, targets, 0.1, "float32")

    def score(x: Tensor, target: Tensor) -> float:
        with torch.no_grad():
            return float(learnt.double()(x[None]).softmax(1)[0, target])

    try:
        checked = 0
        for image, target, result in zip(images, targets, moved, strict=True):
            unit, h = image.double() / 255, 1e-5
            slopes = torch.zeros(64, dtype=torch.float64)
            for pixel in range(64):
                nudge = torch.zeros(64, dtype=torch.float64)
                nudge[pixel] = h
                slopes[pixel] = (
                    score(unit + nudge.view_as(unit), target) - score(unit - nudge.view_as(unit), target)
                ) / (2 * h)
            clear = slopes.abs() > 0.01 * slopes.abs().max()
            step = result.flatten().int() - image.flatten().int()
            assert torch.equal(step[clear].sign(), slopes[clear].sign().int())
            assert set(step[clear].abs().tolist()) <= {25, 26}  # 0.1 of 255
            checked += int(clear.sum())
    finally:
        learnt.float()
    assert checked > 30


def test_jacobian_step_takes_the_likeliest_of_soft_labels(learnt: nn.Module, digits: Dataset) -> None:
    images = digits.test.images[:20]
    soft = torch.rand(20, 10, generator=torch.Generator().manual_seed(0)).softmax(1)
    assert torch.equal(
        jacobian_step(learnt, images, soft, 0.1), jacobian_step(learnt, images, soft.argmax(1), 0.1)
    )
    assert not torch.equal(jacobian_step(learnt, images, soft, 0.1), images)


def test_least_certain_points_have_the_smallest_margins(learnt: nn.Module, digits: Dataset) -> None:
    images = digits.test.images[:300]
    chosen = least_certain(learnt, images, 20)
    with torch.no_grad():
        top = learnt(to_unit(images)).softmax(1).topk(2, 1).values
    margins = top[:, 0] - top[:, 1]
    assert len(set(chosen.tolist())) == 20
    assert margins[chosen].mean() < 1.1 * margins.sort().values[:20].mean() + 1e-3
    assert len(least_certain(learnt, images[:5], 20)) == 5


def test_hard_labels_are_the_victims_top_ones(learnt: nn.Module, digits: Dataset) -> None:
    box = TorchBlackBox(learnt, 10)
    images = digits.test.images[:260]  # more than one batch
    soft, hard = ask_labels(box, images, "soft"), ask_labels(box, images, "hard")
    assert torch.equal(soft.argmax(1), hard)
    torch.testing.assert_close(soft.sum(1), torch.ones(260))
    assert box.queries == 520


@pytest.mark.parametrize("name", ["cloudleak", "jbda"])
def test_an_extracted_model_agrees_with_its_victim(name: str, learnt: nn.Module, digits: Dataset) -> None:
    with seeded(11, CPU):
        substitute = build_architecture("B", shape_of(digits))

    def retrain(images: Tensor, targets: Tensor, epochs: int, round_: int) -> None:
        fit(
            substitute,
            images,
            targets,
            optimiser="adam",
            batch_size=32,
            training=FAST,
            epochs=epochs,
            seed=round_,
        )

    config = ExtractConfig(attack=name, seed_size=200, rounds=2, round_epochs=3, final_epochs=8)
    extract(substitute, TorchBlackBox(learnt, 10), digits.train.images[:200], config, retrain)
    assert accuracy(substitute, digits.test) > 0.7 * accuracy(learnt, digits.test)


def test_extraction_leaves_the_victim_alone(learnt: nn.Module, digits: Dataset) -> None:
    before = {k: v.clone() for k, v in learnt.state_dict().items()}
    attack(learnt, digits.train.images[:30], rounds=2)
    assert all(torch.equal(before[k], v) for k, v in learnt.state_dict().items())
