"""Nets of timm and torchvision as published, by name: ``timm:NAME``, ``torchvision:NAME``.

Stem, pooling, widths and initialisation are the library's. *Ours*: the last layer has the data's classes,
inputs are normalised inside the model, grey images are repeated as colours, and nets with auxiliary heads
have none.
"""

from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn

from zooaudit.errors import ConfigError, ModelError, first_line
from zooaudit.suspects.named_nets import library, maker
from zooaudit.zoo.shape import ModelShape

AUXILIARY = ("torchvision:googlenet", "torchvision:inception_v3")
"""Nets that return several outputs in training."""
COLOURS = 3


class PublishedNet(nn.Module):
    """One of the nets, freshly initialised from torch's global generator, behind the normalisation of its
    inputs.

    Args:
        name: ``timm:NAME`` or ``torchvision:NAME``.
        mean, std: of the images, a value for each channel, or one for grey.

    Raises:
        ModelError: the package is not installed, has no such net, or cannot build it.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, num_classes: int, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))
        self.net = _made(name, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images float ``[n, 1 or 3, h, w]`` in [0, 1] to logits ``[n, num_classes]``."""
        x = (x - self.mean) / self.std
        return cast(Tensor, self.net(x if x.shape[1] == COLOURS else x.expand(-1, COLOURS, -1, -1)))


def pretrained(name: str, num_classes: int) -> PublishedNet:
    """A net for images as its published weights expect them, with the usual mean and deviation of each
    colour.

    Raises:
        ModelError: the package is not installed, has no such net, or cannot build it.
    """
    # For our error: for weights of an unknown net the libraries raise their own.
    maker(name)
    kind, _, short = name.partition(":")
    if kind == "timm":
        result = library("timm", name).get_pretrained_cfg(short)
        mean, std = (result.mean, result.std) if result else ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    else:
        how = library("torchvision", name).models.get_model_weights(short).DEFAULT.transforms()
        mean, std = how.mean, how.std
    return PublishedNet(name, num_classes, tuple(mean), tuple(std))


def head_of(name: str) -> frozenset[str]:
    """Names of the weights that depend on the number of classes."""
    with torch.device("meta"):
        one, other = (_made(name, n).state_dict() for n in (11, 13))
    return frozenset(n for n in one if one[n].shape != other[n].shape)


@cache
def check_published(name: str, shape: ModelShape) -> None:
    """Raise ConfigError if the net cannot take such images; computes nothing."""
    channels, height, width = shape.image
    if channels not in (1, COLOURS):
        raise ConfigError(f"{name} takes images of 3 channels, or grey ones; these have {channels}")
    try:
        with torch.device("meta"):
            found = _made(name, shape.num_classes).eval()(torch.empty(2, COLOURS, height, width))
    except ModelError as error:
        raise ConfigError(f"architecture {name!r}: {error}") from error
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ConfigError(
            f"{name} does not take images of {height} x {width} pixels ({first_line(error)}); expected"
            " another"
            " size, as in --size 224, or another net"
        ) from error
    if not isinstance(found, Tensor) or found.shape != (2, shape.num_classes):
        raise ConfigError(f"{name} does not return one value for each class; expected a classifier")


def _made(name: str, num_classes: int) -> nn.Module:
    options: dict[str, Any] = {"aux_logits": False} if name in AUXILIARY else {}
    make = maker(name)
    try:
        return make(num_classes=num_classes, **options)
    except (RuntimeError, TypeError, ValueError, AssertionError, KeyError, AttributeError) as error:
        raise ModelError(f"{name} cannot be built: {type(error).__name__}: {first_line(error)}") from error
