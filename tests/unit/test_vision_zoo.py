"""Torchvision's nets through every room that a model passes: training, extraction, the
store, attacks and modifications."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.support.makers import FAST, extracted_spec, narrowest, trained_spec
from zooaudit.compute import seeded
from zooaudit.config import ExtractConfig, ModifyConfig, UapConfig
from zooaudit.data.images import Dataset, ImageSet, to_unit
from zooaudit.errors import DamagedArtifactError
from zooaudit.paper.deepfool import deepfool
from zooaudit.paper.uap import craft_uap
from zooaudit.storage.models import load_module, save_built
from zooaudit.storage.opening import open_store
from zooaudit.suspects.load import load_model
from zooaudit.zoo.arch import build_architecture
from zooaudit.zoo.build import BuiltModel, Parent, build
from zooaudit.zoo.fit import accuracy
from zooaudit.zoo.modify import modify
from zooaudit.zoo.spec import ModelSpec
from zooaudit.zoo.vision_nets import VISION_NETS

CLASSES = 3


def coloured(count: int, seed: int) -> ImageSet:
    """Noise, brighter in the colour of its class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    images = torch.randint(0, 128, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
    images[torch.arange(count), labels] += 100
    return ImageSet(images, labels)


@pytest.fixture(scope="module")
def colours() -> Dataset:
    return Dataset("colours", coloured(96, 0), coloured(24, 1), ("red", "green", "blue"), "here")


def spec_of(name: str, colours: Dataset, precision: str = "bfloat16", width: int = 0) -> ModelSpec:
    training = dataclasses.replace(FAST, epochs=1, precision=precision, mirror=True, shift=2)
    shape = narrowest(name, num_classes=CLASSES, width=width)
    return trained_spec(colours, architecture=name, shape=shape, batch_size=16, training=training)


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("name", VISION_NETS)
def test_training_repeats_itself_and_the_store_gives_it_back(name: str, colours: Dataset) -> None:
    """BatchNorm's statistics and its int64 count of batches among them; in bfloat16, channels last."""
    spec = spec_of(name, colours)
    built = build(spec, colours, None)
    assert same(built.weights, build(spec, colours, None).weights)
    counts = [v for k, v in built.weights.items() if k.endswith("num_batches_tracked")]
    assert {(c.dtype, int(c)) for c in counts} == {(torch.int64, 3)}, "48 images in batches of 16"
    assert all(torch.isfinite(v).all() for v in built.weights.values())
    artifacts = open_store("memory:")
    save_built(artifacts, built)
    module = load_module(artifacts, spec.id)
    assert same(dict(module.state_dict()), built.weights)
    assert accuracy(module, colours.test) == built.record.accuracy


@pytest.fixture(scope="module")
def learnt(colours: Dataset) -> BuiltModel:
    training = dataclasses.replace(FAST, epochs=8)
    spec = dataclasses.replace(spec_of("resnet18", colours, width=4), training=training, floor=0.9)
    built = build(spec, colours, None)
    assert not built.record.reason, built.record
    return built


def module_of(built: BuiltModel) -> nn.Module:
    module = build_architecture(built.spec.architecture, built.spec.shape)
    module.load_state_dict(built.weights)
    return module.eval().requires_grad_(False)


@pytest.mark.parametrize("name", VISION_NETS)
def test_a_net_is_extracted(name: str, learnt: BuiltModel, colours: Dataset) -> None:
    attack = ExtractConfig(seed_size=24, rounds=1, round_epochs=1, final_epochs=1, augment=True)
    shape = narrowest(name, num_classes=CLASSES)
    spec = extracted_spec(
        colours, learnt.spec, architecture=name, shape=shape, extraction=attack, batch_size=16
    )
    built = build(spec, colours, Parent(module_of(learnt), learnt.record.accuracy))
    assert built.record.queries == 48
    assert not built.record.reason


def test_statistics_of_another_type_are_damage(learnt: BuiltModel) -> None:
    artifacts = open_store("memory:")
    name = "net.bn1.num_batches_tracked"
    save_built(
        artifacts, dataclasses.replace(learnt, weights=learnt.weights | {name: learnt.weights[name].float()})
    )
    with pytest.raises(DamagedArtifactError, match=rf"{name} is torch.float32 \(\); expected torch.int64"):
        load_module(artifacts, learnt.spec.id)


def test_an_exported_net_gives_the_same_logits(tmp_path: Path) -> None:
    """GoogLeNet, whose forward pass asks most questions on its way; exporting each would
    take longer than all else here."""
    with seeded(0, torch.device("cpu")):
        model = build_architecture("googlenet", narrowest("googlenet")).eval()
    program = torch.export.export(
        model, (torch.zeros(2, 3, 32, 32),), dynamic_shapes=({0: torch.export.Dim("n")},)
    )
    torch.export.save(program, tmp_path / "net.pt2")
    loaded = load_model(tmp_path / "net.pt2", None, (3, 32, 32), 10)
    x = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(loaded(x), model(x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", VISION_NETS)
@pytest.mark.parametrize("kind", ["int8", "prune", "prune-channels"])
def test_a_net_is_modified_without_training(kind: str, name: str, colours: Dataset) -> None:
    with seeded(0, torch.device("cpu")):
        model = build_architecture(name, narrowest(name, num_classes=CLASSES)).eval()
    changed = modify(model, ModifyConfig(kind, 8 if kind == "int8" else 0.3), colours.test, 0)
    with torch.no_grad():
        assert torch.isfinite(changed(to_unit(colours.test.images[:4]))).all()
    convolutions = [m for m in changed.modules() if isinstance(m, nn.Conv2d)]
    assert bool(convolutions) == (kind != "int8")
    if kind == "prune":
        weights = torch.cat(
            [m.weight.flatten() for m in changed.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        )
        assert float((weights == 0).float().mean()) == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("kind", ["fine-tune", "adversarial", "int8"])
def test_a_modified_net_still_knows_its_classes(kind: str, learnt: BuiltModel, colours: Dataset) -> None:
    strength = {"fine-tune": 2.0, "adversarial": 2.0, "int8": 8.0}[kind]
    changed = modify(module_of(learnt), ModifyConfig(kind, strength, batch_size=12), colours.test, 0)
    assert accuracy(changed, colours.test) > 0.7
    assert not changed.training


def test_a_modified_net_is_stored(learnt: BuiltModel, colours: Dataset) -> None:
    artifacts = open_store("memory:")
    spec = trained_spec(
        colours,
        architecture="resnet18",
        shape=learnt.spec.shape,
        parent=learnt.spec.id,
        modification=ModifyConfig("int8", 8),
    )
    built = build(spec, colours, Parent(module_of(learnt), learnt.record.accuracy))
    save_built(artifacts, built)
    assert accuracy(load_module(artifacts, spec.id), colours.test) == built.record.accuracy


@pytest.mark.parametrize("name", VISION_NETS)
def test_gradients_reach_the_image(name: str, colours: Dataset) -> None:
    with seeded(0, torch.device("cpu")):
        model = build_architecture(name, narrowest(name, num_classes=CLASSES)).eval().requires_grad_(False)
    x = to_unit(colours.test.images[:2])
    assert torch.isfinite(deepfool(model, x, max_steps=2)).all()
    uap = craft_uap(
        model, colours.train.images[:8], colours.test.images[:8], UapConfig(max_steps=2, batch_size=4), 0
    )
    assert float(uap.v.abs().max()) > 0


def test_deepfool_takes_a_learnt_net_over_its_boundary(learnt: BuiltModel, colours: Dataset) -> None:
    model, x = module_of(learnt), to_unit(colours.test.images[:4])
    step = deepfool(model, x, max_steps=20)
    assert (model(x + step).argmax(1) != model(x).argmax(1)).all()
    assert (step.flatten(1).norm(dim=1) < x.flatten(1).norm(dim=1)).all()
