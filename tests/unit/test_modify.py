"""Modifications: each does what it says, leaves its parent alone, and is the same each
time; INT8 really is INT8."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.support.makers import extracted_spec, trained_spec
from zooaudit.config import Modification, ModifyConfig, Overlap
from zooaudit.data.images import Dataset, ImageSet
from zooaudit.data.splits import complement, overlapping_part, random_part, tuning_part
from zooaudit.errors import ConfigError, DataError, ModelError
from zooaudit.storage.models import load_module, save_built
from zooaudit.storage.opening import open_store
from zooaudit.zoo import modify as modifying
from zooaudit.zoo.build import BuiltModel, Parent, Status, build, held_out, training_half
from zooaudit.zoo.fit import DivergedError, accuracy
from zooaudit.zoo.int8 import Int8Layer, to_int8
from zooaudit.zoo.modify import modify
from zooaudit.zoo.spec import Group, ModelSpec
from zooaudit.zoo.variants import hardened, modified, overlapping, weaker

EVERY = [
    ModifyConfig("fine-tune", 2),
    ModifyConfig("prune", 0.5),
    ModifyConfig("prune-channels", 0.25),
    ModifyConfig("int8", 8),
    ModifyConfig("adversarial", 3),
    ModifyConfig("uap", 3),
    ModifyConfig("last-layer", 2),
    ModifyConfig("new-head", 2),
    ModifyConfig("retrain", 2),
    ModifyConfig("prune-tune", 0.5),
    ModifyConfig("float16", 16),
    ModifyConfig("distil", 2),
    ModifyConfig("removal", 3),
    ModifyConfig("transfer", 2),
]


@pytest.fixture
def parent(built: BuiltModel, learnt: nn.Module) -> Parent:
    return Parent(learnt, built.record.accuracy)


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([m.weight.flatten() for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)])


@pytest.mark.parametrize("config", EVERY, ids=lambda c: c.kind)
def test_a_modified_model_is_built_stored_and_read_back(
    config: ModifyConfig, built: BuiltModel, parent: Parent, digits: Dataset
) -> None:
    before = {k: v.clone() for k, v in parent.module.state_dict().items()}
    spec = modified(built.spec, config)
    first, again = (build(spec, digits, parent) for _ in range(2))
    assert first.record.status is Status.LEARNT and first.record.queries == 0
    assert all(torch.equal(v, again.weights[k]) for k, v in first.weights.items())
    assert all(torch.equal(v, before[k]) for k, v in parent.module.state_dict().items()), (
        "the parent was changed"
    )
    artifacts = open_store("memory:")
    save_built(artifacts, first)
    read = load_module(artifacts, spec.id)
    assert accuracy(read, held_out(spec, digits)) == first.record.accuracy
    assert ModelSpec.from_json(spec.to_json()) == spec
    assert spec.parent == built.spec.id and spec.group is Group.STUDY


def test_unstructured_pruning_takes_the_smallest_weights_of_the_whole_model(
    learnt: nn.Module, digits: Dataset
) -> None:
    pruned = weights(modify(learnt, ModifyConfig("prune", 0.3), digits.test, 0))
    before = weights(learnt)
    gone = pruned == 0
    assert abs(gone.float().mean().item() - 0.3) < 1e-3
    assert before[gone].abs().max() <= before[~gone].abs().min()
    assert torch.equal(pruned[~gone], before[~gone])


def test_structured_pruning_takes_whole_channels_of_each_convolution(
    learnt: nn.Module, digits: Dataset
) -> None:
    pruned = modify(learnt, ModifyConfig("prune-channels", 0.25), digits.test, 0)
    for old, new in zip(learnt.modules(), pruned.modules(), strict=True):
        if isinstance(new, nn.Conv2d):
            norms = old.weight.flatten(1).norm(dim=1)
            gone = new.weight.flatten(1).abs().sum(1) == 0
            assert int(gone.sum()) == round(0.25 * new.out_channels)
            assert norms[gone].max() <= norms[~gone].min()
        elif isinstance(new, nn.Linear):
            assert torch.equal(old.weight, new.weight)


def test_fine_tuning_lowers_the_loss_on_what_it_sees(learnt: nn.Module, digits: Dataset) -> None:
    tuning = digits.test.take(tuning_part(len(digits.test)))
    tuned = modify(learnt, ModifyConfig("fine-tune", 10), tuning, 0)
    assert accuracy(tuned, tuning) > accuracy(learnt, tuning)


def test_tuned_models_are_measured_on_other_images(built: BuiltModel, digits: Dataset) -> None:
    tuned, quantised = (modified(built.spec, ModifyConfig(*c)) for c in (("fine-tune", 1), ("int8", 8)))
    seen = tuning_part(len(digits.test))
    kept = complement(len(digits.test), seen)
    assert not set(seen.tolist()) & set(kept.tolist())
    assert torch.equal(held_out(tuned, digits).images, digits.test.images[kept])
    assert held_out(quantised, digits) is digits.test


def test_a_modified_model_has_no_recovery_rate(built: BuiltModel, parent: Parent, digits: Dataset) -> None:
    assert (
        build(modified(built.spec, ModifyConfig("prune", 0.1)), digits, parent).record.recovery_rate is None
    )


def test_the_same_strength_is_the_same_model(built: BuiltModel) -> None:
    assert (
        modified(built.spec, ModifyConfig("int8", 8)).id == modified(built.spec, ModifyConfig("int8", 8.0)).id
    )


def test_stages_of_adversarial_training_go_on_from_each_other(built: BuiltModel) -> None:
    first, second = hardened(built.spec, (2, 5), ModifyConfig("adversarial", 1, lr=0.05))
    assert (first.parent, second.parent) == (built.spec.id, first.id)
    assert second.modification is not None and (second.modification.start, second.modification.strength) == (
        2,
        5,
    )
    assert second.modification.lr == 0.05


def test_a_diverging_modification_is_marked_failed(
    built: BuiltModel, parent: Parent, digits: Dataset
) -> None:
    wild = build(
        modified(built.spec, ModifyConfig("fine-tune", 30, lr=9.9)),
        digits,
        Parent(Exploding(), parent.accuracy),
    )
    assert wild.record.status is Status.FAILED and "loss is nan" in wild.record.reason


class Exploding(nn.Module):
    """Logits that are not numbers while it is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (torch.nan if self.training else 1.0) * self.weight * x.flatten(1)[:, :10]


def test_modify_raises_when_the_loss_is_no_number(digits: Dataset) -> None:
    with pytest.raises(DivergedError, match="while the model is modified"):
        modify(Exploding(), ModifyConfig("fine-tune", 1), digits.test, 0)


@pytest.mark.parametrize(
    ("kind", "strength", "start"),
    [
        ("fine-tune", 0, 0),
        ("fine-tune", 1.5, 0),
        ("prune", 1.0, 0),
        ("prune", -0.1, 0),
        ("int8", 4, 0),
        ("adversarial", 5, 5),
        ("prune", 0.5, 1),
        ("melt", 1, 0),
        ("fine-tune", float("inf"), 0),
        ("prune", float("nan"), 0),
    ],
)
def test_strengths_out_of_range_are_named(kind: str, strength: float, start: float) -> None:
    with pytest.raises(ConfigError, match="ModifyConfig"):
        ModifyConfig(kind, strength, start)


# INT8


def test_int8_layers_compute_what_their_integers_say(digits: Dataset, learnt: nn.Module) -> None:
    """Oracle: dequantise weights and inputs by hand and convolve in float64."""
    images = digits.test.images[:40].float() / 255
    quantised = to_int8(learnt, images)
    seen: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for name, layer in quantised.named_modules():
        if isinstance(layer, Int8Layer):
            assert layer.weight.dtype is torch.int8
            layer.register_forward_hook(lambda _, x, y, name=name: seen.update({name: (x[0], y)}))
    quantised(images)
    assert len(seen) == sum(isinstance(m, nn.Conv2d | nn.Linear) for m in learnt.modules())
    for name, (x, y) in seen.items():
        layer = quantised.get_submodule(name)
        assert isinstance(layer, Int8Layer)
        expected = by_hand(layer, x)
        scale = layer.output_range[0].item()
        assert (y.double() - expected).abs().max() <= scale * 1.01, name


def by_hand(layer: Int8Layer, x: torch.Tensor) -> torch.Tensor:
    scale, zero = layer.input_range.double().tolist()
    integers = (x.double() / scale).round().add(zero).clamp(0, 127)
    inputs = (integers - zero) * scale
    weight = layer.weight.double() * layer.weight_scale.double().view(-1, *[1] * (layer.weight.ndim - 1))
    if layer.convolution:
        stride, padding, dilation, groups = layer.geometry
        out = torch.nn.functional.conv2d(
            inputs, weight, layer.bias.double(), stride, padding, dilation, groups
        )
    else:
        out = inputs @ weight.T + layer.bias.double()
    scale, zero = layer.output_range.double().tolist()
    return out.clamp(-zero * scale, (255 - zero) * scale)


def test_int8_costs_little_accuracy(built: BuiltModel, parent: Parent, digits: Dataset) -> None:
    record = build(modified(built.spec, ModifyConfig("int8", 8)), digits, parent).record
    assert abs(record.accuracy - built.record.accuracy) <= 0.01


def test_a_model_without_layers_to_quantise_is_refused() -> None:
    with pytest.raises(ModelError, match="nothing to quantise"):
        to_int8(nn.Flatten(), torch.zeros(1, 1, 8, 8))


# specs of studies


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
    step = modifying._step
    monkeypatch.setattr(modifying, "gradient_uap", white)
    monkeypatch.setattr(
        modifying,
        "_step",
        lambda model, optimiser, x, labels: (seen.append(x), step(model, optimiser, x, labels)),
    )
    modify(learnt, ModifyConfig("uap", modifying.UAP_EVERY + 1), digits.test, 0)
    assert len(crafted) == 2 and len(seen) == modifying.UAP_EVERY + 1
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
    wrong = ImageSet(
        digits.test.images, torch.zeros_like(digits.test.labels)
    )  # whoever learnt from these would answer with one class
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
