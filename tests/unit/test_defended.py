"""A victim that defends itself: what it tells, how far that leads astray, and what a thief makes of it."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.support.makers import extracted_spec, trained_spec
from zooaudit.config import DEFENCES, Defence, ExtractConfig
from zooaudit.data.images import Dataset, to_unit
from zooaudit.errors import ConfigError
from zooaudit.reporting.findings import way
from zooaudit.suspects.access import Access
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.zoo.attacks import defended as defending
from zooaudit.zoo.attacks.asking import Thief
from zooaudit.zoo.attacks.defended import beginner, defended, deviation, mad, reverse_sigmoid
from zooaudit.zoo.attacks.extract import extract
from zooaudit.zoo.build import BuiltModel, Parent, build
from zooaudit.zoo.spec import ModelSpec

REAL = [d for d in DEFENCES if d != "none"]


@pytest.fixture
def images(digits: Dataset) -> Tensor:
    return to_unit(digits.test.images[:120])


def answers_of(victim: nn.Module, images: Tensor, **config: Any) -> tuple[Tensor, Tensor]:
    """The victim's answers, and what it tells of them."""
    box = TorchBlackBox(victim, 10)
    result = defended(box, ExtractConfig(**config)).ask(images)
    assert box.queries == len(images)
    return TorchBlackBox(victim, 10).ask(images), result


@pytest.mark.usefixtures("same_global_rng")
@pytest.mark.parametrize("defence", REAL)
def test_what_is_told_are_probabilities_others_than_the_victims_and_the_same_each_time(
    defence: Defence, learnt: nn.Module, images: Tensor
) -> None:
    true, output = answers_of(learnt, images, defence=defence)
    torch.testing.assert_close(output.sum(1), torch.ones(len(images)))
    assert output.dtype == torch.float32 and float(output.min()) >= 0
    assert float((output - true).abs().sum(1).min()) > 0.02
    assert torch.equal(output, answers_of(learnt, images, defence=defence)[1])


@pytest.mark.parametrize(("defence", "least"), [("reverse-sigmoid", 0.95), ("mad-argmax", 1.0)])
def test_the_likeliest_class_stays_where_that_is_promised(
    defence: Defence, least: float, learnt: nn.Module, images: Tensor
) -> None:
    true, output = answers_of(learnt, images, defence=defence)
    assert float((true.argmax(1) == output.argmax(1)).float().mean()) >= least


@pytest.mark.parametrize("budget", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("keep_label", [False, True])
def test_within_its_budget_an_answer_leads_farther_astray_than_chance_does(
    budget: float, keep_label: bool, learnt: nn.Module, images: Tensor
) -> None:
    true, surrogate = TorchBlackBox(learnt, 10).ask(images), beginner(images, 10)
    result = mad(true, surrogate, budget, keep_label)
    moved = (result - true).abs().sum(1)
    assert float(moved.max()) <= budget + 1e-5
    assert float(deviation(surrogate, true, result).mean()) > 1.2 * float(
        deviation(surrogate, true, by_chance(true, moved)).mean()
    )
    wider = mad(true, surrogate, min(2.0, 2 * budget), keep_label)
    assert bool((deviation(surrogate, true, wider) >= deviation(surrogate, true, result) - 1e-3).all())


def by_chance(true: Tensor, moved: Tensor) -> Tensor:
    """Towards random answers, as far as ``moved``, or as far as there is room."""
    other = torch.distributions.Dirichlet(torch.ones(true.shape[1])).sample((len(true),))
    step = other - true
    share = (moved / step.abs().sum(1)).clamp(max=1).unsqueeze(1)
    return true + share * step


def test_the_angle_is_that_of_the_last_layers_gradients() -> None:
    """Oracle: autograd, for one image at a time."""
    torch.manual_seed(0)
    layer, seen = nn.Linear(6, 4, bias=False), torch.randn(3, 6)
    true, output = torch.randn(3, 4).softmax(1), torch.randn(3, 4).softmax(1)

    def gradient(i: int, target: Tensor) -> Tensor:
        loss = nn.functional.cross_entropy(layer(seen[i : i + 1]), target[i : i + 1])
        return torch.autograd.grad(loss, layer.weight)[0].flatten()

    expected = [
        torch.nn.functional.cosine_similarity(gradient(i, true), gradient(i, output), dim=0).acos()
        for i in range(3)
    ]
    torch.testing.assert_close(deviation(layer(seen).softmax(1), true, output), torch.stack(expected))


def test_no_corner_leads_farther_astray(learnt: nn.Module, images: Tensor) -> None:
    """Oracle: each corner by itself, with plain loops."""
    true, surrogate = TorchBlackBox(learnt, 10).ask(images[:10]), beginner(images[:10], 10)
    result = deviation(surrogate, true, mad(true, surrogate, 0.7))
    for j, corner in enumerate(torch.eye(10)):
        for i in range(10):
            share = min(1.0, 0.7 / float((corner - true[i]).abs().sum()))
            reached = (1 - share) * true[i] + share * corner
            assert float(deviation(surrogate[i], true[i], reached)) <= float(result[i]) + 1e-3, (i, j)


def test_reverse_sigmoid_is_the_papers_formula() -> None:
    y = torch.tensor([[0.7, 0.2, 0.1]], dtype=torch.float64)
    changed = [v - 0.5 * (1 / (1 + ((1 - v) / v) ** 0.3) - 0.5) for v in y[0].tolist()]
    expected = torch.tensor([changed], dtype=torch.float64) / sum(changed)
    torch.testing.assert_close(reverse_sigmoid(y, 0.5, 0.3), expected)
    sure = reverse_sigmoid(torch.tensor([[1.0, 0.0, 0.0]]))
    assert bool(torch.isfinite(sure).all()) and sure.argmax() == 0


def test_many_classes_are_turned_in_parts(
    monkeypatch: pytest.MonkeyPatch, learnt: nn.Module, images: Tensor
) -> None:
    true, surrogate = TorchBlackBox(learnt, 10).ask(images), beginner(images, 10)
    whole = mad(true, surrogate, 1.0, True)
    monkeypatch.setattr(defending, "NUMBERS_AT_ONCE", 700)
    torch.testing.assert_close(mad(true, surrogate, 1.0, True), whole)


@pytest.mark.parametrize("labels", ["soft", "hard", "top-3", "rounded-2"])
@pytest.mark.parametrize("defence", REAL)
def test_labels_are_told_of_what_the_defence_leaves(
    defence: Defence, labels: Any, learnt: nn.Module, digits: Dataset
) -> None:
    config = ExtractConfig("distill", labels, seed_size=60, defence=defence)
    rounds: list[Tensor] = []
    extract(
        learnt,
        TorchBlackBox(learnt, 10),
        digits.test.images[:60],
        config,
        lambda _, targets, *__: rounds.append(targets),
    )
    _, left = answers_of(learnt, to_unit(digits.test.images[:60]), defence=defence)
    if labels == "hard":
        assert torch.equal(rounds[0], left.argmax(1))
    else:
        result = left if labels == "soft" else Access.named(labels).reduced(left)
        torch.testing.assert_close(rounds[0], result / result.sum(1, keepdim=True))


def test_a_data_free_thief_is_told_no_more(
    learnt: nn.Module, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DFME asks the victim itself, not through ``ask``."""
    seen: list[Tensor] = []
    monkeypatch.setattr(
        defending, "reverse_sigmoid", lambda answers: (seen.append(answers), reverse_sigmoid(answers))[1]
    )
    config = ExtractConfig("dfme", queries=140, defence="reverse-sigmoid")
    box = TorchBlackBox(learnt, 10)
    extract(Affine10(), box, digits.test.images[:1], config, lambda *_: None)
    assert sum(map(len, seen)) == box.queries > 100


class Affine10(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1))


def test_a_thief_of_a_victim_that_poisons_its_answers_learns_less(
    built: BuiltModel, learnt: nn.Module, digits: Dataset
) -> None:
    rates = {}
    for defence in ("none", "mad"):
        attack = ExtractConfig("distill", seed_size=500, final_epochs=15, defence=defence)
        record = build(
            extracted_spec(digits, built.spec, extraction=attack, optimiser="adam"),
            digits,
            Parent(learnt, built.record.accuracy),
        )
        assert record.record.queries == 500
        rates[defence] = record.record.recovery_rate or 0.0
    assert rates["mad"] < rates["none"] - 0.1, rates


def test_a_victim_without_a_defence_is_asked_itself(learnt: nn.Module, digits: Dataset) -> None:
    box = TorchBlackBox(learnt, 10)
    assert defended(box, ExtractConfig()) is box
    thief = Thief(
        defended(box, ExtractConfig()), digits.test.images[:5], ExtractConfig(), lambda *_: None, "float32", 0
    )
    torch.testing.assert_close(
        thief.ask(digits.test.images[:5]), answers_of(learnt, to_unit(digits.test.images[:5]))[0]
    )


def test_a_defence_makes_another_model_and_none_keeps_the_id(digits: Dataset) -> None:
    victim = trained_spec(digits)
    plain, poisoned = (
        extracted_spec(digits, victim, extraction=ExtractConfig(defence=d)) for d in ("none", "mad")
    )
    assert plain.id == extracted_spec(digits, victim, extraction=ExtractConfig()).id != poisoned.id
    assert not {"defence", "defence_budget"} & plain.to_json()["extraction"].keys()
    assert ModelSpec.from_json(poisoned.to_json()) == poisoned
    assert (
        way(poisoned) == "cloudleak, soft labels, against mad of 1" and way(plain) == "cloudleak, soft labels"
    )


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"defence": "rounding"}, "defence is 'rounding'; expected none, reverse-sigmoid, mad"),
        ({"defence": "mad", "defence_budget": 2.5}, r"defence_budget is 2.5; expected a number in \(0, 2\]"),
        (
            {"defence": "reverse-sigmoid", "defence_budget": 0.5},
            "only the defences mad and mad-argmax have a budget",
        ),
    ],
)
def test_what_is_no_defence_is_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        ExtractConfig(**wrong)
