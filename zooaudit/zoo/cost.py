"""The cost of a net, counted by a forward pass on the meta device."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from zooaudit.errors import ConfigError
from zooaudit.zoo.arch import build_architecture
from zooaudit.zoo.reference_nets import Ferns, Kernel
from zooaudit.zoo.shape import ModelShape

NORMALISED = 128
"""The cost of normalising, activating or pooling one value, in multiplications: measured on a CPU."""
FLOAT = 4
COPIES = 4
"""Copies of the weights in memory: themselves, their gradients, and two of an optimiser's."""


@dataclass(frozen=True)
class Counted:
    """For one net: multiplications for an image, values that its layers give for an image, and weights."""

    work: float
    values: int
    weights: int


@cache
def counted(name: str, shape: ModelShape) -> Counted:
    """The counts of the architecture ``name``."""
    work, values = 0.0, 0

    def count(layer: nn.Module, inputs: Any, output: Any) -> None:
        nonlocal work, values
        if isinstance(layer, nn.Conv2d):
            work += output.numel() * layer.weight[0].numel()
        elif isinstance(layer, nn.Linear):
            work += output.numel() * layer.in_features
        elif isinstance(layer, Kernel):
            work += layer.directions.numel()
        elif isinstance(layer, Ferns):
            work += NORMALISED * layer.pixels.numel()
        elif isinstance(layer, nn.BatchNorm2d | nn.LayerNorm | nn.MaxPool2d):
            work += NORMALISED * inputs[0].numel()
        if isinstance(output, Tensor) and not any(True for _ in layer.children()):
            values += output.numel()

    with torch.device("meta"):
        net = build_architecture(name, shape).eval()
        for layer in net.modules():
            layer.register_forward_hook(count)
        net(torch.empty(1, *shape.image))
    return Counted(work, values, sum(p.numel() for p in net.parameters()))


def largest_batch(name: str, shape: ModelShape, gib: float) -> int:
    """The largest batch of which one training step fits into this much memory, since all layers' outputs are
    kept for the gradients.

    Raises:
        ConfigError: two images do not fit.
    """
    found = counted(name, shape)
    left = gib * 2**30 - COPIES * FLOAT * found.weights
    most = int(left // (FLOAT * max(1, found.values)))
    if most < 2:
        needed = FLOAT * (COPIES * found.weights + 2 * found.values) / 2**30
        raise ConfigError(
            f"a step of {name} takes {needed:.1f} GiB with two images, and ZooConfig.step_gib is {gib:g};"
            " expected more, or another net"
        )
    return most
