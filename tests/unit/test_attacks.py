"""Thieves who choose their questions, and thieves who make them up: what they ask, and that
they learn from it."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.support.makers import extracted_spec, shape_of, trained_spec
from zooaudit.compute import seeded
from zooaudit.config import Attack, ExtractConfig, TrainConfig
from zooaudit.data.images import Dataset, to_unit
from zooaudit.data.splits import random_part
from zooaudit.seeds import derive
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.zoo.arch import build_architecture
from zooaudit.zoo.attacks import chosen, extract
from zooaudit.zoo.attacks.asking import ask_labels
from zooaudit.zoo.attacks.data_free import Generator
from zooaudit.zoo.build import Parent, Status, build, training_half
from zooaudit.zoo.fit import accuracy
from zooaudit.zoo.spec import ModelSpec, Role

CHOICES = ("uncertainty", "k-centre", "deepfool")
Made = tuple[TorchBlackBox, list[tuple[Tensor, Tensor, int, int]]]


def attacked(victim: nn.Module, images: Tensor, substitute: nn.Module, **config: Any) -> Made:
    """Without training: what was asked, and with what the substitute would have been trained."""
    rounds: list[tuple[Tensor, Tensor, int, int]] = []
    box = TorchBlackBox(victim, 10)
    extract.extract(
        substitute, box, images, ExtractConfig(**config), lambda *r: rounds.append(r), "float32", seed=3
    )
    return box, rounds


@pytest.fixture
def substitute(digits: Dataset) -> nn.Module:
    with seeded(5, torch.device("cpu")):
        return build_architecture("C", shape_of(digits)).eval()


def rows_of(images: Tensor) -> set[bytes]:
    return {bytes(i.numpy().tobytes()) for i in images}


@pytest.mark.parametrize(
    ("config", "labelled"),
    [
        ({"attack": "distill", "rounds": 2}, [40]),
        ({"attack": "knockoff", "rounds": 0}, [40]),
        ({"attack": "knockoff", "rounds": 2, "pool_size": 400}, [40, 80, 120]),
        *[
            ({"attack": "activethief", "rounds": 2, "pool_size": 300, "choice": c}, [40, 80, 120])
            for c in CHOICES
        ],
    ],
)
@pytest.mark.parametrize("labels", ["soft", "hard"])
def test_what_is_asked_is_counted_and_never_twice(
    config: dict[str, Any],
    labels: str,
    labelled: list[int],
    learnt: nn.Module,
    substitute: nn.Module,
    digits: Dataset,
) -> None:
    made = ExtractConfig(seed_size=40, labels=labels, **config)
    images = digits.train.images[: made.images_needed]
    box, rounds = attacked(learnt, images, substitute, seed_size=40, labels=labels, **config)
    assert box.queries == made.most_queries == labelled[-1]
    assert [len(i) for i, *_ in rounds] == labelled
    asked, targets, *_ = rounds[-1]
    assert len(rows_of(asked)) == len(rows_of(asked) & rows_of(images)) == labelled[-1]
    with torch.no_grad():
        expected = learnt(to_unit(asked)).softmax(1)
    assert (
        torch.equal(targets, expected.argmax(1))
        if labels == "hard"
        else torch.allclose(targets, expected, atol=1e-5)
    )


@pytest.mark.parametrize("attack", ["knockoff", "activethief"])
def test_the_same_seed_asks_the_same(
    attack: Attack, learnt: nn.Module, substitute: nn.Module, digits: Dataset
) -> None:
    images = digits.train.images[:400]
    once, again = (
        attacked(learnt, images, substitute, attack=attack, seed_size=40, rounds=1, pool_size=400)[1]
        for _ in range(2)
    )
    assert torch.equal(once[-1][0], again[-1][0])


def test_an_active_thief_asks_about_what_the_substitute_knows_least(
    learnt: nn.Module, substitute: nn.Module, digits: Dataset
) -> None:
    images = digits.train.images[:300]
    _, rounds = attacked(
        learnt, images, substitute, attack="activethief", seed_size=30, rounds=1, pool_size=300
    )
    first, asked = rounds[0][0], rounds[1][0]

    def margin(x: Tensor) -> Tensor:
        with torch.no_grad():
            top = substitute(to_unit(x)).softmax(1).topk(2).values
        return top[:, 0] - top[:, 1]

    left = torch.stack([i for i in images if bytes(i.numpy().tobytes()) not in rows_of(asked)])
    assert (
        torch.equal(asked[:30], first) and float(margin(asked[30:]).max()) <= float(margin(left).min()) + 1e-6
    )


def test_centres_are_far_from_what_is_held_and_from_each_other() -> None:
    held, others = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.1, 0.0], [5.0, 0.0], [5.1, 0.0], [0.0, 3.0]])
    assert chosen._centres(held, others, 2).tolist() == [2, 3]


def test_a_knockoff_thief_comes_back_to_what_paid() -> None:
    """Images of one of two kinds are worth nothing; it asks about the other more and more."""
    kinds = torch.tensor([0, 1]).repeat(500)
    wanted, generator, left = (
        torch.zeros(2),
        torch.Generator().manual_seed(0),
        torch.ones(1000, dtype=torch.bool),
    )
    shares = []
    for _ in range(4):
        new = chosen._drawn(wanted, kinds, left, 100, generator)
        shares.append(float(kinds[new].float().mean()))
        wanted = chosen._learnt(wanted, kinds[new], kinds[new].float())
        left[new] = False
    assert 0.35 < shares[0] < 0.65 and shares[-1] > 0.8


def test_a_victim_that_says_one_class_only_is_no_error(substitute: nn.Module, digits: Dataset) -> None:
    """As of textures it may, by labels."""
    rewards = chosen._rewards(substitute, digits.train.images[:20], torch.zeros(20, dtype=torch.int64))
    assert rewards.shape == (20,) and bool(torch.isfinite(rewards).all())


@pytest.mark.parametrize("labels", ["top-1", "top-3", "rounded-1", "rounded-2"])
def test_a_thief_learns_no_more_than_is_told(labels: Any, learnt: nn.Module, digits: Dataset) -> None:
    box = TorchBlackBox(learnt, 10)
    result = ask_labels(box, digits.test.images[:50], labels)
    with torch.no_grad():
        full = learnt(to_unit(digits.test.images[:50])).softmax(1)
    torch.testing.assert_close(result.sum(1), torch.ones(50))
    if labels.startswith("top"):
        assert int((result > 0).sum(1).max()) == int(labels[-1])
        assert torch.equal(result.argmax(1), full.argmax(1))
    else:
        decimals = int(labels[-1])
        expected = full.round(decimals=decimals)
        torch.testing.assert_close(result, expected / expected.sum(1, keepdim=True))


def test_answers_that_are_rounded_to_nothing_are_no_nan() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(64, 30))
    nn.init.zeros_(flat[1].weight)
    nn.init.zeros_(flat[1].bias)
    result = ask_labels(TorchBlackBox(flat, 30), torch.zeros(3, 1, 8, 8, dtype=torch.uint8), "rounded-1")
    torch.testing.assert_close(result, torch.full((3, 30), 1 / 30))


def test_a_generator_makes_images_of_any_size() -> None:
    for shape in ((1, 8, 8), (3, 32, 32), (1, 28, 28), (3, 33, 47)):
        made = Generator(shape)(torch.randn(3, 64))
        assert made.shape == (3, *shape) and float(made.detach().abs().max()) <= 1


WORKS: dict[str, tuple[dict[str, Any], float]] = {
    "distill": ({"seed_size": 400, "final_epochs": 30}, 0.8),
    "distill own": ({"seed_size": 400, "final_epochs": 30, "images": "own", "labels": "hard"}, 0.8),
    "distill top-3": ({"seed_size": 400, "final_epochs": 30, "labels": "top-3"}, 0.8),
    "knockoff textures": ({"seed_size": 1500, "rounds": 0, "final_epochs": 15, "images": "textures"}, 0.25),
    "copycat": (
        {"seed_size": 1500, "rounds": 0, "final_epochs": 15, "images": "textures", "labels": "hard"},
        0.2,
    ),
    "knockoff adaptive": (
        {"seed_size": 300, "rounds": 3, "round_epochs": 4, "final_epochs": 15, "images": "textures"},
        0.2,
    ),
    "activethief": (
        {"seed_size": 60, "rounds": 4, "round_epochs": 10, "final_epochs": 40, "pool_size": 650},
        0.75,
    ),
    "dfme": ({"queries": 60_000}, 0.3),
    "disguide": ({"queries": 8_000, "labels": "hard"}, 0.4),
}


@pytest.mark.parametrize("name", WORKS)
def test_each_attack_takes_something_of_the_victim(
    name: str, digits: Dataset, victim: tuple[ModelSpec, Parent]
) -> None:
    """Far from chance, though of other images than the task's, or of none."""
    spec, parent = victim
    config, least = WORKS[name]
    attack = ExtractConfig(**({"attack": name.split()[0].replace("copycat", "knockoff")} | config))
    training = TrainConfig(epochs=1, lr_adam=4e-3, precision="float32")
    thief = extracted_spec(
        digits,
        spec,
        extraction=attack,
        optimiser="adam",
        training=training,
        shape=shape_of(digits, (8, 16), 32),
    )
    built = build(thief, digits, parent)
    assert built.record.status is Status.LEARNT and not built.record.reason
    assert built.record.recovery_rate is not None and built.record.recovery_rate > least, built.record
    assert 0.9 * attack.most_queries <= built.record.queries <= attack.most_queries


@pytest.fixture(scope="module")
def victim(digits: Dataset) -> tuple[ModelSpec, Parent]:
    spec = trained_spec(
        digits,
        role=Role.VICTIM,
        training=TrainConfig(epochs=30, precision="float32"),
        shape=shape_of(digits, (8, 16), 32),
    )
    built = build(spec, digits, None)
    module = build_architecture(spec.architecture, spec.shape)
    module.load_state_dict(built.weights)
    assert accuracy(module, digits.test) > 0.9
    return spec, Parent(module.eval(), built.record.accuracy)


def asked_by(monkeypatch: pytest.MonkeyPatch, spec: ModelSpec, dataset: Dataset, parent: Parent) -> Tensor:
    """The images that a thief has."""
    seen: list[Tensor] = []
    whole = extract.extract

    def watched(substitute: nn.Module, box: Any, images: Tensor, *rest: Any) -> None:
        seen.append(images)
        whole(substitute, box, images, *rest)

    monkeypatch.setattr("zooaudit.zoo.build.extract", watched)
    build(spec, dataset, parent)
    return seen[0]


def test_whose_images_they_are(
    monkeypatch: pytest.MonkeyPatch, digits: Dataset, victim: tuple[ModelSpec, Parent]
) -> None:
    spec, parent = victim
    held = rows_of(digits.train.images[training_half(spec, digits.train)])
    images = {
        source: asked_by(
            monkeypatch,
            extracted_spec(
                digits,
                spec,
                extraction=ExtractConfig("distill", seed_size=100, final_epochs=1, images=source),
            ),
            digits,
            parent,
        )
        for source in ("domain", "own", "textures")
    }
    assert rows_of(images["own"]) <= held and not rows_of(images["domain"]) & held
    assert (
        not rows_of(images["textures"]) & rows_of(digits.train.images)
        and len(rows_of(images["textures"])) == 100
    )
    assert random_part(len(digits.train), spec.data_fraction, derive(spec.seed, "split")).numel() == len(held)
