"""The forward pass of a ConvNet in the textbook order: convolution, activation, pooling."""

import torch.nn.functional as F
from torch import Tensor, nn

from zooaudit.zoo.activations import Dropout
from zooaudit.zoo.arch import ConvNet
from zooaudit.zoo.pooling import MaxPool2x2


def activation_before_pooling(model: ConvNet, arch: str, x: Tensor) -> Tensor:
    """Logits of ``x`` with PyTorch's own activations, each applied before the pooling that
    follows its convolution."""
    pools = (0, 2) if arch == "D" else (0, 1)

    def activate(z: Tensor, module: nn.Module) -> Tensor:
        if arch in "AB":
            return F.elu(z)
        return F.prelu(z, next(module.parameters())) if arch == "D" else F.relu(z)

    z = (x - model.mean) / model.std
    convolutions = [m for m in model.convolutions if isinstance(m, nn.Conv2d)]
    activations = [m for m in model.convolutions if not isinstance(m, nn.Conv2d | MaxPool2x2)]
    for i, (convolution, activation) in enumerate(zip(convolutions, activations, strict=True)):
        z = activate(
            F.conv2d(z, convolution.weight, convolution.bias, padding=convolution.kernel_size[0] // 2),
            activation,
        )
        if i in pools:
            z = F.max_pool2d(z, 2)
    linear = next(m for m in model.hidden if isinstance(m, nn.Linear))
    last = next(m for m in model.hidden if not isinstance(m, nn.Linear | Dropout))
    hidden = activate(linear(z.movedim(1, -1).flatten(1)), last)
    return model.head(hidden)
