"""QuRD's protocol on published models, out of a download made here: real safetensors of
real nets, and what may be wrong with it."""

import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from tests.support.downloads import (
    INNOCENTS,
    MEAN,
    MISSING,
    PRUNED,
    STD,
    TINY,
    TUNED,
    VICTIM,
    download,
    masked,
    net,
)
from tests.support.makers import png
from tests.support.published_files import REUSE
from zooaudit.baselines import methods
from zooaudit.baselines.adversarial import pgd
from zooaudit.baselines.intersection import Iris
from zooaudit.cli.main import main
from zooaudit.config import UapConfig
from zooaudit.data.reading import Reading, Sizing
from zooaudit.errors import DataError, ModelError, NotEnoughModelsError
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.opening import open_store
from zooaudit.studies import cuts, published, published_models, published_names, qurd
from zooaudit.studies.published import run_published
from zooaudit.studies.published_images import read_images
from zooaudit.studies.published_models import checked, find, load, opened
from zooaudit.studies.published_names import hub_name
from zooaudit.studies.registry import ON_MODELS
from zooaudit.studies.runner import Result
from zooaudit.studies.validity import of

SMALL = (4, 8)
FOLDER = f"SACBenchmark-{hub_name(VICTIM)}"


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """A benchmark of five models, and few questions that are made in few steps."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (published, published_models, published_names):
            patch.setattr(module, "BENCHMARKS", (TINY,))
        for module in (cuts, qurd, published):
            patch.setattr(module, "BUDGETS", SMALL)
        patch.setattr(methods, "STEPS", 3)
        patch.setattr(methods, "Iris", partial(Iris, steps=3))
        patch.setattr(methods, "pgd", partial(pgd, steps=3))
        patch.setattr(methods, "UAP", UapConfig(points=40, max_steps=3, batch_size=20))
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return download(tmp_path_factory.mktemp("download"))


@pytest.fixture
def place(whole: Path, tmp_path: Path) -> Path:
    """A copy to spoil: weights are linked, not copied."""
    return Path(
        shutil.copytree(whole, tmp_path / "download", copy_function=lambda a, b: Path(b).hardlink_to(a))
    )


def run(place: Path, store: Artifacts, progress: Callable[[str], None] = lambda _: None) -> Result:
    return run_published(ON_MODELS["qurd"], place, store, {}, progress=progress)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where a store is that what was asked once is read from."""
    return str(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def store(shelf: str) -> Artifacts:
    return open_store(shelf)


@pytest.fixture(scope="module")
def done(whole: Path, store: Artifacts) -> Result:
    return run(whole, store)


# the protocol


def test_the_models_that_are_there_are_compared_and_others_listed(done: Result) -> None:
    assert done.facts["excluded_models"] == {MISSING: "not in the download"}
    assert (
        done.facts["models"] == 5
        and done.facts["owners"] == [VICTIM]
        and done.facts["benchmarks"] == ["SACBenchmark CIFAR10"]
    )
    assert {(r["task"], r["stolen"], r["innocent"]) for r in done.rows} == {
        ("all", 2, 2),
        ("finetune", 1, 1),
        ("fineprune", 1, 1),
    }
    assert {r["method"] for r in done.rows} == {m.name for m in methods.METHODS if not m.learns}
    for method in ("label agreement", "DeepJudge JSD", "SAC-m"):
        (row,) = of(done.rows, method=method, budget=8, task="finetune")
        assert row["auc"] == 1, method


def test_it_is_said_that_the_twin_test_is_not_run_there(done: Result) -> None:
    first = done.findings[0]
    assert first.claim == "The twin test is not run on the published models" and "publish none" in first.note
    assert not any(r["method"].startswith("twin") for r in done.rows)


def test_a_score_is_that_of_the_very_answers(whole: Path, done: Result, store: Artifacts) -> None:
    """Label agreement by hand: on the first pixels in the drawn order, normalised as config.json says."""
    raw = (whole / "CIFAR10" / "cifar-10-batches-bin" / "test_batch.bin").read_bytes()
    pixels = torch.frombuffer(bytearray(raw), dtype=torch.uint8).view(80, -1)[:, 1:].reshape(80, 3, 32, 32)
    order = torch.randperm(80, generator=torch.Generator().manual_seed(0))[:8]
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    x = (pixels[order].float() / 255 - mean) / std
    victim, innocent = net(0), net(1)
    with torch.no_grad():
        expected = float((victim(x).argmax(1) == innocent(x).argmax(1)).float().mean())
    pairs = pq.read_table(io.BytesIO(done.files["qurd-pairs.parquet"])).to_pylist()
    (row,) = of(pairs, method="label agreement", suspect=INNOCENTS[0], budget=8)
    assert row["score"] == pytest.approx(expected) and row["asked"] == 8


def test_a_run_goes_on_where_it_stopped(whole: Path, place: Path, done: Result, store: Artifacts) -> None:
    steps: list[str] = []
    again = run(whole, store, steps.append)
    assert not steps and not again.fresh and again.rows == done.rows
    config = place / "models" / f"SACBenchmark-{hub_name(TUNED)}" / "config.json"
    data = json.loads(config.read_text())
    data["pretrained_cfg"]["mean"] = [0.5, 0.5, 0.5]
    config.unlink()
    config.write_text(json.dumps(data))
    assert run(place, store, steps.append).fresh
    assert steps == [f"SACBenchmark CIFAR10: {TUNED} (1 of 4)"], (
        "the questions were kept, and the other suspects' scores"
    )


def test_the_command(
    whole: Path, done: Result, shelf: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["study", "qurd", "--data", str(whole), "--store", shelf, "--out", str(out)]) == 0
    text = capsys.readouterr()
    assert (
        "The twin test is not run on the published models" in text.out
        and f"left out: {MISSING}: not in the download" in text.err
    )
    assert {p.name for p in out.iterdir()} == {"qurd.json", "qurd.parquet", "qurd-pairs.parquet", "qurd.svg"}


# what is found in a download


def moved(place: Path, name: str, to: str) -> None:
    target = place / to
    target.parent.mkdir(parents=True, exist_ok=True)
    (place / "models" / f"SACBenchmark-{hub_name(name)}").rename(target)


def test_models_lie_directly_in_the_folder_or_in_a_hubs_cache(place: Path) -> None:
    before = load(TINY, TUNED, find(place).folders)
    moved(place, VICTIM, FOLDER)
    cache = f"models--maurice-fp--SACBenchmark-{hub_name(TUNED)}"
    moved(place, TUNED, f"{cache}/snapshots/0123abc")
    blobs = place / cache / "blobs"
    blobs.mkdir()
    weights = place / cache / "snapshots" / "0123abc" / "model.safetensors"
    weights.rename(blobs / "feed")
    weights.symlink_to(Path("..") / ".." / "blobs" / "feed")
    moved(place, PRUNED, f"models/models--maurice-fp--SACBenchmark-{hub_name(PRUNED)}/snapshots/9")
    found = find(place)
    assert set(found.folders) == {VICTIM, TUNED, PRUNED, *INNOCENTS} and not found.strange
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(load(TINY, TUNED, found.folders)(x), before(x))


def test_of_several_snapshots_the_branchs_is_read(place: Path) -> None:
    cache = place / "models" / f"models--maurice-fp--SACBenchmark-{hub_name(VICTIM)}"
    moved(place, VICTIM, str(cache / "snapshots" / "aaa"))
    shutil.copytree(cache / "snapshots" / "aaa", cache / "snapshots" / "bbb")
    with pytest.raises(ModelError, match=r"holds 2 snapshots, of which refs/main names none"):
        opened(cache)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("bbb")
    assert opened(cache).name == "bbb"


def test_a_folder_of_another_name_is_told(place: Path, done: Result, store: Artifacts) -> None:
    (place / "models" / "SACBenchmark-train.vgg19.CIFAR10.0").mkdir()
    assert find(place).strange == ("SACBenchmark-train.vgg19.CIFAR10.0",)
    why = run(place, store).facts["excluded_models"]
    assert why["SACBenchmark-train.vgg19.CIFAR10.0"] == "no model of the benchmark is called that"


def test_a_model_that_is_there_twice_is_refused(place: Path) -> None:
    shutil.copytree(place / "models" / FOLDER, place / FOLDER)
    with pytest.raises(DataError, match="is there twice"):
        find(place)


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


def test_a_victim_needs_stolen_and_innocent_models(place: Path) -> None:
    for name in INNOCENTS:
        shutil.rmtree(place / "models" / f"SACBenchmark-{hub_name(name)}")
    with pytest.raises(
        NotEnoughModelsError,
        match="has 3 published models, and no victim with a stolen model and an innocent one",
    ):
        run(place, open_store("memory:"))


def test_images_are_needed_and_no_pickles_are_read_for_them(place: Path) -> None:
    shutil.rmtree(place / "CIFAR10")
    with pytest.raises(DataError, match=r"CIFAR10 is not there; .*CIFAR-10's binary version, Parquet"):
        run(place, open_store("memory:"))
    (place / "CIFAR10" / "cifar-10-batches-py").mkdir(parents=True)
    (place / "CIFAR10" / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"\x80")
    with pytest.raises(DataError, match=r"never opened\. Expected the binary version"):
        run(place, open_store("memory:"))


def test_classes_in_another_order_are_noticed(place: Path) -> None:
    path = place / "CIFAR10" / "cifar-10-batches-bin" / "test_batch.bin"
    records = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8).view(80, -1).clone()
    records[:, 0] = 9 - records[:, 0]
    path.unlink()
    path.write_bytes(records.numpy().tobytes())
    with pytest.raises(
        DataError,
        match=r"gets \d+% of the test images of CIFAR10 right; expected 50% at least: .*--classes FILE",
    ):
        run(place, open_store("memory:"))


def photographs(folder: Path) -> Path:
    """Two classes of photographs of several sizes."""
    for part in ("train", "test"):
        for label in ("rose", "tulip"):
            (folder / part / label).mkdir(parents=True)
            for i, size in enumerate(((300, 260), (256, 400))):
                pixels = torch.randint(
                    0, 256, (3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(i)
                )
                (folder / part / label / f"{i}.png").write_bytes(png(pixels.numpy()))
    return folder


def test_photographs_are_scaled_and_cut_as_the_nets_saw_them(tmp_path: Path) -> None:
    folder, benchmark = photographs(tmp_path / "Flower102"), replace(REUSE, classes=2)
    found = read_images(tmp_path, benchmark)
    assert found.images.shape == (4, 3, 224, 224) and sorted(found.labels.tolist()) == [0, 0, 1, 1]
    seen = Compose([Resize(256, InterpolationMode.BICUBIC), CenterCrop(224)])
    expected = [numpy.asarray(seen(Image.open(p))) for p in sorted(folder.glob("test/*/*.png"))]
    for image in found.images.permute(0, 2, 3, 1).numpy():
        assert min(int(abs(image.astype(int) - other.astype(int)).max()) for other in expected) <= 1
    with pytest.raises(
        DataError, match=r"has 2 classes and images of shape \(3, 224, 224\); expected 102 and"
    ):
        read_images(tmp_path, REUSE)
    sized = Reading(sizing=Sizing(64, 64))
    with pytest.raises(DataError, match=r"shape \(3, 64, 64\); expected 2 and \(3, 224, 224\)"):
        read_images(tmp_path, benchmark, sized)


# weights


def altered(place: Path, name: str, change: Callable[[dict[str, Tensor]], object]) -> None:
    path = place / "models" / f"SACBenchmark-{hub_name(name)}" / "model.safetensors"
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
def test_weights_that_do_not_fit_are_an_error_that_names_the_file(case: str, place: Path) -> None:
    name, change, said = ODD[case]
    altered(place, name, change)
    with pytest.raises(ModelError, match=said) as error:
        load(TINY, name, find(place).folders)
    assert f"SACBenchmark-{hub_name(name)}/model.safetensors" in str(error.value) and "\n" not in str(
        error.value
    )


def test_a_pruned_net_answers_as_torch_would_have_it(whole: Path) -> None:
    from torch.nn.utils import prune

    expected = net(0)
    for layer in (expected.features[0][0], expected.features[18][0]):
        prune.identity(layer, "weight")
    expected.load_state_dict(masked(net(0).state_dict()))
    x = torch.rand(4, 3, 32, 32)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    with torch.no_grad():
        found, plain = (load(TINY, n, find(whole).folders)(x) for n in (PRUNED, VICTIM))
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
def test_a_configuration_that_does_not_fit_is_refused(case: str, place: Path) -> None:
    change, said = CONFIGS[case]
    path = place / "models" / FOLDER / "config.json"
    data = json.loads(path.read_text())
    path.unlink()
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(ModelError, match=said) as error:
        load(TINY, VICTIM, find(place).folders)
    assert str(path) in str(error.value)


def test_a_missing_configuration_is_an_error(place: Path) -> None:
    (place / "models" / FOLDER / "config.json").unlink()
    with pytest.raises(ModelError, match=r"config.json cannot be read"):
        load(TINY, VICTIM, find(place).folders)
