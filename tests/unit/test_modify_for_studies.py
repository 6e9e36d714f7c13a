"""Changes to models that studies make."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.support.makers import extracted_spec, trained_spec, weights
from zooaudit.config import Modification, ModifyConfig, Overlap
from zooaudit.data.images import Dataset, ImageSet
from zooaudit.data.splits import overlapping_part, random_part
from zooaudit.errors import ConfigError, DataError
from zooaudit.zoo import modify as modifying
from zooaudit.zoo import modify_adversarial as adversarial
from zooaudit.zoo.build import BuiltModel, training_half
from zooaudit.zoo.fit import accuracy
from zooaudit.zoo.modify import modify
from zooaudit.zoo.modify_steps import step
from zooaudit.zoo.variants import modified, overlapping, weaker


@given(share=st.floats(0, 1), size=st.integers(20, 400), seed=st.integers(0, 10))
def test_an_overlap_is_what_was_asked_for(share: float, size: int, seed: int) -> None:
    taken = random_part(size, 0.5, 99)
    part = overlapping_part(size, 0.5, taken, share, seed)
    assert len(part) == len(taken) == len(set(part.tolist()))
    assert abs(len(set(part.tolist()) & set(taken.tolist())) - share * len(part)) <= 1.5


def test_an_overlap_that_cannot_be_is_named() -> None:
    with pytest.raises(DataError, match=r"overlap of 0 .* data_fraction"):
        overlapping_part(100, 0.8, random_part(100, 0.8, 1), 0.0, 2)


def test_an_overlapping_model_trains_on_that_half(built: BuiltModel, digits: Dataset) -> None:
    victim = training_half(built.spec, digits.train)
    for share in (0.0, 0.5, 1.0):
        spec = overlapping(trained_spec(digits), share, built.spec.seed)
        assert spec.overlap == Overlap(share, built.spec.seed)
        half = training_half(spec, digits.train)
        assert abs(len(set(half.tolist()) & set(victim.tolist())) / len(half) - share) < 0.01


def test_variants_differ_in_id_and_come_out_the_same_each_time(built: BuiltModel, digits: Dataset) -> None:
    base = extracted_spec(digits, built.spec)
    assert base.extraction is not None
    attack = replace(base.extraction, seed_size=12)
    made = [
        weaker(base, attack, 0),
        weaker(base, attack, 1),
        modified(base, ModifyConfig("prune", 0.1)),
        modified(base, ModifyConfig("prune", 0.2)),
    ]
    assert len({s.id for s in [base, *made]}) == 5
    assert weaker(base, attack, 1) == made[1]
    assert made[0].floor == 0 and made[0].parent == base.parent


def test_half_of_each_batch_has_the_models_own_uap_on_it(
    learnt: nn.Module, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    crafted: list[torch.Tensor] = []

    def white(model: nn.Module, images: torch.Tensor, *_: object) -> tuple[torch.Tensor, int]:
        assert not model.training and len(images) == len(digits.test)
        crafted.append(torch.ones_like(images[0]))
        return crafted[-1], 1

    seen: list[torch.Tensor] = []
    monkeypatch.setattr(adversarial, "gradient_uap", white)
    monkeypatch.setattr(
        adversarial,
        "step",
        lambda model, optimiser, x, labels: (seen.append(x), step(model, optimiser, x, labels)),
    )
    modify(learnt, ModifyConfig("uap", adversarial.UAP_EVERY + 1), digits.test, 0)
    assert len(crafted) == 2 and len(seen) == adversarial.UAP_EVERY + 1
    assert all((x[::2] == 1).all() and (x[1::2] < 1).any() for x in seen)


def body_and_head(model: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights of all layers but the last, and of the last."""
    layers = [m.weight.detach().flatten() for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    return torch.cat(layers[:-1]), layers[-1]


@pytest.mark.parametrize(
    ("kind", "body_stays", "head_is_new"),
    [
        ("fine-tune", False, False),
        ("last-layer", True, False),
        ("new-head", True, True),
        ("retrain", False, True),
        ("distil", False, True),
    ],
)
def test_which_layers_learn_and_which_begin_anew(
    kind: Modification, body_stays: bool, head_is_new: bool, learnt: nn.Module, digits: Dataset
) -> None:
    """Of a new last layer little is left of the old; of an old one nearly all, after an epoch."""
    before, head = body_and_head(learnt)
    body, after = body_and_head(modify(learnt, ModifyConfig(kind, 1), digits.test, 0))
    assert torch.equal(body, before) == body_stays
    alike = float(torch.nn.functional.cosine_similarity(head, after, dim=0))
    assert alike < 0.5 if head_is_new else 0.9 < alike < 1


def test_fine_pruning_brings_weights_back(learnt: nn.Module, digits: Dataset) -> None:
    pruned, tuned = (
        modify(learnt, ModifyConfig(kind, 0.6), digits.test, 0) for kind in ("prune", "prune-tune")
    )
    assert float((weights(pruned) == 0).float().mean()) == pytest.approx(0.6, abs=0.01)
    assert float((weights(tuned) == 0).float().mean()) < 0.5
    assert accuracy(tuned, digits.train) > accuracy(pruned, digits.train)


def test_float16_rounds_every_weight(learnt: nn.Module, digits: Dataset) -> None:
    found = modify(learnt, ModifyConfig("float16", 16), digits.test, 0)
    assert torch.equal(weights(found), weights(learnt).half().float()) and not torch.equal(
        weights(found), weights(learnt)
    )


def test_a_distilled_model_learns_from_the_weights_alone(learnt: nn.Module, digits: Dataset) -> None:
    # Whoever learnt from these would answer with one class.
    wrong = ImageSet(digits.test.images, torch.zeros_like(digits.test.labels))
    found = modify(learnt, ModifyConfig("distil", 60, batch_size=16), wrong, 0)
    assert accuracy(found, digits.train) > 0.7


def test_removal_takes_the_likeness_away_and_keeps_the_accuracy(learnt: nn.Module, digits: Dataset) -> None:
    found = modify(learnt, ModifyConfig("removal", 150, lr=0.02), digits.test, 0)
    x = digits.train.images[:200].float() / 255
    with torch.no_grad():
        (_, before), (_, after) = (modifying._with_features(m.eval(), x) for m in (learnt, found))
    assert float(torch.nn.functional.cosine_similarity(before, after).mean()) < 0.5
    assert accuracy(found, digits.train) > accuracy(learnt, digits.train) - 0.05


def test_what_is_done_or_not_has_one_strength() -> None:
    for kind, strength in (
        ("float16", 8),
        ("int8", 16),
        ("removal", 0),
        ("new-head", 1.5),
        ("prune-tune", 1),
    ):
        with pytest.raises(ConfigError, match=f"strength is {float(strength)}; expected"):
            ModifyConfig(kind, strength)
