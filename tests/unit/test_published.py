"""QuRD's protocol on published models and images, out of a download made here:
real safetensors of real nets."""

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from tests.support.downloads import (
    INNOCENTS,
    MEAN,
    MISSING,
    STD,
    TUNED,
    VICTIM,
    net,
)
from tests.support.makers import png
from tests.support.published_files import REUSE
from zooaudit.baselines import methods
from zooaudit.cli.main import main
from zooaudit.data.reading import Reading, Sizing
from zooaudit.errors import DataError, NotEnoughModelsError
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.opening import open_store
from zooaudit.studies.published import run_published
from zooaudit.studies.published_images import read_images
from zooaudit.studies.published_models import find
from zooaudit.studies.published_names import hub_name
from zooaudit.studies.registry import ON_MODELS
from zooaudit.studies.runner import Result
from zooaudit.studies.validity import of

pytestmark = [pytest.mark.xdist_group("published"), pytest.mark.usefixtures("small_benchmark")]


def run(folder: Path, store: Artifacts, progress: Callable[[str], None] = lambda _: None) -> Result:
    return run_published(ON_MODELS["qurd"], folder, store, {}, progress=progress)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where a store is that what was asked once is read from."""
    return str(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def store(shelf: str) -> Artifacts:
    return open_store(shelf)


@pytest.fixture(scope="module")
def done(downloaded: Path, store: Artifacts, small_benchmark: None) -> Result:
    return run(downloaded, store)


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


def test_a_score_is_that_of_the_very_answers(downloaded: Path, done: Result, store: Artifacts) -> None:
    """Label agreement by hand: on the first pixels in the drawn order, normalised as config.json says."""
    raw = (downloaded / "CIFAR10" / "cifar-10-batches-bin" / "test_batch.bin").read_bytes()
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


def test_a_run_goes_on_where_it_stopped(
    downloaded: Path, own_download: Path, done: Result, store: Artifacts
) -> None:
    steps: list[str] = []
    again = run(downloaded, store, steps.append)
    assert not steps and not again.fresh and again.rows == done.rows
    config = own_download / "models" / f"SACBenchmark-{hub_name(TUNED)}" / "config.json"
    data = json.loads(config.read_text())
    data["pretrained_cfg"]["mean"] = [0.5, 0.5, 0.5]
    config.unlink()
    config.write_text(json.dumps(data))
    assert run(own_download, store, steps.append).fresh
    assert steps == [f"SACBenchmark CIFAR10: {TUNED} (1 of 4)"], (
        "the questions were kept, and the other suspects' scores"
    )


def test_the_command(
    downloaded: Path, done: Result, shelf: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["study", "qurd", "--data", str(downloaded), "--store", shelf, "--out", str(out)]) == 0
    text = capsys.readouterr()
    assert (
        "The twin test is not run on the published models" in text.out
        and f"left out: {MISSING}: not in the download" in text.err
    )
    assert {p.name for p in out.iterdir()} == {"qurd.json", "qurd.parquet", "qurd-pairs.parquet", "qurd.svg"}


def test_a_folder_of_another_name_is_told(own_download: Path, done: Result, store: Artifacts) -> None:
    (own_download / "models" / "SACBenchmark-train.vgg19.CIFAR10.0").mkdir()
    assert find(own_download).strange == ("SACBenchmark-train.vgg19.CIFAR10.0",)
    why = run(own_download, store).facts["excluded_models"]
    assert why["SACBenchmark-train.vgg19.CIFAR10.0"] == "no model of the benchmark is called that"


def test_a_victim_needs_stolen_and_innocent_models(own_download: Path) -> None:
    for name in INNOCENTS:
        shutil.rmtree(own_download / "models" / f"SACBenchmark-{hub_name(name)}")
    with pytest.raises(
        NotEnoughModelsError,
        match="has 3 published models, and no victim with a stolen model and an innocent one",
    ):
        run(own_download, open_store("memory:"))


def test_images_are_needed_and_no_pickles_are_read_for_them(own_download: Path) -> None:
    shutil.rmtree(own_download / "CIFAR10")
    with pytest.raises(DataError, match=r"CIFAR10 is not there; .*CIFAR-10's binary version, Parquet"):
        run(own_download, open_store("memory:"))
    (own_download / "CIFAR10" / "cifar-10-batches-py").mkdir(parents=True)
    (own_download / "CIFAR10" / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"\x80")
    with pytest.raises(DataError, match=r"never opened\. Expected the binary version"):
        run(own_download, open_store("memory:"))


def test_classes_in_another_order_are_noticed(own_download: Path) -> None:
    path = own_download / "CIFAR10" / "cifar-10-batches-bin" / "test_batch.bin"
    records = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8).view(80, -1).clone()
    records[:, 0] = 9 - records[:, 0]
    path.unlink()
    path.write_bytes(records.numpy().tobytes())
    with pytest.raises(
        DataError,
        match=r"gets \d+% of the test images of CIFAR10 right; expected 50% at least: .*--classes FILE",
    ):
        run(own_download, open_store("memory:"))


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
