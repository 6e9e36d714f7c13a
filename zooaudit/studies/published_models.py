"""QuRD's published models out of somebody's download: which are there, and each as a module
that takes images in [0, 1].

A model is a folder with ``config.json`` and ``model.safetensors``, as timm puts them on the hub, named as
``published_names`` has it::

    DIR/models/SACBenchmark-train.vgg13.CIFAR10.0/ DIR/SACBenchmark-train.vgg13.CIFAR10.0/
    DIR/models--maurice-fp--SACBenchmark-train.vgg13.CIFAR10.0/snapshots/<commit>/      a
    hub's cache; in DIR/models, too

Nothing is ever unpickled.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
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
from zooaudit.suspects.files import read_json, sha256, weights_in
from zooaudit.suspects.named_nets import build_named
from zooaudit.suspects.weights import put_weights, read_weights

CONFIG, WEIGHTS = "config.json", "model.safetensors"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
NETS = {"vgg_model": "vgg16_bn", "mbnetv2": "mobilenet_v2"}
"""torchvision's names of nets, where a benchmark has its own."""
BLOCKS = (4, 3, 4, 6, 2)
"""Of ModelReuse's MobileNetV2: how many of torchvision's ``features`` each of ``layer1`` to
``layer5`` holds."""
ORIGINAL, MASK = "_orig", "_mask"
"""What torch's pruning keeps of a weight: the weight is their product."""
LEVELS = 127
"""Of INT8 weights, and of inputs, whose last bit PyTorch leaves out on x86."""
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
    mean, std = _normalised(opened(folder) / CONFIG, benchmark, name)
    net = build_named(f"torchvision:{_torchvision(name)}", num_classes=benchmark.classes)
    put_weights(net, _renamed(read_weights(path), name, path), str(path))
    last = steps(name)[-1]
    if last.kind == "quantize":
        net = quantised(net, last.words[0])
    return Whole(net, mean, std).eval().requires_grad_(False)


def _torchvision(name: str) -> str:
    own = architecture(name)
    return NETS.get(own, own)


def _normalised(path: Path, benchmark: Benchmark, name: str) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of the pixels that a net expects; what else the file says has to fit."""
    result = read_json(path)
    config = result.get("pretrained_cfg")
    if not isinstance(config, dict):
        raise ModelError(f"{path} has no pretrained_cfg; expected timm's, with mean and std")
    size, classes = [3, benchmark.side, benchmark.side], benchmark.classes
    for where, key, expected in (
        (config, "input_size", size),
        (config, "num_classes", classes),
        (result, "num_classes", classes),
    ):
        if where.get(key, expected) != expected:
            raise ModelError(f"{path}: {key} is {where[key]!r}; expected {expected} of {name}")
    own = architecture(name)
    if (stated := result.get("architecture", config.get("architecture", own))) not in (
        own,
        NETS.get(own, own),
    ):
        raise ModelError(f"{path}: architecture is {stated!r}; expected {own!r} of {name}")
    return _three(path, config, "mean", 0.0), _three(path, config, "std", 1e-6)


def _three(path: Path, config: Mapping[str, Any], key: str, least: float) -> list[float]:
    found = config.get(key)
    if (
        not isinstance(found, list)
        or len(found) != 3
        or not all(type(v) in (int, float) and least <= v <= 1 for v in found)
    ):
        raise ModelError(f"{path}: {key} is {found!r}; expected three numbers from {least:g} to 1")
    return [float(v) for v in found]


def _renamed(weights: dict[str, Tensor], name: str, path: Path) -> dict[str, Tensor]:
    """Weights by torchvision's names: pruned ones with their masks on them, ModelReuse's
    MobileNetV2 in one row of features."""
    if any(s.kind == "fineprune" for s in steps(name)):
        weights = unmasked(weights, path)
    return in_one_row(weights) if architecture(name) == "mbnetv2" else weights


def unmasked(weights: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Every ``X_orig`` times its ``X_mask``, as ``X``.

    Raises:
        ModelError: one of the two is missing, they differ in shape, or a mask is none.
    """
    found = {n: t for n, t in weights.items() if not n.endswith((ORIGINAL, MASK))}
    stems = sorted({n.removesuffix(ORIGINAL).removesuffix(MASK) for n in weights.keys() - found.keys()})
    for stem in stems:
        if lacking := [stem + end for end in (ORIGINAL, MASK) if stem + end not in weights]:
            raise ModelError(
                f"{path} lacks {lacking[0]}; expected both {stem}{ORIGINAL} and {stem}{MASK} of a pruned"
                " weight"
            )
        whole, mask = weights[stem + ORIGINAL], weights[stem + MASK]
        if whole.shape != mask.shape:
            raise ModelError(
                f"{path}: {stem}{MASK} is {tuple(mask.shape)}; expected {tuple(whole.shape)}, the shape of"
                f" {stem}{ORIGINAL}"
            )
        if not ((mask == 0) | (mask == 1)).all():
            raise ModelError(f"{path}: {stem}{MASK} holds other values than 0 and 1; expected a mask")
        if stem in found:
            raise ModelError(f"{path} holds {stem} and {stem}{ORIGINAL}; expected one of them")
        found[stem] = whole * mask.to(whole.dtype)
    return found


def in_one_row(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``layer2.0.conv...`` as torchvision's ``features.4.conv...``; other names as they are."""
    starts = {f"layer{i + 1}.": sum(BLOCKS[:i]) for i in range(len(BLOCKS))}

    def named(name: str) -> str:
        first = starts.get(name[:7])
        block, dot, rest = name[7:].partition(".")
        return name if first is None or not block.isdecimal() else f"features.{first + int(block)}{dot}{rest}"

    return {named(name): tensor for name, tensor in weights.items()}


class Rounded(nn.Module):
    """A linear layer as PyTorch's dynamic quantisation computes it, image by image: weights and inputs in
    INT8, with one scale each."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer
        scale = layer.weight.abs().max().clamp(min=1e-12) / LEVELS
        layer.weight = nn.Parameter((layer.weight / scale).round() * scale, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        low, high = x.amin(1, keepdim=True).clamp(max=0), x.amax(1, keepdim=True).clamp(min=0)
        scale = ((high - low) / LEVELS).clamp(min=1e-12)
        return F.linear((x / scale).round() * scale, self.layer.weight, self.layer.bias)


def quantised(net: nn.Module, precision: str) -> nn.Module:
    """The net with its linear layers in ``float16`` or ``qint8``: all that QuRD's dynamic
    quantisation changes.

    Raises:
        ModelError: another precision.
    """
    if precision not in ("float16", "qint8"):
        raise ModelError(f"quantize({precision}); expected float16 or qint8")
    with torch.no_grad():
        for name, layer in [(n, m) for n, m in net.named_modules() if isinstance(m, nn.Linear)]:
            if precision == "float16":
                layer.weight.copy_(layer.weight.half().float())
            else:
                parent, _, own = name.rpartition(".")
                setattr(net.get_submodule(parent), own, Rounded(layer))
    return net
