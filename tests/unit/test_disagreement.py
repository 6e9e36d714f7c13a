"""DisGUIDE: a thief without any image, whose two substitutes disagree."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.support.makers import Affine, extracted_spec, shape_of, trained_spec
from zooaudit.compute import seeded
from zooaudit.config import ExtractConfig
from zooaudit.data.images import Dataset, to_unit
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.zoo.arch import begin_anew, build_architecture
from zooaudit.zoo.attacks import disagreement as attack
from zooaudit.zoo.attacks.data_free import Generator, apart
from zooaudit.zoo.attacks.disagreement import Replay, disagreement, diversity
from zooaudit.zoo.attacks.extract import extract
from zooaudit.zoo.build import BuiltModel, Parent, build
from zooaudit.zoo.fit import DivergedError
from zooaudit.zoo.schedule import relative_cost

BLANK = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
TASK = torch.randint(0, 256, (500, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


class Linear(Affine):
    """Linear about images of 0.5, so that no class is the usual answer."""

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1) - 0.5)


def ignorant() -> Linear:
    """It is sure of nothing yet."""
    model = Linear(seed=99)
    with torch.no_grad():
        model.linear.weight.mul_(0.1)
    return model


class Listening(TorchBlackBox):
    """A victim that remembers what it was asked."""

    def __init__(self, module: nn.Module, classes: int) -> None:
        super().__init__(module, classes)
        self.asked: list[Tensor] = []

    def ask(self, images: Tensor) -> Tensor:
        self.asked.append(images)
        return super().ask(images)


def stolen(queries: int, labels: str = "soft", seed: int = 0, **config: Any) -> tuple[Linear, Listening]:
    thief, box = ignorant(), Listening(Linear(seed=1), 4)
    made = ExtractConfig("disguide", labels, queries=queries, **config)
    extract(thief, box, BLANK, made, lambda *_: None, "float32", seed)
    return thief, box


def same_label(first: nn.Module, second: nn.Module) -> float:
    with torch.no_grad():
        return float((first(to_unit(TASK)).argmax(1) == second(to_unit(TASK)).argmax(1)).float().mean())


@pytest.mark.parametrize("labels", ["soft", "hard", "top-1", "rounded-1"])
def test_few_questions_and_labels_alone_are_enough(labels: str) -> None:
    thief, box = stolen(6000, labels)
    assert 5800 <= box.queries <= 6000
    assert same_label(thief, Linear(seed=1)) > 0.5 > 0.35 > same_label(ignorant(), Linear(seed=1)), (
        "a quarter is chance"
    )


@pytest.mark.parametrize("queries", [100, 101, 1023, 1025, 2047])
def test_never_more_questions_than_are_allowed(queries: int) -> None:
    _, box = stolen(queries)
    assert 0.8 * queries <= box.queries == sum(map(len, box.asked)) <= queries


def test_questions_are_images_as_a_service_is_sent() -> None:
    _, box = stolen(300)
    asked = torch.cat(box.asked)
    assert asked.shape[1:] == (1, 4, 4) and bool((asked >= 0).all()) and bool((asked <= 1).all())
    torch.testing.assert_close((asked * 255).round() / 255, asked)
    assert float(asked.std()) > 0.1


def test_the_same_seed_steals_the_same_and_another_asks_others() -> None:
    (first, a), (again, b), (_, c) = stolen(300), stolen(300), stolen(300, seed=1)
    assert torch.equal(first.linear.weight, again.linear.weight)
    assert torch.equal(torch.cat(a.asked), torch.cat(b.asked)) and not torch.equal(
        torch.cat(a.asked), torch.cat(c.asked)
    )


@pytest.mark.usefixtures("same_global_rng")
def test_an_attack_leaves_the_global_generator_alone(learnt: nn.Module, digits: Dataset) -> None:
    substitute = copy.deepcopy(learnt).requires_grad_(True)
    extract(
        substitute,
        TorchBlackBox(learnt, 10),
        digits.test.images[:1],
        ExtractConfig("disguide", queries=100),
        lambda *_: None,
    )


def test_dropout_is_drawn_from_the_seed(digits: Dataset, learnt: nn.Module) -> None:
    made = []
    for noise in (1, 2):
        with seeded(5, torch.device("cpu")):
            substitute = build_architecture("E", shape_of(digits))
        torch.manual_seed(noise)
        extract(
            substitute,
            TorchBlackBox(learnt, 10),
            digits.test.images[:1],
            ExtractConfig("disguide", queries=100),
            lambda *_: None,
        )
        made.append(substitute.head.weight)
    assert torch.equal(*made)


def test_the_generator_goes_where_the_substitutes_disagree() -> None:
    """Nothing learns but the generator."""
    pair = (Affine(seed=1), Affine(seed=2))
    with seeded(0, torch.device("cpu")):
        generator, noise = Generator((1, 4, 4)), torch.randn(128, 64)
    optimiser = torch.optim.Adam(generator.parameters(), 5e-3)
    before, *_, after = (
        apart_on(attack._invented(generator, pair, optimiser, noise), *pair) for _ in range(60)
    )
    assert after > before + 0.05


def apart_on(images: Tensor, first: nn.Module, second: nn.Module) -> float:
    with torch.no_grad():
        return float(disagreement(*(m(to_unit(images)).softmax(1) for m in (first, second))))


def test_disagreement_and_diversity_are_shares() -> None:
    one, other, even = torch.eye(4), torch.eye(4).roll(1, 0), torch.full((4, 4), 0.25)
    assert float(disagreement(one, other)) == 1 and float(disagreement(one, one)) == 0
    torch.testing.assert_close(
        disagreement(one, even), torch.stack([one, even]).std(0, correction=0).sum(1).mean()
    )
    assert float(diversity(one)) == pytest.approx(1) and float(diversity(one[:1])) == pytest.approx(
        0, abs=1e-6
    )


def test_both_begin_with_other_weights_and_learn_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[int, list[Tensor]] = {}
    first_weights: dict[int, Tensor] = {}
    learn = attack._learn

    def watched(model: nn.Module, optimiser: Any, images: Tensor, told: Tensor, exact: bool) -> None:
        first_weights.setdefault(id(model), model.linear.weight.detach().clone())
        seen.setdefault(id(model), []).append(images)
        learn(model, optimiser, images, told, exact)

    monkeypatch.setattr(attack, "_learn", watched)
    _, box = stolen(120)
    (ours, theirs), (a, b) = seen.values(), first_weights.values()
    assert not torch.equal(a, b) and all(map(torch.equal, ours, theirs))
    assert len(ours) == len(box.asked) * (1 + attack.REPLAYED)
    asked = {bytes((i * 255).round().to(torch.uint8).numpy().tobytes()) for x in box.asked for i in x}
    assert all(bytes(i.numpy().tobytes()) in asked for x in ours for i in x), "it learns from nothing else"


def test_the_newest_answers_are_kept() -> None:
    images = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1)
    replay = Replay.like(images[:2], images[:2].flatten(), 4)
    for part in images.split(2):
        replay.put(part, part.flatten())
        drawn, output = replay.drawn(50, torch.Generator().manual_seed(0))
        assert torch.equal(drawn.flatten(), output)
    assert set(output.tolist()) == {2, 3, 4, 5}


def test_large_images_fill_no_more_than_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attack, "KEPT_BYTES", 100)
    assert len(Replay.like(BLANK, torch.zeros(1), 1000).images) == 6
    assert len(Replay.like(TASK, torch.zeros(500), 1000).images) == 500, "one batch at least"


def test_targets_are_the_logits_but_for_a_constant() -> None:
    logits = torch.randn(5, 4)
    assert float(apart(logits - logits.mean(1, keepdim=True), logits.softmax(1)).max()) < 1e-5


def test_a_substitute_whose_loss_is_no_number_is_marked() -> None:
    thief = Affine()
    with torch.no_grad():
        thief.linear.weight.fill_(torch.nan)
    with pytest.raises(DivergedError, match="while the substitutes learn from invented images"):
        extract(
            thief, TorchBlackBox(Affine(), 4), BLANK, ExtractConfig("disguide", queries=100), lambda *_: None
        )


def test_it_is_built_as_every_thief(built: BuiltModel, learnt: nn.Module, digits: Dataset) -> None:
    spec = extracted_spec(
        digits, trained_spec(digits), extraction=ExtractConfig("disguide", "hard", queries=6000)
    )
    record = build(spec, digits, Parent(learnt, built.record.accuracy)).record
    assert record.queries <= 6000 and record.recovery_rate is not None and record.recovery_rate > 0.2, record
    dfme = extracted_spec(digits, trained_spec(digits), extraction=ExtractConfig("dfme", queries=6000))
    assert relative_cost(spec, 1000) > relative_cost(dfme, 1000) > 0


def test_a_net_that_begins_anew_has_other_weights(learnt: nn.Module) -> None:
    with seeded(0, torch.device("cpu")):
        begin_anew(anew := copy.deepcopy(learnt))
    pairs = [(a, b) for a, b in zip(anew.parameters(), learnt.parameters(), strict=True) if a.ndim > 1]
    assert pairs and not any(torch.equal(a, b) for a, b in pairs)
