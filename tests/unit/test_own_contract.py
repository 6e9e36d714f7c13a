"""The owner's victim behind a contract, and its twins behind the same: kept, loaded again, named by what
differs from the default."""

import argparse
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.support.hub import CLASSES, PROCESSORS, blobs, vit
from tests.support.makers import Affine
from tests.support.own_nets import Odd, train
from tests.support.owners import called
from tests.support.weights import exported
from zooaudit.auditing.steps import settled
from zooaudit.auditing.victim_check import remedy
from zooaudit.cli.main import make_parser
from zooaudit.cli.own_victim import own_victim
from zooaudit.config import OwnTraining
from zooaudit.data.images import Dataset, ImageSet
from zooaudit.errors import ConfigError, InputError, ModelError
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.models import KIND, OwnModel, load_module, save_own
from zooaudit.storage.opening import open_store
from zooaudit.suspects.contract_files import contract_of
from zooaudit.suspects.contracted import Contracted
from zooaudit.zoo import own_training, planner
from zooaudit.zoo.build import ModelRecord, Status

RECORD = ModelRecord(Status.LEARNT, 0.9, None, 0, 0.0, 0, "own")
FACTORY = "tests.support.own_nets:Odd"


def dataset(size: int = 8) -> Dataset:
    images = (blobs(12, size, size) * 255).byte()
    part = ImageSet(images, torch.arange(12) % 3)
    return Dataset("birds", part, part, CLASSES, "made")


def parsed(*options: str) -> argparse.Namespace:
    return make_parser().parse_args(["audit", *options])


@pytest.fixture
def store(tmp_path: Path) -> Artifacts:
    return open_store(str(tmp_path / "store"))


def test_a_contract_is_in_the_id_and_comes_back_with_the_victim(store: Artifacts, tmp_path: Path) -> None:
    save_file(Odd().state_dict(), tmp_path / "v.safetensors")
    said = contract_of({"input": {"range": [0, 255]}, "classes": {"columns": [7, 1, 3]}})
    own = OwnModel(tmp_path / "v.safetensors", FACTORY, (3, 8, 8), 3, contract=said, classes=CLASSES)
    plain = OwnModel(tmp_path / "v.safetensors", FACTORY, (3, 8, 8), 3)
    other = replace(
        own, contract=contract_of({"input": {"range": [-1, 1]}, "classes": {"columns": [7, 1, 3]}})
    )
    assert len({own.id, plain.id, other.id}) == 3
    save_own(store, own, RECORD)
    images = blobs(4, 8, 8)
    expected = Odd()(images * 255)["logits"][:, [7, 1, 3]]
    torch.testing.assert_close(load_module(store, own.id)(images), expected)
    meta = store.load(KIND, own.id).meta
    assert (
        meta["contract"] == {"input": {"range": [0, 255]}, "classes": {"columns": [7, 1, 3]}}
        and meta["seen"] == []
    )


def test_what_has_no_contract_is_kept_as_ever(store: Artifacts, tmp_path: Path) -> None:
    save_file(Affine(192, 3).state_dict(), tmp_path / "v.safetensors")
    own = OwnModel(tmp_path / "v.safetensors", "tests.support.own_nets:affine", (3, 8, 8), 3, classes=CLASSES)
    content = (tmp_path / "v.safetensors").read_bytes()
    assert (
        own.id == "victim-own-" + hashlib.sha256(content + b"tests.support.own_nets:affine").hexdigest()[:16]
    )
    save_own(store, own, RECORD)
    assert store.load(KIND, own.id).meta.keys() == {"factory", "image_shape", "num_classes", "record"}
    assert isinstance(load_module(store, own.id), Affine)


def test_a_folder_is_a_victim(store: Artifacts, tmp_path: Path) -> None:
    model = vit(tmp_path / "f", labels=("owl", "cat", "dog"))
    PROCESSORS["shorter, then the middle"]().save_pretrained(tmp_path / "f")
    own = OwnModel(tmp_path / "f", None, (3, 32, 32), 3, classes=CLASSES)
    save_own(store, own, RECORD)
    assert store.load(KIND, own.id).files.keys() == {
        "config.json",
        "preprocessor_config.json",
        "weights.safetensors",
    }
    images, module = blobs(4, 32, 32).requires_grad_(), load_module(store, own.id)
    out = module(images)
    torch.testing.assert_close(out, model(module.prepare(images)).logits[:, [1, 2, 0]])
    assert torch.autograd.grad(out.sum(), images)[0].abs().sum() > 0
    assert any("preprocessor_config.json" in note for note in store.load(KIND, own.id).meta["seen"])


def test_the_command_line_reads_a_folder_and_tells_what_it_saw(tmp_path: Path) -> None:
    vit(tmp_path / "f")
    PROCESSORS["from -1 to 1"]().save_pretrained(tmp_path / "f")
    rows: list[str] = []
    args = parsed("--victim", str(tmp_path / "f"), "--train", "tests.support.owners:train")
    own = own_victim(args, dataset(24), rows.append)
    assert own is not None and own.training is not None and own.training.factory == f"hf:{tmp_path / 'f'}"
    assert any("ViTImageProcessor" in line for line in rows)
    given = contract_of(own.training.given).input
    assert given.size == (24, 24) and given.range == (0.0, 2.0) and given.mean == (1.0, 1.0, 1.0)
    with pytest.raises(
        ConfigError, match=r"--contract says how a model is asked, but --victim with its weights is missing"
    ):
        own_victim(parsed("--contract", "input.mean=[0.5]"), dataset())
    with pytest.raises(ConfigError, match=r"has a field .maen., which is unknown; expected mean"):
        own_victim(parsed("--victim", str(tmp_path / "f"), "--contract", "input.maen=[0.5]"), dataset(24))


def test_a_victim_in_another_order_than_the_labels_of_its_twins_is_refused(tmp_path: Path) -> None:
    vit(tmp_path / "f", labels=("owl", "cat", "dog"))
    PROCESSORS["squashed"]().save_pretrained(tmp_path / "f")
    options = ["--victim", str(tmp_path / "f"), "--train"]
    says = (
        r"has the classes in the order owl, cat, dog, ..., the data in the order cat, dog, owl, .*one order:"
        r" --classes .*config\.json"
    )
    with pytest.raises(ConfigError, match=says):
        own_victim(parsed(*options, "tests.support.owners:train"), dataset(24))
    assert own_victim(parsed(*options, "tests.support.owners:train_alone"), dataset(24)), (
        "it reads its own data, and knows its own order"
    )
    assert own_victim(
        parsed(*options, "tests.support.owners:train"), replace(dataset(24), classes=("owl", "cat", "dog"))
    )


def test_twins_are_asked_as_their_victim_is(tmp_path: Path) -> None:
    save_file(Odd().state_dict(), tmp_path / "v.safetensors")
    twin = train(5)
    save_file(twin.state_dict(), tmp_path / "twin.safetensors")
    command = f"cp {tmp_path / 'twin.safetensors'} {{out}} --suffix={{seed}}"
    options = ["--victim", str(tmp_path / "v.safetensors"), "--factory", FACTORY, "--train-command", command]
    names = "classes.names=[" + ",".join(f'"c{i}"' for i in range(7)) + ',"dog","owl","cat"]'
    own = own_victim(parsed(*options, "--contract", "input.range=[0,255]", names), dataset())
    assert own is not None and own.training is not None
    assert contract_of(own.training.given).to_json() == {
        "input": {"range": [0, 255]},
        "output": {"name": "logits"},
        "classes": {"columns": [9, 7, 8]},
    }
    trained = own_training.train(own.training, 5, dataset())
    assert trained.module is not None, trained.reason
    images = blobs(3, 8, 8)
    expected = twin(images * 255)["logits"][:, [9, 7, 8]]
    torch.testing.assert_close(trained.module(images), expected)
    assert isinstance(trained.module, Contracted)


def test_a_procedure_without_a_contract_is_known_as_before() -> None:
    plain = called("train")
    assert "contract" not in settled(plain) and settled(replace(plain, contract="{}"))["contract"] == "{}"
    assert vars(planner)["OwnTraining"] is OwnTraining
    with pytest.raises(ConfigError, match="which is not JSON"):
        _ = replace(plain, contract="{").given


def test_twins_of_a_folder_and_of_a_net_by_name(tmp_path: Path) -> None:
    model = vit(tmp_path / "f")
    save_file(model.state_dict(), tmp_path / "twin.safetensors")
    command = f"cp {tmp_path / 'twin.safetensors'} {{out}} --suffix={{seed}}"
    own = OwnTraining(
        f"hf:{tmp_path / 'f'}", "x", command=command, contract='{"input": {"mean": [0.5], "std": [0.5]}}'
    )
    trained = own_training.train(own, 1, dataset(24))
    assert trained.module is not None, trained.reason
    images = blobs(2, 24, 24)
    torch.testing.assert_close(trained.module(images), model(images * 2 - 1).logits)
    net = timm.create_model("test_resnet", num_classes=3).eval()
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, tmp_path / "twin.safetensors")
    trained = own_training.train(replace(own, factory="timm:test_resnet"), 1, dataset(24))
    assert trained.module is not None, trained.reason
    torch.testing.assert_close(trained.module(images), net(images * 2 - 1))


def test_a_victim_that_lacks_a_class_is_refused(tmp_path: Path) -> None:
    save_file(Odd().state_dict(), tmp_path / "v.safetensors")
    said = contract_of({"classes": {"columns": [7, -1, 3]}})
    with pytest.raises(ModelError, match="a victim has all of them"):
        OwnModel(tmp_path / "v.safetensors", FACTORY, (3, 8, 8), 3, contract=said, classes=CLASSES).load()


def test_nothing_of_a_manifest_becomes_a_path(store: Artifacts, tmp_path: Path) -> None:
    save_file(Odd().state_dict(), tmp_path / "v.safetensors")
    content = (tmp_path / "v.safetensors").read_bytes()
    meta: dict[str, Any] = {
        "factory": FACTORY,
        "image_shape": [3, 8, 8],
        "num_classes": 10,
        "record": RECORD.to_json(),
    }
    with pytest.raises(InputError, match=r"'\.\./evil' cannot name"):
        store.save(KIND, "victim-own-1", {"weights.safetensors": content, "../evil": b"x"}, meta)
    store.save(
        KIND, "victim-own-2", {"weights.safetensors": content}, meta | {"contract": {"input": {"evil": 1}}}
    )
    with pytest.raises(ConfigError, match="has a field 'evil'"):
        load_module(store, "victim-own-2")


def learnt(scale: float, shift: float, order: list[int] | None = None) -> nn.Module:
    """Tells three classes by the mean of the image's first channel, taken from a range of its own."""

    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("centres", torch.tensor([0.2, 0.5, 0.8])[order or [0, 1, 2]])

        def forward(self, x: Tensor) -> Tensor:
            mean = ((x[:, 0].mean((1, 2)) - shift) / scale)[:, None]
            return -50 * (mean - self.get_buffer("centres")).square()

    return Mean()


@pytest.mark.parametrize(
    ("model", "flag"),
    [
        (learnt(255, 0), "with --contract 'input.range=[0,255]' it reaches 1.000 on 12 of them"),
        (learnt(2, -1), "with --contract 'input.range=[-1,1]' it reaches 1.000"),
        (learnt(1, 0, [2, 0, 1]), "'classes.columns=[1, 2, 0]'"),
        (learnt(1, 0), ""),
    ],
)
def test_a_victim_that_seems_to_know_nothing_is_made_sense_of(
    model: nn.Module, flag: str, tmp_path: Path
) -> None:
    labels = torch.arange(12) % 3
    images = (
        torch.tensor([51, 128, 204], dtype=torch.uint8)[labels]
        .view(-1, 1, 1, 1)
        .expand(-1, 3, 8, 8)
        .contiguous()
    )
    own = OwnModel(exported(model, tmp_path / "v.pt2", (3, 8, 8)), None, (3, 8, 8), 3, classes=CLASSES)
    result = remedy(own.loaded(), own.asked, ImageSet(images, labels))
    assert flag in result and bool(flag) == bool(result)
