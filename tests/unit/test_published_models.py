"""Published models as they lie in a download: where they are looked for, and weights and configurations
that do not fit."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.support.downloads import (
    INNOCENTS,
    MEAN,
    PRUNED,
    STD,
    TINY,
    TUNED,
    VICTIM,
    masked,
    net,
)
from zooaudit.errors import DataError, ModelError
from zooaudit.studies.published_models import checked, find, load, opened
from zooaudit.studies.published_names import hub_name

pytestmark = [pytest.mark.xdist_group("published"), pytest.mark.usefixtures("small_benchmark")]
FOLDER = f"SACBenchmark-{hub_name(VICTIM)}"


def moved(folder: Path, name: str, to: str) -> None:
    target = folder / to
    target.parent.mkdir(parents=True, exist_ok=True)
    (folder / "models" / f"SACBenchmark-{hub_name(name)}").rename(target)


def test_models_lie_directly_in_the_folder_or_in_a_hubs_cache(own_download: Path) -> None:
    before = load(TINY, TUNED, find(own_download).folders)
    moved(own_download, VICTIM, FOLDER)
    cache = f"models--maurice-fp--SACBenchmark-{hub_name(TUNED)}"
    moved(own_download, TUNED, f"{cache}/snapshots/0123abc")
    blobs = own_download / cache / "blobs"
    blobs.mkdir()
    weights = own_download / cache / "snapshots" / "0123abc" / "model.safetensors"
    weights.rename(blobs / "feed")
    weights.symlink_to(Path("..") / ".." / "blobs" / "feed")
    moved(own_download, PRUNED, f"models/models--maurice-fp--SACBenchmark-{hub_name(PRUNED)}/snapshots/9")
    found = find(own_download)
    assert set(found.folders) == {VICTIM, TUNED, PRUNED, *INNOCENTS} and not found.strange
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(load(TINY, TUNED, found.folders)(x), before(x))


def test_of_several_snapshots_the_branchs_is_read(own_download: Path) -> None:
    cache = own_download / "models" / f"models--maurice-fp--SACBenchmark-{hub_name(VICTIM)}"
    moved(own_download, VICTIM, str(cache / "snapshots" / "aaa"))
    shutil.copytree(cache / "snapshots" / "aaa", cache / "snapshots" / "bbb")
    with pytest.raises(ModelError, match=r"holds 2 snapshots, of which refs/main names none"):
        opened(cache)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("bbb")
    assert opened(cache).name == "bbb"


def test_a_model_that_is_there_twice_is_refused(own_download: Path) -> None:
    shutil.copytree(own_download / "models" / FOLDER, own_download / FOLDER)
    with pytest.raises(DataError, match="is there twice"):
        find(own_download)


def test_a_folder_of_pickles_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "finetune_model").mkdir()
    torch.save({"a": torch.zeros(1)}, tmp_path / "finetune_model" / "finetune_C_0.pth")
    with pytest.raises(
        DataError,
        match=r"holds finetune_model/finetune_C_0.pth; pickles can run code .*safetensors.torch.save_file",
    ):
        find(tmp_path)
    (tmp_path / FOLDER).mkdir()
    torch.save({"a": torch.zeros(1)}, tmp_path / FOLDER / "pytorch_model.bin")
    with pytest.raises(
        ModelError, match=r"has pytorch_model.bin and no model.safetensors; pickles .*save_file"
    ):
        checked(find(tmp_path).folders[VICTIM])


def test_a_folder_without_models_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=rf"holds no model of SACBenchmark; expected folders such as models/{FOLDER}"
    ):
        find(tmp_path)
    (tmp_path / "SACBenchmark-else").mkdir()
    with pytest.raises(DataError, match="holds SACBenchmark-else, which is none of them"):
        find(tmp_path)


def altered(folder: Path, name: str, change: Callable[[dict[str, Tensor]], object]) -> None:
    path = folder / "models" / f"SACBenchmark-{hub_name(name)}" / "model.safetensors"
    weights = load_file(path)
    path.unlink()
    change(weights)
    save_file(weights, path)


ODD: dict[str, tuple[str, Callable[[dict[str, Tensor]], object], str]] = {
    "a wrong shape": (
        TUNED,
        lambda w: w.update({"classifier.1.weight": torch.zeros(9, 1280)}),
        r"classifier.1.weight is .*\(9, 1280\)",
    ),
    "one missing": (TUNED, lambda w: w.pop("classifier.1.bias"), r"lacks classifier.1.bias"),
    "one too many": (
        TUNED,
        lambda w: w.update(more=torch.zeros(1)),
        r"holds more, which the model does not have",
    ),
    "not finite": (TUNED, lambda w: w["classifier.1.bias"].fill_(float("nan")), "NaN or infinite"),
    "a mask, not pruned": (
        TUNED,
        lambda w: w.update({"classifier.1.bias_mask": torch.ones(10)}),
        "holds classifier.1.bias_mask",
    ),
    "no mask": (
        PRUNED,
        lambda w: w.pop("features.0.0.weight_mask"),
        "lacks features.0.0.weight_mask; expected both",
    ),
    "a mask alone": (
        PRUNED,
        lambda w: w.pop("features.0.0.weight_orig"),
        "lacks features.0.0.weight_orig; expected both",
    ),
    "a mask of another shape": (
        PRUNED,
        lambda w: w.update({"features.0.0.weight_mask": torch.ones(1)}),
        r"_mask is \(1,\); expected",
    ),
    "no mask but numbers": (
        PRUNED,
        lambda w: w["features.0.0.weight_mask"].fill_(0.5),
        "holds other values than 0 and 1",
    ),
    "a weight twice": (
        PRUNED,
        lambda w: w.update({"features.0.0.weight": torch.zeros(32, 3, 3, 3)}),
        "expected one of them",
    ),
}


@pytest.mark.parametrize("case", ODD)
def test_weights_that_do_not_fit_are_an_error_that_names_the_file(case: str, own_download: Path) -> None:
    name, change, said = ODD[case]
    altered(own_download, name, change)
    with pytest.raises(ModelError, match=said) as error:
        load(TINY, name, find(own_download).folders)
    assert f"SACBenchmark-{hub_name(name)}/model.safetensors" in str(error.value) and "\n" not in str(
        error.value
    )


def test_a_pruned_net_answers_as_torch_would_have_it(downloaded: Path) -> None:
    from torch.nn.utils import prune

    expected = net(0)
    for layer in (expected.features[0][0], expected.features[18][0]):
        prune.identity(layer, "weight")
    expected.load_state_dict(masked(net(0).state_dict()))
    x = torch.rand(4, 3, 32, 32)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    with torch.no_grad():
        found, plain = (load(TINY, n, find(downloaded).folders)(x) for n in (PRUNED, VICTIM))
        assert torch.allclose(found, expected((x - mean) / std), atol=1e-4) and not torch.allclose(
            found, plain, atol=1e-2
        )


CONFIGS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no pretrained_cfg": (lambda c: c.pop("pretrained_cfg"), "has no pretrained_cfg"),
    "no mean": (
        lambda c: c["pretrained_cfg"].pop("mean"),
        "mean is None; expected three numbers from 0 to 1",
    ),
    "a deviation of zero": (
        lambda c: c["pretrained_cfg"].update(std=[0.2, 0, 0.2]),
        "std is .*; expected three numbers",
    ),
    "a mean of bytes": (lambda c: c["pretrained_cfg"].update(mean=[125, 122, 113]), "mean is"),
    "another size": (
        lambda c: c["pretrained_cfg"].update(input_size=[3, 64, 64]),
        r"input_size is \[3, 64, 64\]; expected \[3, 32, 32\]",
    ),
    "other classes": (lambda c: c.update(num_classes=100), "num_classes is 100; expected 10"),
    "another net": (
        lambda c: c.update(architecture="resnet18"),
        "architecture is 'resnet18'; expected 'mobilenet_v2'",
    ),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_a_configuration_that_does_not_fit_is_refused(case: str, own_download: Path) -> None:
    change, said = CONFIGS[case]
    path = own_download / "models" / FOLDER / "config.json"
    data = json.loads(path.read_text())
    path.unlink()
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(ModelError, match=said) as error:
        load(TINY, VICTIM, find(own_download).folders)
    assert str(path) in str(error.value)


def test_a_missing_configuration_is_an_error(own_download: Path) -> None:
    (own_download / "models" / FOLDER / "config.json").unlink()
    with pytest.raises(ModelError, match=r"config.json cannot be read"):
        load(TINY, VICTIM, find(own_download).folders)
