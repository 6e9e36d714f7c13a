"""The paper's CIFAR-10 and TinyImageNet architectures (section 6): torchvision's own, narrowed, and adapted
to small images.

*Ours*, all common for such images:

- a 3 x 3 first convolution; stride 1 below 64 pixels and 2 from there on, so that what
  follows works on 32 pixels;
- no pooling right after it in ResNet; DenseNet keeps its one and GoogLeNet one of two, without it DenseNet
  takes three times as long;
- VGG16 with batch normalisation (the plain one does not train reliably) and one linear layer behind global
  pooling instead of three;
- GoogLeNet without auxiliary heads;
- every channel count but those of images and classes times width / 64; the number of layers stays;
- inputs normalised inside the model, He initialisation.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from zooaudit.errors import ConfigError
from zooaudit.zoo.shape import ModelShape

FULL_WIDTH = 64
"""Channels of the first convolution as published."""
SMALLEST = 32
"""Smallest side in pixels; below that the last feature maps vanish."""
HALVED_FROM = 64
"""Side in pixels from which the first convolution has stride 2."""


def _resnet(name: str, num_classes: int, stem: nn.Conv2d) -> nn.Module:
    net = _torchvision(name, num_classes)
    net.conv1, net.maxpool = stem, nn.Identity()
    return net


def _vgg16(name: str, num_classes: int, stem: nn.Conv2d) -> nn.Module:
    net = _torchvision(f"{name}_bn", num_classes, init_weights=False)
    net.features[0], net.avgpool, net.classifier = stem, nn.AdaptiveAvgPool2d(1), nn.Linear(512, num_classes)
    return net


def _googlenet(name: str, num_classes: int, stem: nn.Conv2d) -> nn.Module:
    net = _torchvision(name, num_classes, aux_logits=False, init_weights=False)
    net.conv1.conv, net.maxpool1 = stem, nn.Identity()
    return net


def _densenet(name: str, num_classes: int, stem: nn.Conv2d) -> nn.Module:
    net = _torchvision(name, num_classes)
    net.features.conv0 = stem
    return net


def _torchvision(name: str, num_classes: int, **options: Any) -> Any:
    from torchvision import models  # takes a second to import, which zoos of A to E do not need

    return getattr(models, name)(weights=None, num_classes=num_classes, **options)


VISION_NETS: dict[str, Callable[[str, int, nn.Conv2d], nn.Module]] = {
    "resnet18": _resnet,
    "resnet34": _resnet,
    "vgg16": _vgg16,
    "googlenet": _googlenet,
    "densenet121": _densenet,
}
"""By name: how torchvision's model is made for ``num_classes`` and given its new first convolution."""

WIDTH_STEPS = {"resnet18": 1, "resnet34": 1, "vgg16": 1, "googlenet": 8, "densenet121": 2}
"""Widths that are multiples of this leave every channel count whole."""


def check_net(name: str, shape: ModelShape) -> None:
    """Raise ConfigError if the images are too small for the net, or if this width is not possible; builds
    nothing."""
    _, height, width = shape.image
    if min(height, width) < SMALLEST:
        raise ConfigError(
            f"images of {height} x {width} pixels are too small for {name}; expected at least {SMALLEST} x"
            f" {SMALLEST}: resize them, or take one of the architectures A to E"
        )
    if shape.widths[0] % WIDTH_STEPS[name]:
        raise ConfigError(
            f"width {shape.widths[0]} gives {name} fractions of channels; expected a multiple of"
            f" {WIDTH_STEPS[name]} ({FULL_WIDTH} is the published net)"
        )


class VisionNet(nn.Module):
    """One of ``VISION_NETS`` behind the normalisation of its inputs."""

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, shape: ModelShape) -> None:
        super().__init__()
        check_net(name, shape)
        channels, *size = shape.image
        self.register_buffer("mean", torch.tensor(shape.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(shape.std).view(1, -1, 1, 1))
        with torch.device("meta"):  # allocates and draws nothing for layers that are replaced
            stride = 2 if min(size) >= HALVED_FROM else 1
            stem = nn.Conv2d(channels, FULL_WIDTH, 3, stride, padding=1, bias=name == "vgg16")
            self.net = VISION_NETS[name](name, shape.num_classes, stem)
        _narrow(self.net, stem, shape.widths[0])
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Images float ``[n, c, h, w]`` in [0, 1] to logits ``[n, num_classes]``."""
        return self.net((x - self.mean) / self.std)


def _narrow(net: nn.Module, stem: nn.Conv2d, width: int) -> None:
    """Replace each layer with weights by one with ``width`` / 64 of the channels, except those of images and
    classes."""

    def channels(count: int) -> int:
        assert count * width % FULL_WIDTH == 0, f"{count} channels x {width} / {FULL_WIDTH}"
        return count * width // FULL_WIDTH

    for path, layer in list(net.named_modules()):
        narrow: nn.Module
        if isinstance(layer, nn.Conv2d):
            taken = layer.in_channels if layer is stem else channels(layer.in_channels)
            # Torch types them as any tuples.
            kernel, stride, padding = cast("Any", (layer.kernel_size, layer.stride, layer.padding))
            narrow = nn.Conv2d(
                taken, channels(layer.out_channels), kernel, stride, padding, bias=layer.bias is not None
            )
        elif isinstance(layer, nn.BatchNorm2d):
            narrow = nn.BatchNorm2d(channels(layer.num_features), layer.eps, layer.momentum)
        elif isinstance(layer, nn.Linear):
            narrow = nn.Linear(channels(layer.in_features), layer.out_features)
        else:
            continue
        owner, _, attribute = path.rpartition(".")
        setattr(net.get_submodule(owner), attribute, narrow)
