"""Many universal perturbations of one model in one forward pass: figure 2 needs as many as the input has
dimensions."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zooaudit.config import Norm, UapConfig
from zooaudit.data.batches import images_at_once
from zooaudit.paper.deepfool import deepfool
from zooaudit.paper.uap import ADAM_STEP, predict, project, unit

MOST_IMAGES, MOST_ON_CPU = 4096, 512
"""Images in one forward pass. On a CPU more do not fit its caches: 4,096 took 1.5 times as long for each."""


def many_uaps(model: nn.Module, images: Tensor, config: UapConfig, seeds: Sequence[int]) -> Tensor:
    """A UAP for each of ``seeds``, made from ``config.points`` images that the seed draws: float
    ``[len(seeds), c, h, w]``.

    Each equals the result of ``craft_uap`` with that seed up to the last bits, since the group size
    determines how sums are split.

    Args:
        model: gives logits, differentiable, in evaluation mode.
        images: uint8, or float in [0, 1], ``[n, c, h, w]``.
    """
    labels = predict(model, images)  # for all, once: one by one it would take a good part of the time
    most = MOST_ON_CPU if images.device.type == "cpu" else MOST_IMAGES
    group_size = max(1, images_at_once(images.shape, most) // config.batch_size)
    make = _by_gradient if config.method == "gradient" else _by_deepfool
    parts = [seeds[i : i + group_size] for i in range(0, len(seeds), group_size)]
    return torch.cat([make(model, images, labels, config, part) for part in parts])


def _drawn(images: Tensor, config: UapConfig, seeds: Sequence[int]) -> tuple[list[torch.Generator], Tensor]:
    """A generator for each seed, and the rows ``[k, points]`` of the images that each draws."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return generators, torch.stack(
        [torch.randperm(len(images), generator=g)[: config.points] for g in generators]
    )


def _by_gradient(
    model: nn.Module, images: Tensor, labels: Tensor, config: UapConfig, seeds: Sequence[int]
) -> Tensor:
    generators, rows = _drawn(images, config, seeds)
    size = min(config.batch_size, rows.shape[1])
    v = torch.zeros(len(seeds), *images.shape[1:], device=images.device).requires_grad_()
    radius = config.epsilon if config.norm == "linf" else config.epsilon / v[0].numel() ** 0.5
    optimiser = torch.optim.Adam([v], ADAM_STEP * radius)
    for step in range(config.max_steps):
        optimiser.param_groups[0]["lr"] = ADAM_STEP * radius * (1 - 0.9 * step / config.max_steps)
        batch = torch.stack(
            [r[torch.randint(len(r), (size,), generator=g)] for g, r in zip(generators, rows, strict=True)]
        )
        logits = model((unit(images[batch]) + v.unsqueeze(1)).clamp(0, 1).flatten(0, 1))
        entropy = F.cross_entropy(logits, labels[batch].flatten(), reduction="none").clamp(
            max=config.loss_cap
        )
        (v.grad,) = torch.autograd.grad(-entropy.sum() / size, v)
        optimiser.step()
        with torch.no_grad():
            v.copy_(_projected(v, config.norm, config.epsilon))
    return v.detach()


def _by_deepfool(
    model: nn.Module, images: Tensor, labels: Tensor, config: UapConfig, seeds: Sequence[int]
) -> Tensor:
    """UAPs that take no step in a whole pass over their images are finished; the others continue."""
    generators, rows = _drawn(images, config, seeds)
    v = torch.zeros(len(seeds), *images.shape[1:], device=images.device)
    steps, left = torch.zeros(len(seeds), dtype=torch.int64), list(range(len(seeds)))
    while left:
        before = steps.clone()
        orders = torch.stack([torch.randperm(rows.shape[1], generator=generators[k]) for k in left])
        for part in orders.split(config.batch_size, dim=1):
            going = [i for i, k in enumerate(left) if steps[k] < config.max_steps]
            if not going:
                break
            mine = torch.tensor([left[i] for i in going])
            batch = rows[mine].gather(1, part[going])
            taken = _deepfool_step(model, unit(images[batch]), labels[batch], v[mine], config)
            moved = taken.flatten(1).any(1)
            v[mine] = _projected(v[mine] + taken, config.norm, config.epsilon)
            steps[mine[moved.cpu()]] += 1
        left = [k for k in left if before[k] < steps[k] < config.max_steps]
    return v


def _deepfool_step(model: nn.Module, x: Tensor, labels: Tensor, v: Tensor, config: UapConfig) -> Tensor:
    """The sum of the DeepFool steps of the points that each ``v`` ``[k, c, h, w]`` does not fool yet; ``x``
    is ``[k, b, c, h, w]``."""
    shifted = (x + v.unsqueeze(1)).clamp(0, 1)
    unfooled = predict(model, shifted.flatten(0, 1)).view(labels.shape) == labels
    found = torch.zeros_like(shifted)
    if unfooled.any():
        found[unfooled] = deepfool(model, shifted[unfooled], config.norm)
    return found.sum(1)


def _projected(v: Tensor, norm: Norm, epsilon: float) -> Tensor:
    """Project each of ``v`` ``[k, c, h, w]`` onto its ball."""
    if norm == "linf":
        return project(v, norm, epsilon)
    length = v.flatten(1).norm(dim=1).clamp(min=1e-12)
    return v * (epsilon / length).clamp(max=1).view(-1, 1, 1, 1)
