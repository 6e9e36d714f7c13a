"""Nets of timm and torchvision as published, as architectures of the zoo: what they are given, and how much
memory a step of their training takes. Weights that they begin with: test_checkpoints.py."""

import dataclasses

import pytest
import timm
import torch
import torchvision
from torch import Tensor

from tests.support.makers import trained_spec
from tests.support.published_nets import MOBILE, SIDE, SMALL, planner, shape
from zooaudit.config import TrainConfig, stated
from zooaudit.data.images import Dataset
from zooaudit.errors import ConfigError
from zooaudit.recipes.named import RECIPES
from zooaudit.storage.models import load_module, save_built
from zooaudit.storage.opening import open_store
from zooaudit.zoo.arch import build_architecture
from zooaudit.zoo.build import Status, build
from zooaudit.zoo.cost import counted, largest_batch
from zooaudit.zoo.fit import make_optimiser
from zooaudit.zoo.published_nets import check_published
from zooaudit.zoo.shape import ModelShape
from zooaudit.zoo.spec import Group, Role


@pytest.mark.parametrize("name", [SMALL, MOBILE, "torchvision:googlenet", "timm:test_vit"])
def test_a_net_is_the_librarys_behind_a_normalisation(name: str) -> None:
    side = 160 if name == "timm:test_vit" else SIDE
    torch.manual_seed(3)
    model = build_architecture(name, shape(side)).eval()
    kind, _, short = name.partition(":")
    torch.manual_seed(3)
    theirs = timm.create_model(short, num_classes=4) if kind == "timm" else _torchvisions(short)
    images = torch.rand(2, 3, side, side)
    with torch.no_grad():
        torch.testing.assert_close(model(images), theirs.eval()((images - 0.5) / 0.25))


def _torchvisions(name: str) -> torch.nn.Module:
    options = {"aux_logits": False, "init_weights": True} if name == "googlenet" else {}
    return torchvision.models.get_model(name, weights=None, num_classes=4, **options)


def test_grey_images_are_given_as_colour() -> None:
    torch.manual_seed(3)
    model = build_architecture(SMALL, shape(channels=1)).eval()
    images = torch.rand(2, 1, SIDE, SIDE)
    with torch.no_grad():
        torch.testing.assert_close(model(images), model.net(((images - 0.5) / 0.25).repeat(1, 3, 1, 1)))


@pytest.mark.parametrize(
    ("name", "of", "says"),
    [
        ("timm:resnet_18", shape(), "timm has no net of that name"),
        ("torchvision:resnet81", shape(), "torchvision has no classifier of that name"),
        ("torchvision:alexnet", shape(16), "does not take images of 16 x 16 pixels"),
        ("timm:test_vit", shape(100), "does not take images of 100 x 100 pixels"),
        (SMALL, shape(channels=2), "takes images of 3 channels, or grey ones; these have 2"),
    ],
)
def test_what_cannot_be_had_is_said_before_anything_is_trained(name: str, of: ModelShape, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        check_published(name, of)


def test_a_plan_looks_at_its_nets(coloured: Dataset) -> None:
    with pytest.raises(ConfigError, match="timm has no net of that name"):
        planner(coloured, architectures=("timm:resnot", "B"))
    with pytest.raises(ConfigError, match=r"unknown architecture 'resnet19'; known: .*timm:NAME"):
        planner(coloured, architectures=("resnet19", "B"))


def test_one_is_trained_stored_and_read_again(coloured: Dataset) -> None:
    spec = trained_spec(
        coloured,
        architecture=SMALL,
        shape=shape(),
        floor=0.5,
        training=TrainConfig(epochs=3, schedule="cosine", crop=0.5, mirror=True, precision="float32"),
    )
    built = build(spec, coloured, None)
    assert built.record.status is Status.LEARNT, built.record
    assert spec.id.startswith("homologous-timm-test_resnet-sgd-"), "no colon: ids are file names and keys"
    artifacts = open_store("memory:")
    save_built(artifacts, built)
    again = load_module(artifacts, spec.id)
    images = coloured.test.images[:5].float() / 255
    module = build_architecture(SMALL, spec.shape).eval()
    module.load_state_dict(built.weights)
    with torch.no_grad():
        torch.testing.assert_close(again(images), module(images))


def test_what_came_later_changes_no_digest_until_it_says_something() -> None:
    plain = RECIPES["fmnist-quick"]
    assert not {"start", "checkpoints", "step_gib"} & stated(plain)["zoo"].keys()
    assert not {"schedule", "crop"} & stated(plain)["zoo"]["training"].keys()
    for zoo in ({"step_gib": 4.0}, {"training": dataclasses.replace(plain.zoo.training, schedule="cosine")}):
        assert dataclasses.replace(plain, zoo=dataclasses.replace(plain.zoo, **zoo)).digest != plain.digest


def test_the_cosine_falls_as_it_should() -> None:
    model = torch.nn.Linear(1, 1)
    optimiser, schedule = make_optimiser(
        model, "sgd", 128, TrainConfig(schedule="cosine", warmup_fraction=0.1, lr_sgd=1.0), 100
    )
    rates = []
    for _ in range(100):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    assert rates[9] == pytest.approx(1.0) and rates[55] == pytest.approx(0.5, abs=0.01) and rates[99] < 0.001
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)]) and rates[10:] == sorted(
        rates[10:], reverse=True
    )


def test_a_batch_that_would_not_fit_is_halved(coloured: Dataset) -> None:
    whole = planner(coloured, batch_sizes=(256,)).trained(Role.VICTIM, Group.SOURCE, SMALL, 0, 0)
    fits = largest_batch(SMALL, whole.shape, 0.05)
    small = planner(coloured, batch_sizes=(256,), step_gib=0.05).trained(
        Role.VICTIM, Group.SOURCE, SMALL, 0, 0
    )
    assert whole.batch_size == 256 and fits < 256
    assert small.batch_size in (128, 64, 32, 16, 8) and small.batch_size <= fits < 2 * small.batch_size
    with pytest.raises(ConfigError, match=r"takes .* GiB with two images, and ZooConfig.step_gib is 0.0001"):
        planner(coloured, batch_sizes=(256,), step_gib=1e-4).trained(Role.VICTIM, Group.SOURCE, SMALL, 0, 0)


def test_what_a_step_takes_is_near_what_is_counted() -> None:
    """What autograd keeps of a step, each tensor once."""
    found, model = counted(MOBILE, shape(64)), build_architecture(MOBILE, shape(64)).train()
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        model(torch.rand(8, 3, 64, 64)).sum()
    assert 0.5 < 8 * found.values / (sum(kept.values()) - found.weights) < 2


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_no_recipe_of_ours_is_touched_by_the_bound(name: str) -> None:
    zoo, of = (
        RECIPES[name].zoo,
        {
            "tiny": (3, 64, 64),
            "cifar": (3, 32, 32),
            "fmnist": (1, 28, 28),
            "digits": (1, 8, 8),
        },
    )
    image = next(v for k, v in of.items() if name.startswith(k))
    whole = ModelShape(image, 200, (0.5,) * image[0], (0.5,) * image[0], zoo.widths, zoo.hidden)
    for net in {zoo.victim_architecture, *zoo.architectures, *zoo.encoder_architectures}:
        assert largest_batch(net, whole, zoo.step_gib) >= max(zoo.batch_sizes)
