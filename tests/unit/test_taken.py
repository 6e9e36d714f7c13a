"""Stolen weights that are averaged with an independent model's, or transferred to other classes."""

import copy

import pytest
import torch
from torch import Tensor, nn

from tests.support.makers import shape_of, trained_spec
from zooaudit.config import ModifyConfig, Start, TrainConfig, ZooConfig
from zooaudit.data.images import Dataset, ImageSet, to_unit
from zooaudit.errors import ConfigError, ModelError
from zooaudit.reporting.findings import way
from zooaudit.storage.models import load_module, save_built
from zooaudit.storage.opening import open_store
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.suspects.outputs import chosen
from zooaudit.zoo.averaging import averaged
from zooaudit.zoo.build import BuiltModel, Parent, build, held_out
from zooaudit.zoo.fit import accuracy
from zooaudit.zoo.modify import last_layer, modify
from zooaudit.zoo.plan import Plan, plan_zoo
from zooaudit.zoo.schedule import relative_cost
from zooaudit.zoo.spec import ModelSpec, Role
from zooaudit.zoo.start import start_of
from zooaudit.zoo.transferred import of_kept
from zooaudit.zoo.variants import modified


def checkpoint(num_classes: int) -> nn.Module:
    """With BatchNorm, and always the same body."""
    with torch.random.fork_rng([]):
        torch.manual_seed(1)
        body = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
        )
    return nn.Sequential(body, nn.Linear(128, num_classes))


@pytest.fixture(scope="module")
def start(digits: Dataset) -> Start:
    return start_of("tests.unit.test_taken:checkpoint", digits.image_shape, digits.num_classes)


def plan(digits: Dataset, start: Start | None, architecture: str, *taken: ModifyConfig) -> Plan:
    zoo = ZooConfig(
        victim_architecture=architecture,
        start=start,
        taken=taken,
        twins=1,
        references=0,
        accuracy_floor=0.5,
        optimisers=("adam",),
        training=TrainConfig(epochs=15, lr_adam=0.04, precision="float32"),
        batch_sizes=(64,),
    )
    return plan_zoo(zoo, digits.digest, shape_of(digits), 0)


@pytest.fixture(scope="module")
def victim(digits: Dataset, start: Start) -> BuiltModel:
    return build(plan(digits, start, "start").of(Role.VICTIM)[0], digits, None)


def module_of(built: BuiltModel) -> nn.Module:
    artifacts = open_store("memory:")
    save_built(artifacts, built)
    return load_module(artifacts, built.spec.id)


def flat(weights: dict[str, Tensor]) -> Tensor:
    return torch.cat([t.flatten() for n, t in weights.items() if n.endswith(("weight", "bias"))])


def taken_of(found: Plan) -> list[ModelSpec]:
    return [s for s in found.of(Role.PIRACY) if s.modification]


def test_averaged_weights_lie_between_the_victims_and_the_thiefs(
    digits: Dataset, start: Start, victim: BuiltModel
) -> None:
    shares = (0.1, 0.5, 0.9)
    specs = taken_of(
        plan(digits, start, "start", *(ModifyConfig("averaged", s, batch_size=16) for s in shares))
    )
    assert [s.parent for s in specs] == [victim.spec.id] * 3 and all(
        s.start == start and s.architecture == "start" for s in specs
    )
    parent = Parent(module_of(victim), victim.record.accuracy)
    built = [build(s, digits, parent) for s in specs]
    away = [float((flat(b.weights) - flat(victim.weights)).norm()) for b in built]
    assert away[0] > away[1] > away[2] > 0
    assert torch.equal(flat(parent.module.state_dict()), flat(victim.weights)), "the victim was changed"
    assert all(
        torch.equal(t, build(specs[1], digits, parent).weights[n]) for n, t in built[1].weights.items()
    ), "the same again"
    assert built[2].record.accuracy > 0.9 * victim.record.accuracy > 0.6 and built[2].record.queries == 0
    assert accuracy(module_of(built[2]), held_out(specs[2], digits)) == built[2].record.accuracy
    assert (
        ModelSpec.from_json(specs[1].to_json()) == specs[1]
        and way(specs[1]) == "averaged, 50% of the weights"
    )
    assert relative_cost(specs[1], 1000) > 0


def test_averaging_is_exact_and_measures_batch_norm_again(digits: Dataset) -> None:
    torch.manual_seed(0)
    first, second = checkpoint(10), checkpoint(10)
    with torch.no_grad():
        for model in (first, second):
            model[0][0].weight.add_(torch.randn(8, 1, 3, 3))
    images = digits.test.take(torch.arange(250))
    found = averaged(copy.deepcopy(first), second, 0.3, images)
    for name, theirs in found.named_parameters():
        torch.testing.assert_close(theirs, 0.3 * first.get_parameter(name) + 0.7 * second.get_parameter(name))
    norm = found[0][1]
    with torch.no_grad():
        seen = found[0][0](to_unit(images.images))
    torch.testing.assert_close(norm.running_mean, seen.mean((0, 2, 3)))
    torch.testing.assert_close(norm.running_var, seen.transpose(0, 1).flatten(1).var(1))
    assert not found.training and not norm.training and norm.momentum == 0.1


def test_other_weights_are_not_averaged(digits: Dataset) -> None:
    with pytest.raises(ModelError, match=r"cannot be averaged: 1.bias is \(10,\) in one model and \(9,\)"):
        averaged(checkpoint(10), checkpoint(9), 0.5, digits.test)


def test_a_recipe_whose_victim_began_with_nothing_is_refused(digits: Dataset, start: Start) -> None:
    for one in (None, start):
        with pytest.raises(
            ConfigError,
            match=(r"averaged: victim-A-adam-\w+ \(A\) was trained from scratch; .*victim_architecture = "),
        ):
            plan(digits, one, "A", ModifyConfig("averaged", 0.5))
    with pytest.raises(ConfigError, match="architecture 'start'"):
        plan(digits, None, "start", ModifyConfig("averaged", 0.5))


@pytest.mark.parametrize(
    ("kind", "strength"),
    [("averaged", 0.0), ("averaged", 1.0), ("averaged", 5), ("transfer", 0.5), ("transfer", 0)],
)
def test_strengths_out_of_range_are_named(kind: str, strength: float) -> None:
    with pytest.raises(
        ConfigError,
        match=f"strength is {float(strength)}; expected {'the victim' if kind == 'averaged' else 'a whole'}",
    ):
        ModifyConfig(kind, strength)


def test_a_transferred_model_answers_the_first_half_of_the_classes(
    built: BuiltModel, learnt: nn.Module, digits: Dataset
) -> None:
    spec = modified(built.spec, ModifyConfig("transfer", 20, lr=0.05, batch_size=16))
    made = build(spec, digits, Parent(learnt, built.record.accuracy))
    module = module_of(made)
    answers = TorchBlackBox(module, 10).ask(to_unit(digits.train.images[:300]))
    assert bool((answers[:, 5:] == 0).all()) and bool((answers[:, :5] > 0).any(0).all())
    torch.testing.assert_close(answers.sum(1), torch.ones(300))
    with torch.no_grad():
        half = module(to_unit(digits.train.images[:300]))[:, :5]
    behind = chosen(half, (0, 1, 2, 3, 4, *[-1] * 5), "suspect", "any")
    torch.testing.assert_close(
        TorchBlackBox(nn.Identity(), 10).ask(behind), answers, msg="as behind a contract with missing classes"
    )
    assert made.record.accuracy > 0.8 and made.record.accuracy == accuracy(module, held_out(spec, digits))
    assert set(held_out(spec, digits).labels.tolist()) == {0, 1, 2, 3, 4}
    assert way(spec) == "transfer, 20 epochs" and relative_cost(spec, 1000) > 0


def test_all_layers_learn_and_the_last_begins_anew(learnt: nn.Module, digits: Dataset) -> None:
    found = modify(learnt, ModifyConfig("transfer", 1), digits.test, 0)
    (ours, body), (theirs, before) = (
        (last_layer(m).weight, m.convolutions[0].weight) for m in (found, learnt)
    )
    assert not torch.equal(body, before) and bool((ours[5:] == 0).all())
    assert float(torch.cosine_similarity(ours[:5].flatten(), theirs[:5].flatten(), dim=0)) < 0.5
    other = ImageSet(digits.test.images, torch.where(digits.test.labels < 5, digits.test.labels, 9))
    assert torch.equal(last_layer(modify(learnt, ModifyConfig("transfer", 1), other, 0)).weight, ours), (
        "other classes are not looked at"
    )


def test_half_of_two_classes_is_none(digits: Dataset) -> None:
    spec = trained_spec(digits)
    two = ModelSpec.from_json(spec.to_json() | {"shape": spec.to_json()["shape"] | {"num_classes": 2}})
    with pytest.raises(
        ConfigError, match=r"transfer keeps half of the classes; .* has 2, expected 3 or more"
    ):
        modified(two, ModifyConfig("transfer", 1))
    with pytest.raises(ModelError, match="a last layer with a bias and at least 3 classes"):
        modify(
            nn.Sequential(nn.Flatten(), nn.Linear(64, 10, bias=False)),
            ModifyConfig("transfer", 1),
            digits.test,
            0,
        )
    assert len(of_kept(digits.test, 3)) == int((digits.test.labels < 2).sum())
