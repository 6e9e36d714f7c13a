"""DeepFool (Moosavi-Dezfooli et al., CVPR 2016), batched: the smallest step over the
nearest decision boundary.

Used by the DeepFool UAP, and by itself for local adversarial perturbations (LAP, paper figure 7).
"""

import torch
from torch import Tensor, nn

from zooaudit.config import Norm

OVERSHOOT = 0.02
TINY = 1e-12


def deepfool(
    model: nn.Module, images: Tensor, norm: Norm = "l2", max_steps: int = 50, classes: int = 10
) -> Tensor:
    """Perturbations that take each image just over its nearest boundary.

    Args:
        model: gives logits ``[n, K]``, differentiable.
        images: float ``[n, c, h, w]``; not clipped here, as in the paper.
        norm: the norm in which the step is smallest.
        max_steps: most linearisations; an image that is not over by then keeps the perturbation reached.
        classes: how many of the likeliest classes are considered.

    Returns:
        float ``[n, c, h, w]``: ``images + result`` has another label, except for images that ran out of
            steps.
    """
    with torch.no_grad():
        order = model(images).argsort(dim=1, descending=True)[:, :classes]
    total = torch.zeros_like(images)
    active = torch.arange(len(images), device=images.device)
    for _ in range(max_steps):
        x = images[active] + (1 + OVERSHOOT) * total[active]
        logits, jacobian = _logits_and_jacobian(model, x, order[active])
        still = logits[:, 0] >= logits[:, 1:].amax(1)
        if not still.any():
            break
        active = active[still]
        total[active] += _smallest_step(logits[still], jacobian[still], norm)
    return (1 + OVERSHOOT) * total


def _logits_and_jacobian(model: nn.Module, x: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of the ordered classes ``[n, k]`` and their gradients by pixel ``[n, k, c, h, w]``."""
    x = x.detach().requires_grad_()
    logits = model(x).gather(1, order)
    rows = [torch.autograd.grad(logits[:, k].sum(), x, retain_graph=True)[0] for k in range(order.shape[1])]
    return logits.detach(), torch.stack(rows, 1)


def _smallest_step(logits: Tensor, jacobian: Tensor, norm: Norm) -> Tensor:
    """Step to the nearest linearised boundary: ``|f|/||w||_2^2 w`` for L2,
    ``|f|/||w||_1 sign(w)`` for L-inf."""
    gap = (logits[:, 1:] - logits[:, :1]).abs() + 1e-4
    slope = jacobian[:, 1:] - jacobian[:, :1]
    flat = slope.flatten(2)
    dual = flat.norm(p=2 if norm == "l2" else 1, dim=2).clamp(min=TINY)
    nearest = (gap / dual).argmin(1)
    row = torch.arange(len(logits), device=logits.device)
    w, size, length = slope[row, nearest], gap[row, nearest], dual[row, nearest]
    if norm == "l2":
        return (size / length.square()).view(-1, 1, 1, 1) * w
    return (size / length).view(-1, 1, 1, 1) * w.sign()
