"""Models that lie elsewhere: in S3, in the hub's cache, in an MLflow store."""

import importlib
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.support.hub import CLASSES, PROCESSORS, asked, blobs, vit
from tests.support.makers import Affine
from zooaudit.errors import InputError, StoreError
from zooaudit.storage.places import flavour, local
from zooaudit.suspects.load import load


def cached(home: Path, repo: str, folder: Path) -> None:
    """A snapshot in the hub's cache, as its client keeps it: links into blobs."""
    top = home / "hub" / f"models--{repo.replace('/', '--')}"
    snapshot = top / "snapshots" / ("a" * 40)
    for part in (snapshot, top / "refs", top / "blobs"):
        part.mkdir(parents=True)
    (top / "refs" / "main").write_text("a" * 40)
    for path in sorted(folder.iterdir()):
        (top / "blobs" / path.name).write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(Path("../../blobs") / path.name)


def test_models_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    model = vit(tmp_path / "f")
    PROCESSORS["squashed"]().save_pretrained(tmp_path / "f")
    cached(tmp_path / "home", "birds/vit", tmp_path / "f")
    loaded, images = load(local("hf://birds/vit"), None, asked((3, 24, 24))), blobs(2, 24, 24)
    torch.testing.assert_close(loaded.module(images), model(loaded.module.prepare(images)).logits)
    assert local("hf://birds/vit@main/model.safetensors").name == "model.safetensors"
    with pytest.raises(StoreError, match=r"hf://birds/none cannot be fetched"):
        local("hf://birds/none")
    for wrong in ("hf://birds", "hf://birds/../x"):
        with pytest.raises(InputError, match="is not a model of the hub"):
            local(wrong)


@pytest.mark.parametrize(
    ("place", "package", "bring"),
    [
        ("hf://a/b", "huggingface_hub", r"'zooaudit\[hub\]'"),
        ("models:/shirts/1", "mlflow", "mlflow"),
        ("runs:/1/m", "mlflow", "mlflow"),
        ("s3://a/b", "botocore", r"'zooaudit\[s3\]'"),
    ],
)
def test_a_missing_package_is_named(
    place: str, package: str, bring: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    for name in [name for name in sys.modules if name.startswith("zooaudit.storage.s3")]:
        monkeypatch.delitem(sys.modules, name)
    local.cache_clear()
    with pytest.raises(InputError, match=rf"^{place} needs .*{package}.*: pip install .*{bring}"):
        local(place)


def test_a_path_is_a_path(tmp_path: Path) -> None:
    save_file(Affine().state_dict(), tmp_path / "m.safetensors")
    assert local(str(tmp_path / "m.safetensors")) == tmp_path / "m.safetensors"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """MLflow, with an empty registry in a folder."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "registry").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    local.cache_clear()
    return importlib.import_module("mlflow")


def test_what_mlflow_keeps_around_a_model(tmp_path: Path) -> None:
    """A model of MLflow's is a folder with a description; here as its flavours write it."""
    (tmp_path / "onnx").mkdir()
    for name in ("MLmodel", "model.onnx", "model.onnx.data", "requirements.txt"):
        (tmp_path / "onnx" / name).write_bytes(b"")
    assert flavour(tmp_path / "onnx", "models:/a/1") == tmp_path / "onnx" / "model.onnx"
    vit(tmp_path / "transformers" / "model")
    (tmp_path / "transformers" / "MLmodel").write_bytes(b"")
    assert flavour(tmp_path / "transformers", "models:/a/1") == tmp_path / "transformers" / "model"
    (tmp_path / "pytorch" / "data").mkdir(parents=True)
    (tmp_path / "pytorch" / "data" / "model.pth").write_bytes(b"")
    with pytest.raises(
        InputError, match=r"holds data/model.pth; expected one .onnx, .* is a pickle, which is never opened"
    ):
        flavour(tmp_path / "pytorch", "models:/a/1")
    (tmp_path / "onnx" / "other.onnx").write_bytes(b"")
    with pytest.raises(InputError, match=r"expected one .onnx"):
        flavour(tmp_path / "onnx", "models:/a/1")


def test_models_in_an_mlflow_registry(
    registry: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, len(CLASSES)))
    torch.onnx.export(
        net,
        (torch.zeros(1, 3, 4, 4),),
        str(tmp_path / "m.onnx"),
        input_names=["x"],
        output_names=["y"],
        dynamo=False,
    )
    with registry.start_run() as run:
        made = registry.onnx.log_model(
            onnx.load(tmp_path / "m.onnx"), name="m", registered_model_name="shirts"
        )
    capfd.readouterr()
    images = blobs(2, 4, 4)
    for place in ("models:/shirts/1", "models:/shirts/latest", made.model_uri, f"runs:/{run.info.run_id}/m"):
        found = local(place)
        assert found.name == "model.onnx"
        loaded = load(found, None, asked((3, 4, 4)))
        torch.testing.assert_close(loaded.module(images), net(images))
    assert capfd.readouterr().err == ""
    with pytest.raises(
        StoreError, match=r"models:/shirts/2 cannot be fetched \(MlflowException: .*version.* not found"
    ):
        local("models:/shirts/2")
    with pytest.raises(StoreError, match=r"models:/hats/1 cannot be fetched"):
        local("models:/hats/1")


def test_a_pickle_in_an_mlflow_registry_is_never_opened(registry: Any, tmp_path: Path) -> None:
    (tmp_path / "model.pth").write_bytes(b"\x80")
    with registry.start_run() as run:
        registry.log_artifact(str(tmp_path / "model.pth"), "m/data")
    with pytest.raises(
        InputError, match=r"holds data/model.pth; expected one .onnx, .* is a pickle, which is never opened"
    ):
        local(f"runs:/{run.info.run_id}/m")
