"""An owner's net whose contract is not the default: pixels from 0 to 255, ten classes, answers in a dict."""

import torch
from torch import Tensor, nn

from tests.support.makers import Affine


class Odd(nn.Module):
    """The data's three classes are three of its ten."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Affine(3 * 8 * 8, 10, 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": self.inner(x / 255)}


def affine() -> nn.Module:
    """One of three classes that takes pixels in [0, 1]."""
    return Affine(192, 3)


def train(seed: int) -> nn.Module:
    """It learns nothing; its seed decides it."""
    torch.manual_seed(seed)
    model = Odd()
    with torch.no_grad():
        model.inner.linear.bias += torch.randn(10)
    return model
