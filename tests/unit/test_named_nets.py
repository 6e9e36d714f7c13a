"""Nets of timm and torchvision by name, and timm's folders: their own pipelines'
probabilities, nothing downloaded."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform
from torch import Tensor, nn

from tests.support.hub import asked, blobs
from zooaudit.errors import InputError, ModelError
from zooaudit.suspects.factories import call_factory
from zooaudit.suspects.load import load

NET = "test_resnet"


def saved(model: nn.Module, path: Path) -> Path:
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, path)
    return path


def tiny(classes: int = 3, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(NET, num_classes=classes, **options).eval()


def pictures(images: Tensor) -> list[Image.Image]:
    return [Image.fromarray((i * 255).round().byte().permute(1, 2, 0).numpy()) for i in images]


def settled_batchnorm(model: nn.Module) -> nn.Module:
    """Statistics of real images, so that answers differ."""
    model.train()
    with torch.no_grad():
        for _ in range(8):
            model((blobs(4, 96, 96) - 0.5) / 0.25)
    return model.eval()


@pytest.mark.parametrize("shape", [(200, 180), (64, 64)])
@pytest.mark.parametrize(
    "changes",
    [{}, {"crop_mode": "squash", "interpolation": "bilinear"}, {"interpolation": "lanczos", "crop_pct": 0.9}],
)
def test_a_folder_gives_the_probabilities_of_timms_own_transform(
    shape: tuple[int, int], changes: dict[str, Any], tmp_path: Path
) -> None:
    if shape == (200, 180) and changes.get("crop_mode") == "squash":
        changes = changes | {"crop_pct": 1.0}
    model = settled_batchnorm(tiny())
    cfg = {
        "input_size": [3, 160, 160],
        "mean": [0.4, 0.5, 0.6],
        "std": [0.2, 0.25, 0.3],
        "crop_pct": 0.95,
        "interpolation": "bicubic",
    } | changes
    data = {
        "architecture": NET,
        "num_classes": 3,
        "pretrained_cfg": cfg,
        "label_names": ["cat", "dog", "owl"],
    }
    (tmp_path / "config.json").write_text(json.dumps(data))
    saved(model, tmp_path / "model.safetensors")
    loaded = load(tmp_path, None, asked((3, *shape)))
    model.pretrained_cfg |= {k: tuple(v) if isinstance(v, list) else v for k, v in cfg.items()}
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    images = blobs(4, *shape)
    given = torch.stack([transform(p) for p in pictures(images)])
    prepared = loaded.module.prepare(images)
    assert float(((prepared - given).abs() * torch.tensor(cfg["std"]).view(3, 1, 1)).max()) < 2 / 255, (
        "rounding to 8 bits, no more"
    )
    with torch.no_grad():
        torch.testing.assert_close(
            loaded.module(images).softmax(1), model(given).softmax(1), atol=0.01, rtol=0
        )
    assert any("timm" in note for note in loaded.notes)


def test_by_name_with_weights_of_other_classes_and_channels(tmp_path: Path) -> None:
    model = tiny(5, in_chans=1)
    path = saved(model, tmp_path / "w.safetensors")
    said = {"input": {"size": [28, 28], "mean": [0.2], "std": [0.5]}, "classes": {"columns": [4, 0, 2]}}
    loaded = load(path, f"timm:{NET}", asked((1, 28, 28), **said))
    images = blobs(3, 28, 28, 1)
    torch.testing.assert_close(loaded.module(images), model((images - 0.2) / 0.5)[:, [4, 0, 2]])
    with pytest.raises(
        ModelError, match=r"takes 1 channel; state how its images are normalised: --contract 'input.mean"
    ):
        load(path, f"timm:{NET}", asked((1, 28, 28), classes={"columns": [4, 0, 2]}))


def test_by_name_its_pretrained_cfg_is_taken_and_said(tmp_path: Path) -> None:
    model = tiny()
    loaded = load(saved(model, tmp_path / "w.safetensors"), f"timm:{NET}", asked((3, 64, 64)))
    assert loaded.contract.input.size == (160, 160) and loaded.contract.input.mean == (0.5, 0.5, 0.5)
    assert loaded.notes == (f"timm:{NET}: preprocessing from timm's pretrained_cfg",)


def test_torchvision_by_name(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = torchvision.models.squeezenet1_1(num_classes=3).eval()
    path = saved(model, tmp_path / "w.safetensors")
    loaded, images = load(path, "torchvision:squeezenet1_1", asked((3, 64, 64))), blobs(2, 64, 64)
    torch.testing.assert_close(loaded.module(images), model(images))
    said = {
        "input": {
            "size": [64, 64],
            "resize": "shorter",
            "resize_to": [72],
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
        }
    }
    loaded = load(path, "torchvision:squeezenet1_1", asked((3, 100, 80), **said))
    preset = torchvision.transforms._presets.ImageClassification(crop_size=64, resize_size=72)
    images = blobs(3, 100, 80)
    theirs = torch.stack([preset(p) for p in pictures(images)])
    prepared = loaded.module.prepare(images)
    assert float(((prepared - theirs).abs() * 0.225).max()) < 1.1 / 255
    with torch.no_grad():
        torch.testing.assert_close(
            loaded.module(images).softmax(1), model(theirs).softmax(1), atol=0.01, rtol=0
        )


def test_a_net_by_name_is_a_factory() -> None:
    assert call_factory(f"timm:{NET}", num_classes=7).eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 7)
    assert call_factory("torchvision:squeezenet1_1", num_classes=4).eval()(
        torch.zeros(1, 3, 64, 64)
    ).shape == (1, 4)


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        ("timm:test_resnext", "timm has no net of that name"),
        ("torchvision:alexnet9", "torchvision has no classifier of that name"),
        ("torchvision:fasterrcnn_resnet50_fpn", "torchvision has no classifier"),
        ("timm:hf-hub:timm/resnet18", "timm has no net of that name"),
    ],
)
def test_what_is_no_net_is_said(factory: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        call_factory(factory)


def test_weights_of_another_net_are_refused(tmp_path: Path) -> None:
    path = saved(torchvision.models.squeezenet1_1(num_classes=3), tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=r"lacks"):
        load(path, f"timm:{NET}", asked((3, 64, 64)))


def test_a_timm_folder_downloads_nothing_and_names_what_is_unknown(tmp_path: Path) -> None:
    saved(tiny(), tmp_path / "model.safetensors")
    for result, words in (
        ({"architecture": "hf-hub:evil/net"}, "expected one of timm.list_models"),
        ({"architecture": NET, "model_args": {"block": {"a": 1}}}, "model_args"),
        ({"architecture": NET, "num_classes": 9}, "expected torch.float32"),
        (
            {"architecture": NET, "num_classes": 3, "pretrained_cfg": {"crop_mode": "border"}},
            "crop_mode border",
        ),
    ):
        (tmp_path / "config.json").write_text(json.dumps(result))
        with pytest.raises(InputError, match=words):
            load(tmp_path, None, asked((3, 160, 160)))


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(ModelError, match=r"needs the extra hub .*timm.*pip install 'zooaudit\[hub\]'"):
        load(saved(nn.Linear(2, 2), tmp_path / "w.safetensors"), "timm:resnet18", asked((3, 8, 8)))
