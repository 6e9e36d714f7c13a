"""Which weights and factories of a suspect are let in, and what is said of those that are not."""

import pickle
import struct
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file, save_model
from torch import nn

from tests.support.makers import Affine
from zooaudit.errors import AnswersError, ModelError
from zooaudit.suspects.load import load_model
from zooaudit.suspects.weights import put_weights

SHAPE = (1, 4, 4)
FACTORY = "user_models:affine"
USER_MODULE = """
import torch
from torch import nn
from tests.support.makers import Affine

def affine(): return Affine()
class Group:
    nested = staticmethod(affine)
def failing(): raise RuntimeError("no disk for the cache")
def leaving(): raise SystemExit(3)
def number(): return 42
class Rows(Affine):
    def forward(self, x): return super().forward(x)[:, :3]
class Nan(Affine):
    def forward(self, x): return super().forward(x) * float("nan")
class Picky(Affine):
    def forward(self, x):
        assert x.shape[1] == 3
        return super().forward(x)
class Lookup(Affine):
    def forward(self, x): return {}["logits"]
"""


@pytest.fixture(autouse=True)
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own module, importable for one test."""
    (tmp_path / "user_models.py").write_text(USER_MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "user_models", raising=False)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_file(Affine().state_dict(), path)
    return path


def refused(path: Path, *expected: str, factory: str | None = FACTORY) -> None:
    with pytest.raises(ModelError) as caught:
        load_model(path, factory, SHAPE, 4)
    for text in expected:
        assert text in str(caught.value), str(caught.value)


@pytest.mark.parametrize("factory", [FACTORY, "user_models:Group.nested", "tests.support.makers:Affine"])
def test_weights_are_put_into_what_the_factory_builds(factory: str, weights: Path) -> None:
    changed = {k: v + 1 for k, v in Affine().state_dict().items()}
    save_file(changed, weights)
    model = load_model(weights, factory, SHAPE, 4)
    assert all(torch.equal(v, changed[k]) for k, v in model.state_dict().items())
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())


def test_the_current_folder_is_searched_for_the_factory(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "only_here.py").write_text("from tests.support.makers import Affine as build\n")
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    monkeypatch.chdir(here)
    assert isinstance(load_model(weights, "only_here:build", SHAPE, 4), Affine)


@pytest.mark.parametrize(
    ("factory", "expected"),
    [
        ("user_models", "'user_models' is not of the form package.module:factory"),
        (":affine", "':affine' is not of the form package.module:factory"),
        ("user_models:", "'user_models:' is not of the form"),
        ("no_such_module:make", "factory no_such_module:make failed: ModuleNotFoundError"),
        ("user_models:missing", "failed: AttributeError"),
        ("user_models:failing", "failed: RuntimeError: no disk for the cache"),
        ("user_models:leaving", "factory user_models:leaving failed"),
        ("user_models:number", "returned a int; expected a torch.nn.Module"),
        ("user_models:Rows", "gave a tensor of shape (2, 3) for 2 images; expected (2, 4)"),
        ("user_models:Nan", "gave NaN or infinite values for 2 of 2 images"),
        ("user_models:Picky", "failed on 2 float images of shape (1, 4, 4)"),
        ("user_models:Lookup", "failed on 2 float images of shape (1, 4, 4)"),
    ],
)
def test_what_is_wrong_with_a_factory_is_said(factory: str, expected: str, weights: Path) -> None:
    with pytest.raises((ModelError, AnswersError)) as caught:
        load_model(weights, factory, SHAPE, 4)
    assert expected in str(caught.value)


class Tied(nn.Module):
    """Two names for one tensor, as language models and some classifiers have."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
        self.last.weight = self.first.weight


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_wrapped_and_half_precise_weights_are_the_models(
    prefix: str, dtype: torch.dtype, weights: Path, tmp_path: Path
) -> None:
    plain = load_file(weights)
    path = tmp_path / "wrapped.safetensors"
    save_file({prefix + name: tensor.to(dtype) for name, tensor in plain.items()}, path)
    found = load_model(path, FACTORY, SHAPE, 4).state_dict()
    assert all(torch.equal(found[name], tensor.to(dtype).float()) for name, tensor in plain.items())


def test_one_prefix_of_several_is_not_taken_off(weights: Path, tmp_path: Path) -> None:
    first, *others = load_file(weights).items()
    save_file({"module." + first[0]: first[1], **dict(others)}, tmp_path / "mixed.safetensors")
    with pytest.raises(ModelError, match=f"lacks {first[0]}"):
        load_model(tmp_path / "mixed.safetensors", FACTORY, SHAPE, 4)


def test_weights_that_share_memory_are_kept_once(tmp_path: Path) -> None:
    one, other = Tied(), Tied()
    save_model(one, str(tmp_path / "tied.safetensors"))
    kept = load_file(tmp_path / "tied.safetensors")
    assert len(kept) == 1
    put_weights(other, kept, "tied")
    assert torch.equal(other.last.weight, one.last.weight) and torch.equal(
        other.first.weight, one.first.weight
    )
    apart = nn.ModuleDict({"first": nn.Linear(4, 4, bias=False), "last": nn.Linear(4, 4, bias=False)})
    with pytest.raises(ModelError, match="lacks"):
        put_weights(apart, kept, "tied")


def test_doubles_are_not_made_less_precise_without_a_word(weights: Path, tmp_path: Path) -> None:
    save_file(
        {name: tensor.double() for name, tensor in load_file(weights).items()},
        tmp_path / "double.safetensors",
    )
    with pytest.raises(ModelError, match=r"is torch\.float64 .*; expected torch\.float32"):
        load_model(tmp_path / "double.safetensors", FACTORY, SHAPE, 4)


def test_weights_without_a_factory_say_how_to_give_one(weights: Path) -> None:
    refused(weights, str(weights), "--factory package.module:factory", factory=None)


def test_no_such_file(tmp_path: Path) -> None:
    refused(
        tmp_path / "gone.safetensors",
        str(tmp_path / "gone.safetensors"),
        "does not exist",
        "expected a .safetensors, .pt2 or .onnx file",
    )


def test_weights_that_do_not_fit_state_path_found_and_expected(weights: Path) -> None:
    good = Affine().state_dict()
    for changed, expected in [
        ({"linear.weight": good["linear.weight"]}, "lacks linear.bias; expected the 2 tensors of the model"),
        (
            good | {"head.weight": torch.zeros(2)},
            "holds head.weight, which the model does not have; expected 2 tensors",
        ),
        (
            good | {"linear.weight": torch.zeros(4, 15)},
            "linear.weight is torch.float32 (4, 15); expected torch.float32 (4, 16)",
        ),
        (
            good | {"linear.bias": torch.zeros(4).long()},
            "linear.bias is torch.int64 (4,); expected torch.float32 (4,)",
        ),
        (
            good | {"linear.bias": torch.tensor([0, 1, float("nan"), 2])},
            "linear.bias holds NaN or infinite values; expected finite weights",
        ),
        (
            good | {"linear.bias": torch.tensor([0, 1, float("inf"), 2])},
            "linear.bias holds NaN or infinite values",
        ),
    ]:
        save_file(changed, weights)
        refused(weights, str(weights), expected)


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.safetensors", "model.bin"])
@pytest.mark.parametrize("kind", ["pickle", "old pickle", "torch.save", "legacy torch.save"])
def test_pickles_are_refused_unopened_under_any_name(name: str, kind: str, tmp_path: Path) -> None:
    path, marker = tmp_path / name, tmp_path / "marker"
    if "torch" in kind:
        torch.save({"weight": Bomb(marker)}, path, _use_new_zipfile_serialization=kind == "torch.save")
    else:
        path.write_bytes(pickle.dumps(Bomb(marker), protocol=0 if kind == "old pickle" else 4))
    refused(path, str(path), "safetensors")
    assert not marker.exists(), "the pickle was opened"


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 40, -1])
def test_truncated_safetensors(keep: int, weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:keep])
    refused(weights, str(weights), "not a readable safetensors file", "save it again")


@pytest.mark.parametrize("header", [384, 640, 1152])
def test_a_header_whose_length_looks_like_a_pickles_first_byte(header: int, tmp_path: Path) -> None:
    """Safetensors begin with their header's length: for one in 32 its first byte is 0x80,
    as that of a pickle is."""
    weights = Affine().state_dict()
    path = tmp_path / "model.safetensors"

    def save(note: int) -> int:
        save_file(weights, path, metadata={"note": "x" * note})
        return int(struct.unpack("<Q", path.read_bytes()[:8])[0])

    assert save(header - save(0)) == header
    assert path.read_bytes()[0] == 0x80
    assert load_file(path).keys() == weights.keys()
    assert torch.equal(load_model(path, FACTORY, SHAPE, 4).linear.weight, weights["linear.weight"])


def test_two_and_three_blank_images_are_tried(weights: Path) -> None:
    """Two sizes of batch, so that a model made for one size is found out."""
    seen: list[tuple[int, ...]] = []
    model = Affine()
    model.register_forward_pre_hook(lambda _, x: seen.append(tuple(x[0].shape)))
    sys.modules["hooked"] = type(sys)("hooked")
    sys.modules["hooked"].make = lambda: model  # type: ignore[attr-defined]
    load_model(weights, "hooked:make", SHAPE, 4)
    del sys.modules["hooked"]
    assert {n for n, *_ in seen} == {2, 3}
    assert {tuple(shape) for _, *shape in seen} == {SHAPE}
