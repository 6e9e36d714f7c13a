"""The architectures by name: here the FMNIST ones, A to E (paper table 1); torchvision's in vision_nets.py,
and the further ones of references in reference_nets.py. ``timm:NAME`` and ``torchvision:NAME`` are the
libraries' own nets, see published_nets.py.

The table fixes the activation, dropout, kernel size and number of convolutions. *Ours*: the channels, one
hidden layer, inputs normalised inside the model, He initialisation, 2 x 2 max-pooling after the first
convolution and after the second (A, B, C, E) or third (D), and pooling before the activation: for increasing
activations that is the same function (a PReLU slope below zero aside) at a quarter of the work.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zooaudit.errors import ConfigError
from zooaudit.suspects.named_nets import is_named
from zooaudit.zoo.activations import ACTIVATIONS, Dropout
from zooaudit.zoo.pooling import MaxPool2x2
from zooaudit.zoo.published_nets import PublishedNet
from zooaudit.zoo.reference_nets import REFERENCE_NETS, ReferenceNet
from zooaudit.zoo.shape import ModelShape
from zooaudit.zoo.vision_nets import VISION_NETS, VisionNet


@dataclass(frozen=True)
class Architecture:
    """One column of table 1; ``pool_after`` counts convolutions from 0."""

    kernel: int
    convolutions: int
    activation: str
    dropout: float
    pool_after: tuple[int, int]


ARCHITECTURES = {
    "A": Architecture(3, 2, "elu", 0.0, (0, 1)),
    "B": Architecture(5, 3, "elu", 0.0, (0, 1)),
    "C": Architecture(3, 2, "relu", 0.0, (0, 1)),
    "D": Architecture(3, 4, "prelu", 0.0, (0, 2)),
    "E": Architecture(5, 2, "relu", 0.3, (0, 1)),
}


def channels_after(convolution: int, arch: Architecture, shape: ModelShape) -> int:
    """Output channels of convolution number ``convolution``: the widths are shared equally, so that (16, 32)
    over four is 16, 16, 32, 32."""
    return shape.widths[convolution * len(shape.widths) // arch.convolutions]


class ConvNet(nn.Module):
    """Convolutions, a hidden layer, logits."""

    mean: Tensor
    std: Tensor

    def __init__(self, arch: Architecture, shape: ModelShape) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(shape.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(shape.std).view(1, -1, 1, 1))
        channels, height, width = shape.image
        layers: list[nn.Module] = []
        for i in range(arch.convolutions):
            out = channels_after(i, arch, shape)
            layers.append(nn.Conv2d(channels, out, arch.kernel, padding=arch.kernel // 2))
            if i in arch.pool_after:
                layers.append(MaxPool2x2())
                height, width = height // 2, width // 2
            layers.append(ACTIVATIONS[arch.activation]())
            channels = out
        if min(height, width) < 1:
            raise ConfigError(
                f"images of {shape.image[1]} x {shape.image[2]} pixels are too small for two poolings;"
                " expected at least 4 x 4"
            )
        self.convolutions = nn.Sequential(*layers)
        self.hidden = nn.Sequential(
            Dropout(arch.dropout),
            nn.Linear(channels * height * width, shape.hidden),
            ACTIVATIONS[arch.activation](),
            Dropout(arch.dropout),
        )
        self.head = nn.Linear(shape.hidden, shape.num_classes)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(
                    module.weight, nonlinearity="linear" if module is self.head else "relu"
                )
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Images float ``[n, c, h, w]`` in [0, 1] to logits ``[n, num_classes]``."""
        z = self.convolutions((x - self.mean) / self.std)
        # Channels last, as they lie in memory.
        return self.head(self.hidden(z.permute(0, 2, 3, 1).flatten(1)))


KNOWN = (*ARCHITECTURES, *VISION_NETS, *REFERENCE_NETS)
"""Names of all architectures except the libraries'."""


EXPECTED = f"{', '.join(KNOWN)}, timm:NAME, torchvision:NAME"


def is_known(name: str) -> bool:
    """Whether there is such an architecture; for a library's net, only the form of the name is checked."""
    return name in KNOWN or is_named(name)


def build_architecture(name: str, shape: ModelShape) -> nn.Module:
    """A freshly initialised model of architecture ``name``; draws from torch's global generator.

    Raises:
        ConfigError: the name is unknown, the images are too small, or a torchvision net is not possible with
            this width.
        ModelError: a library is not installed, or has no such net.
    """
    if is_named(name):
        return PublishedNet(name, shape.num_classes, shape.mean, shape.std)
    if name not in KNOWN:
        raise ConfigError(f"unknown architecture {name!r}; known: {EXPECTED}")
    if name in REFERENCE_NETS:
        return ReferenceNet(name, shape)
    return VisionNet(name, shape) if name in VISION_NETS else ConvNet(ARCHITECTURES[name], shape)


def begin_anew(model: nn.Module) -> None:
    """Draw the weights of all layers again, from torch's global generator, as torch initialises them."""
    for layer in model.modules():
        if callable(reset := getattr(layer, "reset_parameters", None)):
            reset()
