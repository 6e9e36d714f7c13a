"""Published weights as our nets hold them: renamed, unmasked, quantised."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zooaudit.errors import ModelError
from zooaudit.studies.published_names import (
    Benchmark,
    architecture,
    steps,
)
from zooaudit.suspects.files import read_json

NETS = {"vgg_model": "vgg16_bn", "mbnetv2": "mobilenet_v2"}
"""torchvision's names of nets, where a benchmark has its own."""
BLOCKS = (4, 3, 4, 6, 2)
"""Of ModelReuse's MobileNetV2: how many of torchvision's ``features`` each of ``layer1`` to
``layer5`` holds."""
ORIGINAL, MASK = "_orig", "_mask"
"""What torch's pruning keeps of a weight: the weight is their product."""
LEVELS = 127
"""Of INT8 weights, and of inputs, whose last bit PyTorch leaves out on x86."""


def normalised(path: Path, benchmark: Benchmark, name: str) -> tuple[list[float], list[float]]:
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


def renamed(weights: dict[str, Tensor], name: str, path: Path) -> dict[str, Tensor]:
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
