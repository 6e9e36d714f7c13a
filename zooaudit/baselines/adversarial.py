"""Projected gradient descent (Madry et al., ICLR 2018): adversarial examples of the victim
that other methods ask about."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def pgd(model: nn.Module, images: Tensor, labels: Tensor, epsilon_linf: float, steps: int = 20) -> Tensor:
    """Maximise the cross-entropy of ``labels`` ``[n]`` within an L-inf ball around float ``images``
    ``[n, c, h, w]`` in [0, 1].

    Steps of 2.5 epsilon / steps along the gradient's sign, from the image itself, clipped to the image range.
    """
    step = 2.5 * epsilon_linf / steps
    moved = images.clone()
    for _ in range(steps):
        x = moved.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(model(x), labels, reduction="sum"), x)
        near = (moved + step * gradient.sign()).clamp(images - epsilon_linf, images + epsilon_linf)
        moved = near.clamp(0, 1)
    return moved.detach()
