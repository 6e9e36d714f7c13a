"""Weights in several files, and .pt2 files as people export them: dicts, tuples, no_grad
blocks, names with a hyphen."""

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers.utils.generic import ModelOutput

from tests.support.archives import GRAPH, edit, rewrite
from tests.support.hub import vit
from tests.support.makers import Affine
from tests.support.weights import SHAPE, exported, sharded
from zooaudit.errors import ModelError
from zooaudit.storage.models import OwnModel
from zooaudit.suspects import files
from zooaudit.suspects.contract_files import contract_of
from zooaudit.suspects.load import Asked, load, load_model

IMAGES = torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(2))


def test_weights_in_several_files(tmp_path: Path) -> None:
    model = Affine(seed=3)
    path = sharded(tmp_path, model)
    loaded = load_model(path, "tests.support.makers:Affine", SHAPE, 4)
    assert torch.equal(loaded(IMAGES), model(IMAGES))
    assert files.files_of(path) == (path, tmp_path / "model-0.safetensors", tmp_path / "model-1.safetensors")
    before = OwnModel(path, "tests.support.makers:Affine", SHAPE, 4).id
    save_file({"linear.bias": torch.zeros(4)}, tmp_path / "model-1.safetensors")
    assert OwnModel(path, "tests.support.makers:Affine", SHAPE, 4).id != before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weight_map": {}}, "has no weight_map"),
        ({"weight_map": {"linear.weight": "../model-0.safetensors"}}, "lies outside its folder"),
        ({"weight_map": {"linear.weight": "model-7.safetensors"}}, "which is not there"),
        ({"weight_map": {"linear.weight": "model-0.safetensors"}}, "lacks linear.bias"),
        (
            {"weight_map": {"linear.weight": "model-1.safetensors", "linear.bias": "model-0.safetensors"}},
            "says otherwise",
        ),
        ({"weight_map": {"linear.weight": "evil.pt"}}, "never opened"),
    ],
)
def test_an_index_that_lies_is_refused(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    torch.save(Affine().state_dict(), tmp_path / "evil.pt")
    (tmp_path / "sub").mkdir()
    path = sharded(tmp_path, Affine(), **changes)
    with pytest.raises(ModelError, match=words):
        load_model(path, "tests.support.makers:Affine", SHAPE, 4)


@pytest.mark.filterwarnings("ignore:.torch.jit.trace")
def test_torchscript_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.jit.trace(Affine(), torch.zeros(1, *SHAPE)).save(path)
    with pytest.raises(ModelError, match=r"is TorchScript, .*torch\.onnx\.export\(torch\.jit\.load\(path\)"):
        load_model(path, "tests.support.makers:Affine", SHAPE, 4)


class Pair(NamedTuple):
    logits: Tensor
    features: Tensor


# As its author must.
torch.utils._pytree._register_namedtuple(Pair, serialized_type_name="tests.unit.test_weight_files.Pair")


class Odd(nn.Module):
    """What public models do beside answering."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.blocks = nn.ModuleDict({"head-1": Affine(seed=5)})
        self.register_buffer("shift-1", torch.full((1,), 0.25))

    def forward(self, x: Tensor) -> Any:
        if self.form == "no_grad":
            with torch.no_grad():
                x = x + self.get_buffer("shift-1")
            return self.blocks["head-1"](x)
        if self.form == "autocast":
            with torch.autocast("cpu", torch.bfloat16):
                x = x * 1.0
            return self.blocks["head-1"](x)
        scores, features = self.blocks["head-1"](x + self.get_buffer("shift-1")), x.flatten(1)
        return {
            "dict": {"features": features, "logits": scores},
            "ordered": OrderedDict(a=features, b=scores),
            "tuple": (features, scores),
            "list": [scores, features],
            "named": Pair(scores, features),
            "nested": {"out": (scores, features)},
            "plain": scores,
        }[self.form]


@pytest.mark.parametrize(
    "form", ["dict", "ordered", "tuple", "list", "named", "no_grad", "autocast", "plain"]
)
def test_pt2_files_as_people_export_them(form: str, tmp_path: Path) -> None:
    model = Odd(form).eval()
    loaded = load_model(exported(model, tmp_path / "m.pt2"), None, SHAPE, 4)
    shift = 0.0 if form == "autocast" else 0.25
    torch.testing.assert_close(loaded(IMAGES), model.blocks["head-1"](IMAGES + shift))


def test_a_dict_of_a_library_becomes_a_plain_one(tmp_path: Path) -> None:
    model = vit(tmp_path / "vit")
    path = exported(model, tmp_path / "m.pt2", (3, 24, 24))
    images = torch.rand(3, 3, 24, 24)
    torch.testing.assert_close(
        load_model(path, None, (3, 24, 24), 3)(images), model(images).logits, atol=1e-4, rtol=1e-4
    )
    assert isinstance(model(images), ModelOutput)


def test_what_is_not_let_in_is_named_without_suspicion(tmp_path: Path) -> None:
    class Sorted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cond(
                x.sum() > 0, lambda x: x.flatten(1)[:, :4] + 1, lambda x: x.flatten(1)[:, :4] - 1, (x,)
            )

    with pytest.raises(
        ModelError,
        match=(
            r"target is 'torch.ops.higher_order.cond', which is not accepted; expected an operator of"
            r" torch.ops.aten"
        ),
    ) as caught:
        load_model(exported(Sorted(), tmp_path / "m.pt2"), None, SHAPE, 4)
    assert "attack" not in str(caught.value) and "could run code" not in str(caught.value)


def test_a_tree_of_outputs_imports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lying_around.py").write_text(f"open({str(tmp_path / 'marker')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    path = exported(Odd("tuple").eval(), tmp_path / "m.pt2")

    def evil(graph: Any) -> None:
        leaf: dict[str, Any] = {"type": None, "context": None, "children_spec": []}
        context = json.dumps(
            {
                "default_factory_module": "lying_around",
                "default_factory_name": "f",
                "dict_context": ["a", "b"],
            }
        )
        tree = {"type": "collections.defaultdict", "context": context, "children_spec": [leaf, leaf]}
        graph["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = json.dumps([1, tree])

    loaded = load_model(rewrite(path, tmp_path / "bad.pt2", {GRAPH: edit(evil)}), None, SHAPE, 4)
    assert loaded(IMAGES).shape == (5, 4) and not (tmp_path / "marker").exists()

    def worse(graph: Any) -> None:
        tree = {
            "type": "builtins.dict",
            "context": json.dumps(["x');evil('", "b"]),
            "children_spec": [{"type": None, "context": None, "children_spec": []}] * 2,
        }
        graph["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = json.dumps([1, tree])

    with pytest.raises(
        ModelError, match=r"expected tensors, or tuples and dicts of tensors with plain names"
    ):
        load_model(rewrite(path, tmp_path / "bad.pt2", {GRAPH: edit(worse)}), None, SHAPE, 4)


def test_a_victim_without_gradients_is_refused(tmp_path: Path) -> None:
    class Closed(Affine):
        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                return super().forward(x)

    with pytest.raises(
        ModelError, match=r"has no gradients to craft a UAP with: is all of it in a no_grad block"
    ):
        OwnModel(exported(Closed(), tmp_path / "m.pt2"), None, SHAPE, 4).load()
    rounded = contract_of({"input": {"dtype": "uint8", "scale": 0.01}})
    save_file(Affine().double().state_dict(), tmp_path / "m.safetensors")
    with pytest.raises(ModelError):
        OwnModel(tmp_path / "m.safetensors", "tests.support.makers:Affine", SHAPE, 4, contract=rounded).load()


def test_a_pt2_file_of_half_precision_and_of_channels_last(tmp_path: Path) -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Affine(48, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x.float().permute(0, 3, 1, 2))

    program = torch.export.export(
        Last(), (torch.zeros(2, 4, 4, 3, dtype=torch.float16),), dynamic_shapes=({0: torch.export.Dim("n")},)
    )
    torch.export.save(program, tmp_path / "m.pt2")
    loaded = load(tmp_path / "m.pt2", None, Asked((3, 4, 4), ("a", "b", "c", "d")))
    images = torch.rand(3, 3, 4, 4)
    torch.testing.assert_close(loaded.module(images), Affine(48, 4)(images.half().float()))
    assert loaded.notes == ("takes float16", "takes [n, 4, 4, 3]: layout nhwc")
