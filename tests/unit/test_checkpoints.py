"""Zoos whose nets of timm and torchvision begin with a file of weights: which files are taken, and which
models begin with them."""

import dataclasses
import re
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor

from tests.support.published_nets import MOBILE, SMALL, planner
from zooaudit.config import Recipe, Start, TrainConfig, ZooConfig
from zooaudit.data.images import Dataset
from zooaudit.errors import ConfigError, ModelError
from zooaudit.recipes.named import recipe_from
from zooaudit.recipes.read import recipe_of
from zooaudit.storage.models import load_module, save_built
from zooaudit.storage.opening import open_store
from zooaudit.zoo.build import Status, build
from zooaudit.zoo.published_nets import pretrained
from zooaudit.zoo.spec import Group, ModelSpec, Role
from zooaudit.zoo.start import begun, checkpoint_of, start_of


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
        match=(rf"one for {SMALL}, which is not one of this zoo's architectures \(A, B, C, D, E\)"),
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
