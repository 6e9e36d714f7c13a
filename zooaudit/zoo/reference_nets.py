"""Small networks for references, unlike the convolutional nets A to E; some are of kinds that few would
deploy.

References teach the verdict what models have in common that the victim's owner did not train
(verdict/statistic.py). Convolutional nets of one training loop teach too little of it: strangers' fully
connected nets, attention, or forests differ from the candidates in common directions that such nets do not
show (docs/log.md).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zooaudit.errors import ConfigError
from zooaudit.zoo.shape import ModelShape

WIDTH = 48
"""Channels of the residual net."""
TOKEN, HEADS, SIDE = 32, 2, 7
"""Of the transformer: channels of a token, heads of its attention, and patches along a side, about."""
HIDDEN = 192
"""Width of the fully connected net."""
LARGEST = 32
"""Side in pixels to which larger images are shrunk, for nets that have a weight for each pixel."""
COSINES = 1024
"""Features of the kernel machine."""
FERNS, TESTS = 240, 6
"""The number of ferns, and of pixels that each compares."""


class Shrunk(nn.Module):
    """Averages images with sides above ``LARGEST`` pixels to that size; then flattens each."""

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        if max(height, width) > LARGEST:
            x = F.adaptive_avg_pool2d(x, (min(height, LARGEST), min(width, LARGEST)))
        return x.contiguous().flatten(1)


def _numbers(shape: ModelShape) -> int:
    channels, height, width = shape.image
    return channels * min(height, LARGEST) * min(width, LARGEST)


class Kernel(nn.Module):
    """Random cosines of the pixels (Rahimi and Recht 2007); with a linear layer on top, approximately a
    Gaussian kernel machine."""

    directions: Tensor
    phases: Tensor

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.register_buffer("directions", torch.randn(COSINES, inputs) / math.sqrt(inputs))
        self.register_buffer("phases", torch.rand(COSINES) * 2 * math.pi)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cos(F.linear(x, self.directions, self.phases))


class Ferns(nn.Module):
    """Random ferns (Ozuysal and others 2010): each compares a few pixels with thresholds and looks up its
    scores in a table. Like forests, it sees only on which side of a threshold a pixel lies."""

    pixels: Tensor
    thresholds: Tensor

    def __init__(self, inputs: int, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("pixels", torch.randint(0, inputs, (FERNS, TESTS)))
        self.register_buffer("thresholds", torch.randn(FERNS, TESTS) * 0.7)
        self.table = nn.EmbeddingBag(FERNS * 2**TESTS, num_classes, mode="sum")
        nn.init.zeros_(self.table.weight)

    def forward(self, x: Tensor) -> Tensor:
        bits = x[:, self.pixels] > self.thresholds
        cells = (bits * 2 ** torch.arange(TESTS, device=x.device)).sum(-1)
        return self.table(cells + 2**TESTS * torch.arange(FERNS, device=x.device))


class Tokens(nn.Module):
    """Feature maps ``[n, c, h, w]`` to tokens ``[n, h * w, c]``, each with a learnt place."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.randn(1, count, TOKEN) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).transpose(1, 2) + self.place


class Block(nn.Module):
    """A block of a vision transformer: attention over the tokens, then a small net on each."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(TOKEN), nn.LayerNorm(TOKEN)])
        self.inward, self.outward = nn.Linear(TOKEN, 3 * TOKEN), nn.Linear(TOKEN, TOKEN)
        self.each = nn.Sequential(nn.Linear(TOKEN, 2 * TOKEN), nn.GELU(), nn.Linear(2 * TOKEN, TOKEN))

    def forward(self, x: Tensor) -> Tensor:
        n, count, _ = x.shape
        query, key, value = self.inward(self.norms[0](x)).view(n, count, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        seen = (query @ key.transpose(-2, -1) * (TOKEN // HEADS) ** -0.5).softmax(-1) @ value
        x = x + self.outward(seen.transpose(1, 2).reshape(n, count, TOKEN))
        return x + self.each(self.norms[1](x))


class Mean(nn.Module):
    """The mean over tokens, or over the pixels of feature maps."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1) if x.ndim == 3 else x.mean((2, 3))


class Residual(nn.Module):
    """``x`` plus a convolution of it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def _linear(shape: ModelShape) -> nn.Module:
    return nn.Sequential(Shrunk(), nn.Linear(_numbers(shape), shape.num_classes))


def _mlp(shape: ModelShape) -> nn.Module:
    hidden = (nn.Linear(_numbers(shape), HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU())
    return nn.Sequential(Shrunk(), *hidden, nn.Linear(HIDDEN, shape.num_classes))


def _kernel(shape: ModelShape) -> nn.Module:
    return nn.Sequential(Shrunk(), Kernel(_numbers(shape)), nn.Linear(COSINES, shape.num_classes))


def _ferns(shape: ModelShape) -> nn.Module:
    return nn.Sequential(Shrunk(), Ferns(_numbers(shape), shape.num_classes))


def _lenet(shape: ModelShape) -> nn.Module:
    channels, height, width = shape.image
    first = (nn.Conv2d(channels, 12, 5, padding=2), nn.AvgPool2d(2), nn.Tanh())
    second = (nn.Conv2d(12, 32, 5, padding=2), nn.AvgPool2d(2), nn.Tanh())
    hidden = (nn.Flatten(), nn.Linear(32 * (height // 4) * (width // 4), 84), nn.Tanh())
    return nn.Sequential(*first, *second, *hidden, nn.Linear(84, shape.num_classes))


def _residual(shape: ModelShape) -> nn.Module:
    stem = (
        nn.Conv2d(shape.image[0], WIDTH, 3, 2, padding=1, bias=False),
        nn.BatchNorm2d(WIDTH),
        nn.ReLU(),
        Residual(WIDTH),
    )
    down = (
        nn.Conv2d(WIDTH, WIDTH, 3, 2, padding=1, bias=False),
        nn.BatchNorm2d(WIDTH),
        nn.ReLU(),
        Residual(WIDTH),
    )
    return nn.Sequential(*stem, *down, Mean(), nn.Linear(WIDTH, shape.num_classes))


def _transformer(shape: ModelShape) -> nn.Module:
    channels, height, width = shape.image
    patch = max(2, min(height, width) // SIDE)
    tokens = Tokens((height // patch) * (width // patch))
    blocks = (Block(), Block(), nn.LayerNorm(TOKEN), Mean())
    return nn.Sequential(
        nn.Conv2d(channels, TOKEN, patch, patch), tokens, *blocks, nn.Linear(TOKEN, shape.num_classes)
    )


REFERENCE_NETS: dict[str, Callable[[ModelShape], nn.Module]] = {
    "mlp": _mlp,
    "ferns": _ferns,
    "kernel": _kernel,
    "lenet": _lenet,
    "transformer": _transformer,
    "residual": _residual,
    "linear": _linear,
}
"""By name, in the order in which references use them; each takes normalised images."""
SMALLEST = 4
"""Smallest side in pixels; two poolings leave nothing of smaller images."""


class ReferenceNet(nn.Module):
    """One of ``REFERENCE_NETS`` behind the normalisation of its inputs."""

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, shape: ModelShape) -> None:
        super().__init__()
        if min(shape.image[1:]) < SMALLEST:
            raise ConfigError(
                f"images of {shape.image[1]} x {shape.image[2]} pixels are too small for {name}; expected at"
                f" least {SMALLEST} x {SMALLEST}"
            )
        self.register_buffer("mean", torch.tensor(shape.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(shape.std).view(1, -1, 1, 1))
        self.net = REFERENCE_NETS[name](shape)

    def forward(self, x: Tensor) -> Tensor:
        """Images float ``[n, c, h, w]`` in [0, 1] to logits ``[n, num_classes]``."""
        return self.net((x - self.mean) / self.std)
