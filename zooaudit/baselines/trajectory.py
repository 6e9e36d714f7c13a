"""ADV-TRA (Xu et al., NeurIPS 2024): not one adversarial example, but all points on the way to it, which tell
more of a border's shape."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LENGTH = 6
"""Points of a trajectory."""
FIRST, SHORTER = 0.03, 0.9
"""Of the first step, L-inf, and each step as a share of the one before."""


def trajectories(model: nn.Module, images: Tensor, seed: int, length: int = LENGTH) -> Tensor:
    """Walk from each of float ``images`` ``[n, c, h, w]`` in [0, 1] towards a random class
    that is not the model's.

    *Ours*: steps of fixed lengths; the paper searches for the lengths by which a trajectory
    crosses the border in its middle.

    Returns:
        All points, float ``[length * n, c, h, w]``, a trajectory's after one another.
    """
    with torch.no_grad():
        first = model(images)
    shift = torch.randint(
        1, first.shape[1], (len(images),), generator=torch.Generator().manual_seed(seed)
    ).to(images.device)
    target, x, step, points = (first.argmax(1) + shift) % first.shape[1], images, FIRST, []
    for _ in range(length):
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(model(x), target, reduction="sum"), x)
        x = (x - step * gradient.sign()).clamp(0, 1)
        points.append(x.detach())
        step *= SHORTER
    return torch.stack(points, 1).flatten(0, 1)
