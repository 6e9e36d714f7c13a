"""Modifications: each does what it says, leaves its parent alone, and is the same each
time; INT8 really is INT8."""

import pytest
import torch
from torch import nn

from tests.support.makers import weights
from zooaudit.config import ModifyConfig
from zooaudit.data.images import Dataset
from zooaudit.data.splits import complement, tuning_part
from zooaudit.errors import ConfigError, ModelError
from zooaudit.storage.models import load_module, save_built
from zooaudit.storage.opening import open_store
from zooaudit.zoo.build import BuiltModel, Parent, Status, build, held_out
from zooaudit.zoo.fit import DivergedError, accuracy
from zooaudit.zoo.int8 import Int8Layer, to_int8
from zooaudit.zoo.modify import modify
from zooaudit.zoo.spec import Group, ModelSpec
from zooaudit.zoo.variants import hardened, modified

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
