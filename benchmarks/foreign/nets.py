"""Small networks, each an ``nn.Sequential`` that ends in a linear layer: images in [0, 1] to logits."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Scale(nn.Module):
    """[0, 1] to about [-2, 2]."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - 0.5) * 4


class Residual(nn.Module):
    """``x`` plus what the layers make of it."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class Grow(nn.Module):
    """``x`` with what the layers make of it as further channels."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.layers(x)], 1)


class Tokens(nn.Module):
    """Feature maps ``[n, c, h, w]`` to tokens ``[n, h * w, c]``, each with a learnt place."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.randn(1, count, width) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).transpose(1, 2) + self.place


class Across(nn.Module):
    """Runs layers over the tokens' axis."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.transpose(1, 2)).transpose(1, 2)


class Attention(nn.Module):
    """Self-attention over the tokens in ``heads`` parts."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.inward, self.outward = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, count, width = x.shape
        query, key, value = self.inward(x).view(n, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        weights = (query @ key.transpose(-2, -1) * (width // self.heads) ** -0.5).softmax(-1)
        return self.outward((weights @ value).transpose(1, 2).reshape(n, count, width))


class Average(nn.Module):
    """The mean token."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


def gelu(channels: int, size: int, classes: int) -> nn.Sequential:
    """BatchNorm and GELU, strides instead of pooling."""
    layers: list[nn.Module] = [Scale()]
    for before, after, stride in ((channels, 24, 2), (24, 40, 2), (40, 56, 1)):
        layers += [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.GELU()]
    return nn.Sequential(*layers, nn.AvgPool2d(2, ceil_mode=True), nn.Flatten(), nn.Linear(56 * 16, classes))


def plain(channels: int, size: int, classes: int) -> nn.Sequential:
    """ReLU, no normalisation, one hidden layer."""
    side = size // 4
    return nn.Sequential(
        Scale(),
        nn.Conv2d(channels, 24, 5, 2, 2),
        nn.ReLU(),
        nn.Conv2d(24, 48, 3, 1, 1),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(48 * side * side, 96),
        nn.ReLU(),
        nn.Linear(96, classes),
    )


def group(channels: int, size: int, classes: int) -> nn.Sequential:
    """GroupNorm and SiLU with one residual block."""
    inner = (nn.Conv2d(48, 48, 3, 1, 1), nn.GroupNorm(6, 48), nn.SiLU())
    stem = (Scale(), nn.Conv2d(channels, 24, 4, 2, 1), nn.GroupNorm(4, 24), nn.SiLU())
    down = (nn.Conv2d(24, 48, 3, 2, 1), nn.GroupNorm(6, 48), nn.SiLU())
    return nn.Sequential(
        *stem,
        *down,
        Residual(*inner),
        nn.AvgPool2d(2, ceil_mode=True),
        nn.Flatten(),
        nn.Linear(48 * 16, classes),
    )


def resid(channels: int, size: int, classes: int) -> nn.Sequential:
    """A small residual network: the public starting checkpoint's architecture."""

    def block(width: int) -> Residual:
        return Residual(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())

    stem = (Scale(), nn.Conv2d(channels, 24, 3, 2, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU())
    down = (nn.Conv2d(24, 48, 3, 2, 1, bias=False), nn.BatchNorm2d(48), nn.ReLU())
    return nn.Sequential(
        *stem,
        *down,
        block(48),
        block(48),
        nn.AvgPool2d(2, ceil_mode=True),
        nn.Flatten(),
        nn.Linear(48 * 16, classes),
    )


def mixer(channels: int, size: int, classes: int) -> nn.Sequential:
    """A small MLP-Mixer over 4 x 4 patches."""
    count, width = (size // 4) ** 2, 48
    layers: list[nn.Module] = [Scale(), nn.Conv2d(channels, width, 4, 4), Tokens(count, width)]
    for _ in range(2):
        layers.append(
            Residual(nn.LayerNorm(width), Across(nn.Linear(count, 48), nn.GELU(), nn.Linear(48, count)))
        )
        layers.append(Residual(nn.LayerNorm(width), nn.Linear(width, 96), nn.GELU(), nn.Linear(96, width)))
    return nn.Sequential(*layers, nn.LayerNorm(width), Average(), nn.Linear(width, classes))


def vit(channels: int, size: int, classes: int) -> nn.Sequential:
    """A small transformer over 4 x 4 patches."""
    width = 48
    layers: list[nn.Module] = [Scale(), nn.Conv2d(channels, width, 4, 4), Tokens((size // 4) ** 2, width)]
    for _ in range(2):
        layers.append(Residual(nn.LayerNorm(width), Attention(width, 3)))
        layers.append(Residual(nn.LayerNorm(width), nn.Linear(width, 96), nn.GELU(), nn.Linear(96, width)))
    return nn.Sequential(*layers, nn.LayerNorm(width), Average(), nn.Linear(width, classes))


def mlp(channels: int, size: int, classes: int) -> nn.Sequential:
    """Two hidden layers on the pixels."""
    inputs = channels * size * size
    hidden = (nn.Linear(inputs, 256), nn.ReLU(), nn.Dropout(0.1), nn.Linear(256, 128), nn.ReLU())
    return nn.Sequential(Scale(), nn.Flatten(), *hidden, nn.Linear(128, classes))


def dense(channels: int, size: int, classes: int) -> nn.Sequential:
    """Densely connected: each block adds channels."""
    layers: list[nn.Module] = [Scale(), nn.Conv2d(channels, 24, 4, 2, 1), nn.LeakyReLU(0.1), nn.AvgPool2d(2)]
    for before in (24, 40):
        layers.append(Grow(nn.BatchNorm2d(before), nn.LeakyReLU(0.1), nn.Conv2d(before, 16, 3, 1, 1)))
    return nn.Sequential(*layers, nn.AvgPool2d(2, ceil_mode=True), nn.Flatten(), nn.Linear(56 * 16, classes))


def tanh(channels: int, size: int, classes: int) -> nn.Sequential:
    """After LeNet: 5 x 5 kernels, average pooling, tanh."""
    side = size // 4
    convolutions = (
        nn.Conv2d(channels, 16, 5, 1, 2),
        nn.AvgPool2d(2),
        nn.Tanh(),
        nn.Conv2d(16, 32, 5, 1, 2),
        nn.AvgPool2d(2),
        nn.Tanh(),
    )
    return nn.Sequential(
        Scale(),
        *convolutions,
        nn.Flatten(),
        nn.Linear(32 * side * side, 84),
        nn.Tanh(),
        nn.Linear(84, classes),
    )


def separable(channels: int, size: int, classes: int) -> nn.Sequential:
    """After MobileNet: depthwise and pointwise convolutions, BatchNorm, hard-swish."""
    layers: list[nn.Module] = [
        Scale(),
        nn.Conv2d(channels, 24, 3, 2, 1, bias=False),
        nn.BatchNorm2d(24),
        nn.Hardswish(),
    ]
    for before, after, stride in ((24, 48, 2), (48, 64, 1), (64, 64, 1)):
        layers += [
            nn.Conv2d(before, before, 3, stride, 1, groups=before, bias=False),
            nn.BatchNorm2d(before),
            nn.Hardswish(),
        ]
        layers += [nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after), nn.Hardswish()]
    return nn.Sequential(*layers, nn.AvgPool2d(2, ceil_mode=True), nn.Flatten(), nn.Linear(64 * 16, classes))


def drop(channels: int, size: int, classes: int) -> nn.Sequential:
    """After VGG: pairs of convolutions, max-pooling, dropout."""
    side = size // 4
    one = (
        nn.Conv2d(channels, 16, 3, 1, 1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, 2, 1),
        nn.ReLU(),
        nn.Dropout(0.1),
    )
    two = (
        nn.Conv2d(16, 40, 3, 1, 1),
        nn.ReLU(),
        nn.Conv2d(40, 40, 3, 1, 1),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Dropout(0.2),
    )
    hidden = (nn.Flatten(), nn.Linear(40 * side * side, 96), nn.ReLU(), nn.Dropout(0.3))
    return nn.Sequential(Scale(), *one, *two, *hidden, nn.Linear(96, classes))


def hybrid(channels: int, size: int, classes: int) -> nn.Sequential:
    """Convolutions to tokens, then one block of attention."""
    width = 56
    stem = (
        nn.Conv2d(channels, 28, 3, 2, 1),
        nn.GroupNorm(4, 28),
        nn.GELU(),
        nn.Conv2d(28, width, 3, 2, 1),
        nn.GELU(),
    )
    block = (
        Residual(nn.LayerNorm(width), Attention(width, 4)),
        Residual(nn.LayerNorm(width), nn.Linear(width, 112), nn.GELU(), nn.Linear(112, width)),
    )
    return nn.Sequential(
        Scale(),
        *stem,
        Tokens((size // 4) ** 2, width),
        *block,
        nn.LayerNorm(width),
        Average(),
        nn.Linear(width, classes),
    )


NETS: dict[str, Callable[[int, int, int], nn.Sequential]] = {
    f.__name__: f for f in (gelu, plain, group, resid, mixer, vit, mlp, dense, tanh, separable, drop, hybrid)
}


def begin_with(model: nn.Sequential, start: nn.Module) -> nn.Sequential:
    """The network with the weights of ``start``, one of the same kind for other classes,
    but for the last layer."""
    body = {k: v for k, v in start.state_dict().items() if not k.startswith(f"{len(model) - 1}.")}
    model.load_state_dict(body, strict=False)
    return model


def build(name: str, images: Tensor, classes: int = 10) -> nn.Sequential:
    """A fresh network for images of this shape; draws from torch's global generator."""
    return NETS[name](images.shape[1], images.shape[2], classes)
