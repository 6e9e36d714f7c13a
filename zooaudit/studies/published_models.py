"""QuRD's published models from a download: which are there, and each as a module that takes images in [0, 1].

A model is a folder with ``config.json`` and ``model.safetensors``, as timm writes them for the hub, named as
in ``published_names``::

    DIR/models/SACBenchmark-train.vgg13.CIFAR10.0/
    DIR/SACBenchmark-train.vgg13.CIFAR10.0/
    DIR/models--maurice-fp--SACBenchmark-train.vgg13.CIFAR10.0/snapshots/<commit>/   a hub's cache;
                                                                                     in DIR/models, too

Nothing is ever unpickled.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from zooaudit.errors import DataError, ModelError
from zooaudit.studies.published_names import (
    BENCHMARKS,
    Benchmark,
    architecture,
    folder_name,
    known_folders,
    steps,
    stored,
)
from zooaudit.studies.published_weights import NETS, normalised, quantised, renamed
from zooaudit.suspects.files import sha256, weights_in
from zooaudit.suspects.named_nets import build_named
from zooaudit.suspects.weights import put_weights, read_weights

CONFIG, WEIGHTS = "config.json", "model.safetensors"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
CONVERT = (
    "pickles can run code and are never opened: where you trust one,"
    " safetensors.torch.save_file(torch.load(path, weights_only=True), 'model.safetensors') writes its"
    " weights; put each with its config.json into DIR/models/SACBenchmark-..., as it is published at"
    " huggingface.co/maurice-fp"
)


@dataclass(frozen=True)
class Found:
    """Attributes:
    folders: by name of a model, where it lies.
    strange: names of folders like a benchmark's that are none of its models.
    """

    folders: Mapping[str, Path]
    strange: tuple[str, ...]


def find(place: Path) -> Found:
    """All published models in a download.

    Raises:
        DataError: there is none, or one is there twice; only pickles are there.
    """
    if not place.is_dir():
        raise DataError(
            f"{place} is not a folder; expected one with models/SACBenchmark-.../{WEIGHTS} and images in"
            " CIFAR10/"
        )
    folders: dict[str, Path] = {}
    strange, known = [], known_folders()
    for folder in _like_ours(place):
        name = known.get(folder_name(folder))
        if name is None:
            strange.append(folder.name)
        elif name in folders:
            raise DataError(
                f"{name} is there twice, as {folders[name]} and {folder}; expected it once: leave one out"
            )
        else:
            folders[name] = folder
    if not folders:
        raise DataError(
            f"{place} holds no model of {' or '.join(sorted({b.name for b in BENCHMARKS}))};"
            f" {_instead(place, strange)}"
        )
    return Found(folders, tuple(strange))


def _like_ours(place: Path) -> Iterator[Path]:
    """Folders that are called as a benchmark's models are."""
    starts = tuple({f"{b.name}-" for b in BENCHMARKS})
    for parent in (place, place / "models"):
        if parent.is_dir():
            yield from (
                p for p in sorted(parent.iterdir()) if p.is_dir() and folder_name(p).startswith(starts)
            )


def _instead(place: Path, strange: list[str]) -> str:
    """What is there instead, and what was expected."""
    pickle = next((p for p in sorted(place.rglob("*")) if p.suffix in PICKLES), None)
    if pickle is not None:
        return f"it holds {pickle.relative_to(place)}; {CONVERT}"
    other = f"it holds {strange[0]}, which is none of them; " if strange else ""
    return (
        f"{other}expected folders such as models/{next(iter(BENCHMARKS[0].by_folder))} with {CONFIG} and"
        f" {WEIGHTS}"
    )


def opened(folder: Path) -> Path:
    """Where a model's files are: the folder itself, or the snapshot of a hub's cache that
    its branch main names.

    Raises:
        ModelError: there is none, or several of which none is named.
    """
    if not folder.name.startswith("models--"):
        return folder
    snapshots = sorted(p for p in (folder / "snapshots").glob("*") if p.is_dir())
    main = folder / "refs" / "main"
    if main.is_file() and (named := folder / "snapshots" / main.read_text().strip()) in snapshots:
        return named
    if len(snapshots) != 1:
        raise ModelError(
            f"{folder} holds {len(snapshots)} snapshots, of which refs/main names none; expected one:"
            " download it again"
        )
    return snapshots[0]


def checked(folder: Path) -> Path:
    """The safetensors file of a model's folder.

    Raises:
        ModelError: there is none.
    """
    place = opened(folder)
    if not (place / WEIGHTS).is_file():
        if pickle := next((p.name for p in sorted(place.iterdir()) if p.suffix in PICKLES), None):
            raise ModelError(f"{place} has {pickle} and no {WEIGHTS}; {CONVERT}")
        raise ModelError(f"{place} has no {WEIGHTS}; expected it beside {CONFIG}: download it again")
    return weights_in(place)[0]


def digest(folder: Path) -> str:
    """Changes with a model's weights or its configuration."""
    return sha256(checked(folder)) + sha256(opened(folder) / CONFIG)


class Whole(nn.Module):
    """Images float ``[n, 3, h, w]`` in [0, 1] to logits."""

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.net = net
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.net((x - self.mean) / self.std)


def load(benchmark: Benchmark, name: str, folders: Mapping[str, Path]) -> nn.Module:
    """A model in evaluation mode; a quantised one is made of what it was quantised from.

    Raises:
        ModelError: weights or configuration do not fit, and which file says so.
    """
    folder = folders[stored(name)]
    path = checked(folder)
    mean, std = normalised(opened(folder) / CONFIG, benchmark, name)
    net = build_named(f"torchvision:{_torchvision(name)}", num_classes=benchmark.classes)
    put_weights(net, renamed(read_weights(path), name, path), str(path))
    last = steps(name)[-1]
    if last.kind == "quantize":
        net = quantised(net, last.words[0])
    return Whole(net, mean, std).eval().requires_grad_(False)


def _torchvision(name: str) -> str:
    own = architecture(name)
    return NETS.get(own, own)
