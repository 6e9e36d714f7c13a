"""Nets of timm and torchvision as published, as architectures of the zoo; from nothing, or
from a file of weights."""

import dataclasses
import re
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor

from tests.support.makers import shape_of, trained_spec
from zooaudit.config import Recipe, Start, TrainConfig, ZooConfig, stated
from zooaudit.data.images import Dataset, ImageSet
from zooaudit.errors import ConfigError, ModelError
from zooaudit.recipes.named import RECIPES, recipe_from
from zooaudit.recipes.read import recipe_of
from zooaudit.storage.models import load_module, save_built
from zooaudit.storage.opening import open_store
from zooaudit.zoo.arch import build_architecture
from zooaudit.zoo.build import Status, build
from zooaudit.zoo.cost import counted, largest_batch
from zooaudit.zoo.fit import make_optimiser
from zooaudit.zoo.planner import Planner
from zooaudit.zoo.published_nets import check_published, pretrained
from zooaudit.zoo.shape import ModelShape
from zooaudit.zoo.spec import Group, ModelSpec, Role
from zooaudit.zoo.start import begun, checkpoint_of, start_of

SMALL = "timm:test_resnet"
MOBILE = "torchvision:mobilenet_v3_small"
SIDE = 32


def shape(side: int = SIDE, channels: int = 3, classes: int = 4) -> ModelShape:
    return ModelShape((channels, side, side), classes, (0.5,) * channels, (0.25,) * channels, (8,), 8)


@pytest.fixture(scope="module")
def coloured() -> Dataset:
    """Four classes told apart by their colours."""
    generator = torch.Generator().manual_seed(0)

    def images(count: int) -> ImageSet:
        labels = torch.arange(count) % 4
        tints = torch.tensor([[220, 40, 40], [40, 220, 40], [40, 40, 220], [200, 200, 40]])[labels]
        noise = torch.randint(-40, 40, (count, 3, SIDE, SIDE), generator=generator)
        return ImageSet((tints[:, :, None, None] + noise).clamp(0, 255).to(torch.uint8), labels)

    return Dataset("coloured", images(240), images(80), ("red", "green", "blue", "yellow"), "made up")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of seven classes."""
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("published") / "test_resnet.safetensors"
    save_file(timm.create_model("test_resnet", num_classes=7).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def checkpoint(weights: Path, coloured: Dataset) -> Start:
    return checkpoint_of(f"{SMALL}={weights}", coloured.image_shape, coloured.num_classes)


def planner(data: Dataset, **changes: object) -> Planner:
    fields = {
        "victim_architecture": SMALL,
        "architectures": (SMALL, "B"),
        "encoder_architectures": ("B",),
        "widths": (8,),
        "hidden": 8,
    }
    return Planner(
        ZooConfig(**(fields | changes)),
        data.digest,
        dataclasses.replace(shape_of(data), widths=(8,), hidden=8),
        0,
    )


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


def test_a_checkpoint_keeps_all_but_its_last_layer(checkpoint: Start, weights: Path) -> None:
    torch.manual_seed(1)
    one = begun(checkpoint, 4).state_dict()
    torch.manual_seed(2)
    other = begun(checkpoint, 4).state_dict()
    theirs = timm.create_model("test_resnet", num_classes=7)
    changed = {name for name in one if not torch.equal(one[name], other[name])}
    assert changed == {"net.fc.weight", "net.fc.bias"}
    assert {f"net.{n}" for n in theirs.state_dict()} == {n for n in one if n.startswith("net.")}
    assert one["net.fc.weight"].shape == (4, theirs.fc.in_features) and len(checkpoint.weights) == 64


def test_inputs_are_normalised_as_the_checkpoint_was(checkpoint: Start) -> None:
    model = pretrained(SMALL, 4)
    result = timm.get_pretrained_cfg("test_resnet")
    assert model.mean.flatten().tolist() == pytest.approx(
        list(result.mean)
    ) and model.std.flatten().tolist() == pytest.approx(list(result.std))
    assert pretrained(MOBILE, 4).mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])


def test_torchvisions_file_may_have_auxiliary_heads(tmp_path: Path, coloured: Dataset) -> None:
    full = torchvision.models.googlenet(weights=None, init_weights=False, aux_logits=True)
    save_file(full.state_dict(), path := tmp_path / "googlenet.safetensors")
    start = checkpoint_of(f"torchvision:googlenet={path}", coloured.image_shape, 4)
    model = begun(start, 4)
    assert torch.equal(model.state_dict()["net.conv1.conv.weight"], full.conv1.conv.weight)


def _renamed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.replace("conv1", "stem"): t for name, t in tensors.items()}


def _broken(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    name = next(n for n, t in tensors.items() if t.ndim == 4)
    return tensors | {name: tensors[name] * float("nan")}


@pytest.mark.parametrize(("changed", "says"), [(_renamed, "lacks"), (_broken, "NaN or infinite")])
def test_a_file_of_another_net_is_refused(
    changed: object, says: str, weights: Path, tmp_path: Path, coloured: Dataset
) -> None:
    tensors = timm.create_model("test_resnet", num_classes=7).state_dict()
    save_file(changed(tensors), path := tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match=rf"{re.escape(str(path))}.*{says}"):
        checkpoint_of(f"{SMALL}={path}", coloured.image_shape, 4)


def test_no_file_no_net_and_no_pickle(weights: Path, tmp_path: Path, coloured: Dataset) -> None:
    torch.save({"weight": torch.ones(1)}, path := tmp_path / "resnet18.pth")
    for said, says in (
        (f"{SMALL}={path}", "Pickles can run code and are never opened: convert it"),
        (f"{SMALL}={tmp_path}/none.safetensors", "there is no file"),
        (SMALL, f"expected {SMALL}=FILE.safetensors"),
        (f"timm:nonsense={weights}", "factory timm:nonsense: timm has no net of that name"),
        (
            f"torchvision:nonsense={weights}",
            "factory torchvision:nonsense: torchvision has no classifier of that name",
        ),
        ("resnet18=here.safetensors", "expected timm:NAME=FILE or torchvision:NAME=FILE"),
    ):
        with pytest.raises(ModelError, match=re.escape(says)):
            checkpoint_of(said, coloured.image_shape, 4)


def test_another_file_in_its_place_is_noticed(weights: Path, tmp_path: Path, coloured: Dataset) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(weights.read_bytes())
    start = checkpoint_of(f"{SMALL}={path}", coloured.image_shape, 4)
    save_file(timm.create_model("test_resnet", num_classes=7).state_dict(), path)
    with pytest.raises(ModelError, match=f"has SHA-256 .*; expected {start.weights[:16]}"):
        begun(start, 4)


def test_the_zoos_models_of_that_net_begin_with_it(checkpoint: Start, coloured: Dataset) -> None:
    plan = planner(coloured, checkpoints=(checkpoint,), batch_sizes=(16,), training=TrainConfig(epochs=8))
    victim = plan.trained(Role.VICTIM, Group.SOURCE, SMALL, 0, 0)
    other = plan.trained(Role.HOMOLOGOUS, Group.SUSPECT, "B", 0, 0)
    assert victim.start == checkpoint and other.start is None
    assert victim.training.lr_sgd == other.training.lr_sgd / 10
    assert all(t.start == checkpoint for t in plan.twins(victim))
    assert {s.architecture for s in plan.references() if s.start} == {SMALL}
    assert ModelSpec.from_json(victim.to_json()) == victim
    built = build(dataclasses.replace(victim, floor=0.3), coloured, None)
    assert built.record.status is Status.LEARNT, built.record


def test_where_the_file_lies_decides_nothing(checkpoint: Start, coloured: Dataset, tmp_path: Path) -> None:
    moved = dataclasses.replace(checkpoint, factory=f"{SMALL}={tmp_path / 'moved.safetensors'}")
    ids = [
        planner(coloured, checkpoints=(c,)).trained(Role.VICTIM, Group.SOURCE, SMALL, 0, 0).id
        for c in (checkpoint, moved)
    ]
    assert ids[0] == ids[1]
    other = dataclasses.replace(checkpoint, weights="0" * 64)
    assert (
        planner(coloured, checkpoints=(other,)).trained(Role.VICTIM, Group.SOURCE, SMALL, 0, 0).id != ids[0]
    )


def test_a_stored_model_is_read_without_the_file(weights: Path, tmp_path: Path, coloured: Dataset) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(weights.read_bytes())
    start = checkpoint_of(f"{SMALL}={path}", coloured.image_shape, 4)
    spec = planner(coloured, checkpoints=(start,)).trained(Role.VICTIM, Group.SOURCE, SMALL, 0, 0)
    artifacts = open_store("memory:")
    save_built(artifacts, build(dataclasses.replace(spec, floor=0.0), coloured, None))
    path.unlink()
    assert load_module(artifacts, dataclasses.replace(spec, floor=0.0).id)


def test_it_can_be_the_victims_start(weights: Path, checkpoint: Start, coloured: Dataset) -> None:
    assert start_of(f"{SMALL}={weights}", coloured.image_shape, 4) == checkpoint
    references = planner(
        coloured, start=checkpoint, architectures=("B",), victim_architecture="C", references=8
    ).references()
    assert sum(s.start == checkpoint for s in references) == 2


def test_a_checkpoint_for_a_net_that_is_not_there_is_refused(checkpoint: Start) -> None:
    with pytest.raises(
        ConfigError,
        match=(
            rf"checkpoints has one for {SMALL}, which is not one of this zoo's architectures \(A, B, C, D, E\)"
        ),
    ):
        ZooConfig(checkpoints=(checkpoint,))


def test_a_recipe_with_them_is_written_and_read(checkpoint: Start, tmp_path: Path) -> None:
    zoo = ZooConfig(
        victim_architecture=SMALL,
        checkpoints=(checkpoint,),
        training=TrainConfig(schedule="cosine", crop=0.3),
    )
    recipe = Recipe("mine", "coloured", zoo=zoo)
    assert recipe_from(dataclasses.asdict(recipe)) == recipe
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\ndataset = "coloured"\n[zoo]\nvictim_architecture ='
        f' "{SMALL}"\n[zoo.training]\nschedule = "cosine"\ncrop = 0.3\n[[zoo.checkpoints]]\nfactory ='
        f' "{checkpoint.factory}"\nweights = "{checkpoint.weights}"\n'
    )
    assert recipe_of(str(path), []) == recipe


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
