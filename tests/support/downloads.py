"""A download of published models, as small as real nets are: torchvision's MobileNetV2 with weights at
random, and the images of CIFAR-10's binary version, labelled by the victim."""

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import mobilenet_v2

from zooaudit.baselines import methods
from zooaudit.baselines.adversarial import pgd
from zooaudit.baselines.intersection import Iris
from zooaudit.config import UapConfig
from zooaudit.data.cifar import FILES, NAMES, TEST
from zooaudit.studies import cuts, published, published_models, published_names, qurd
from zooaudit.studies.published_names import Benchmark, Pair, hub_name

VICTIM = "train(mobilenet_v2,CIFAR10,15)"
TUNED, PRUNED = f"{VICTIM}->finetune(0)", f"{VICTIM}->fineprune(1)"
MISSING = f"{VICTIM}->finetune(2)"
INNOCENTS = ("train(mobilenet_v2,CIFAR10,16)", "train(mobilenet_v2,CIFAR10C,17)")
TINY = Benchmark(
    "SACBenchmark",
    "CIFAR10",
    10,
    32,
    0.5,
    (
        Pair(VICTIM, TUNED, "finetune", True),
        Pair(VICTIM, PRUNED, "fineprune", True),
        Pair(VICTIM, MISSING, "finetune", True),
        Pair(VICTIM, INNOCENTS[0], "trained on CIFAR10", False),
        Pair(VICTIM, INNOCENTS[1], "trained on CIFAR10C", False, ("transfer",)),
    ),
)
"""SACBench with five models, one of which is never there."""
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


def net(seed: int, classes: int = 10) -> nn.Module:
    """A MobileNetV2 whose answers differ from image to image: its normalisation has seen some."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        made = mobilenet_v2(num_classes=classes)
        for layer in made.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = 1.0
        with torch.no_grad():
            made.train()(torch.randn(64, 3, 32, 32))
            made.classifier[1].weight.mul_(30)
    return made.eval()


def masked(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """As torch's pruning leaves two convolutions: ``X_orig`` and ``X_mask`` for ``X``."""
    found = dict(weights)
    for name in ("features.0.0.weight", "features.18.0.weight"):
        whole = found.pop(name)
        mask = torch.ones_like(whole)
        mask[::5] = 0
        found |= {f"{name}_orig": whole, f"{name}_mask": mask}
    return found


def noisy(weights: dict[str, Tensor], share: float = 0.01) -> dict[str, Tensor]:
    """A little fine-tuned."""
    dice = torch.Generator().manual_seed(1)
    return {
        n: (
            t + share * t.std() * torch.randn(t.shape, generator=dice)
            if t.ndim > 1 and t.is_floating_point()
            else t.clone()
        )
        for n, t in weights.items()
    }


def put(
    folder: Path, name: str, weights: dict[str, Tensor], benchmark: str = "SACBenchmark", **config: Any
) -> Path:
    """One published model, as timm puts it on the hub; returns its folder."""
    place = folder / f"{benchmark}-{hub_name(name)}"
    place.mkdir(parents=True)
    save_file({n: t.contiguous() for n, t in weights.items()}, place / "model.safetensors")
    data = {
        "crop_mode": "center",
        "input_size": [3, 32, 32],
        "num_classes": 10,
        "mean": MEAN,
        "std": STD,
    } | config
    (place / "config.json").write_text(
        json.dumps({"num_classes": data["num_classes"], "pretrained_cfg": data})
    )
    return place


def images(folder: Path, victim: nn.Module, wrong: int = 20) -> None:
    """CIFAR-10's binary version with ten images a training batch and eighty to test by; of
    these ``wrong`` are labelled wrongly."""
    folder.mkdir(parents=True)
    dice = torch.Generator().manual_seed(5)
    for name in FILES:
        if name == NAMES:
            continue
        pixels = torch.randint(
            0, 256, (80 if name in TEST else 10, 3, 32, 32), dtype=torch.uint8, generator=dice
        )
        with torch.no_grad():
            mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
            labels = victim((pixels.float() / 255 - mean) / std).argmax(1)
        labels[:wrong] = (labels[:wrong] + 1) % 10
        if name not in TEST:
            labels = torch.arange(10)  # every class is in training images
        records = torch.cat([labels.to(torch.uint8).unsqueeze(1), pixels.flatten(1)], 1)
        (folder / name).write_bytes(records.numpy().tobytes())
    classes = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    (folder / NAMES).write_text("\n".join(classes) + "\n")


def download(folder: Path) -> Path:
    """All of ``TINY`` but one thief, under ``models``, and the images."""
    victim = net(0)
    weights = victim.state_dict()
    put(folder / "models", VICTIM, weights)
    put(folder / "models", TUNED, noisy(weights))
    put(folder / "models", PRUNED, masked(weights))
    for seed, name in enumerate(INNOCENTS, 1):
        put(folder / "models", name, net(seed).state_dict())
    images(folder / "CIFAR10" / "cifar-10-batches-bin", victim)
    return folder


SMALL = (4, 8)
"""Budgets of questions."""


@pytest.fixture(scope="module")
def small_benchmark() -> Iterator[None]:
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


@pytest.fixture(scope="session")
def downloaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Such a download, which no test may change: see ``own_download``. It takes seconds: files that ask
    for it are of the group ``published``, for one worker."""
    return download(tmp_path_factory.mktemp("download"))


@pytest.fixture
def own_download(downloaded: Path, tmp_path: Path) -> Path:
    """A copy to spoil: weights are linked, not copied."""
    return Path(
        shutil.copytree(downloaded, tmp_path / "download", copy_function=lambda a, b: Path(b).hardlink_to(a))
    )


class Said(list[str]):
    """Collects what ``resolve`` says."""

    def __call__(self, line: str) -> None:
        self.append(line)
