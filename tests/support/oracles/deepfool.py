"""DeepFool (CVPR 2016, algorithm 2) for one image, and the UAP of CVPR 2017, algorithm 1,
one point after another."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

OVERSHOOT = 0.02
NUDGE = 1e-4
"""Added to the gap, as the authors' code does, so that a step on the boundary still crosses it."""


def deepfool(model: nn.Module, image: Tensor, norm: str, max_steps: int = 50) -> Tensor:
    """The perturbation ``[c, h, w]`` of one image ``[c, h, w]``."""
    original = int(model(image[None]).argmax())
    total = torch.zeros_like(image)
    for _ in range(max_steps):
        x = (image + (1 + OVERSHOOT) * total).detach().requires_grad_()
        logits = model(x[None])[0]
        if int(logits.argmax()) != original:
            break
        gradients = [torch.autograd.grad(logits[k], x, retain_graph=True)[0] for k in range(len(logits))]
        best, step = float("inf"), torch.zeros_like(image)
        for k in range(len(logits)):
            if k == original:
                continue
            w = gradients[k] - gradients[original]
            gap = abs(float((logits[k] - logits[original]).detach())) + NUDGE
            length = float(w.norm()) if norm == "l2" else float(w.abs().sum())
            if gap / length < best:
                best = gap / length
                step = gap / length**2 * w if norm == "l2" else gap / length * w.sign()
        total = total + step
    return (1 + OVERSHOOT) * total


def universal(
    model: nn.Module, images: Tensor, passes: Iterable[Tensor], norm: str, epsilon: float, max_steps: int
) -> Tensor:
    """Algorithm 1 on ``images``, visited in the order that each of ``passes`` gives; stops after
    ``max_steps`` DeepFool calls."""
    v = torch.zeros_like(images[0])
    steps = 0
    for order in passes:
        for i in order.tolist():
            if steps == max_steps:
                return v
            shifted = (images[i] + v).clamp(0, 1)
            if int(model(shifted[None]).argmax()) == int(model(images[i][None]).argmax()):
                v = project(v + deepfool(model, shifted, norm), norm, epsilon)
                steps += 1
    return v


def project(v: Tensor, norm: str, epsilon: float) -> Tensor:
    """Nearest point of the ball, by its definition, number by number."""
    if norm == "linf":
        return torch.tensor([max(-epsilon, min(epsilon, x)) for x in v.flatten().tolist()]).view_as(v)
    length = sum(x * x for x in v.flatten().tolist()) ** 0.5
    return v if length <= epsilon else v * (epsilon / length)
