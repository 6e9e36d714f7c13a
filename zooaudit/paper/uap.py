"""Universal adversarial perturbations: one v, inside a ball, that changes the label of most images (paper
section 3.1, equation 3)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zooaudit.config import Norm, UapConfig
from zooaudit.data.batches import images_at_once
from zooaudit.data.images import to_unit
from zooaudit.data.on_disk import Images
from zooaudit.paper.deepfool import deepfool

EVALUATION_BATCH = 500
ADAM_STEP = 0.1
"""Adam's step as a share of epsilon (L-inf) or of epsilon over the square root of the dimension (L2)."""


@dataclass(frozen=True, eq=False)
class Uap:
    """A perturbation and what it does.

    Attributes:
        v: float32 ``[c, h, w]``; its norm is at most ``epsilon``.
        fooling_rate: share of held-out images whose label changes, in [0, 1].
        crafting_rate: the same on the images it was crafted on.
        steps: optimisation steps (gradient) or DeepFool calls on one batch (deepfool) taken.
    """

    v: Tensor
    epsilon: float
    norm: Norm
    method: str
    fooling_rate: float
    crafting_rate: float
    steps: int


def craft_uap(model: nn.Module, images: Images, held_out: Images, config: UapConfig, seed: int) -> Uap:
    """Craft a UAP of ``model`` and measure it on images it has not seen.

    Args:
        model: gives logits, differentiable, in evaluation mode.
        images: uint8 ``[n, c, h, w]`` to craft on; at most ``config.points`` of them are used.
        held_out: uint8 ``[m, c, h, w]``, for the fooling rate.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = images[torch.randperm(len(images), generator=generator)[: config.points]]
    craft = gradient_uap if config.method == "gradient" else deepfool_uap
    v, steps = craft(model, chosen, config, generator)
    return Uap(
        v,
        config.epsilon,
        config.norm,
        config.method,
        fooling_rate(model, held_out, v),
        fooling_rate(model, chosen, v),
        steps,
    )


def gradient_uap(
    model: nn.Module, images: Tensor, config: UapConfig, generator: torch.Generator
) -> tuple[Tensor, int]:
    """Maximise the capped cross-entropy of f(x + v) against f(x)'s own label by Adam over minibatches,
    projecting after each step."""
    labels = predict(model, images)
    v = torch.zeros(images.shape[1:], device=images.device).requires_grad_()
    radius = config.epsilon if config.norm == "linf" else config.epsilon / v.numel() ** 0.5
    optimiser = torch.optim.Adam([v], ADAM_STEP * radius)
    for step in range(config.max_steps):
        optimiser.param_groups[0]["lr"] = ADAM_STEP * radius * (1 - 0.9 * step / config.max_steps)
        batch = torch.randint(len(images), (min(config.batch_size, len(images)),), generator=generator)
        logits = model((unit(images[batch]) + v).clamp(0, 1))
        loss = -F.cross_entropy(logits, labels[batch], reduction="none").clamp(max=config.loss_cap).mean()
        (v.grad,) = torch.autograd.grad(loss, v)
        optimiser.step()
        with torch.no_grad():
            v.copy_(project(v, config.norm, config.epsilon))
    return v.detach(), config.max_steps


def deepfool_uap(
    model: nn.Module, images: Tensor, config: UapConfig, generator: torch.Generator
) -> tuple[Tensor, int]:
    """Moosavi-Dezfooli et al., CVPR 2017, algorithm 1: add the DeepFool step of each point
    not fooled yet, and project.

    *Ours*: the points of a batch take their steps at the same v, and the steps are summed; with
    ``batch_size`` 1 this is the published loop. Capped at ``max_steps`` batches.
    """
    labels = predict(model, images)
    v = torch.zeros(images.shape[1:], device=images.device)
    steps = 0
    while steps < config.max_steps:
        before = steps
        for batch in torch.randperm(len(images), generator=generator).split(config.batch_size):
            if steps == config.max_steps:
                break
            shifted = (unit(images[batch]) + v).clamp(0, 1)
            unfooled = predict(model, shifted) == labels[batch]
            if unfooled.any():
                v = project(
                    v + deepfool(model, shifted[unfooled], config.norm).sum(0), config.norm, config.epsilon
                )
                steps += 1
        if steps == before:  # a whole pass with nothing left to fool
            break
    return v, steps


def project(v: Tensor, norm: Norm, epsilon: float) -> Tensor:
    """The point of the ball of radius ``epsilon`` nearest to ``v``, any shape."""
    if norm == "linf":
        return v.clamp(-epsilon, epsilon)
    return v * min(1.0, epsilon / max(float(v.norm()), 1e-12))


def fooling_rate(model: nn.Module, images: Images, v: Tensor) -> float:
    """Share of images ``[n, c, h, w]``, uint8 or float in [0, 1], whose label changes when ``v`` is added and
    the sum clipped to [0, 1]."""
    changed = []
    for part in images.split(images_at_once(images.shape, EVALUATION_BATCH)):
        x = unit(part)
        changed.append(predict(model, x) != predict(model, (x + v).clamp(0, 1)))
    return float(torch.cat(changed).float().mean())


@torch.no_grad()
def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Labels int64 ``[n]`` of images ``[n, c, h, w]``, uint8 or float in [0, 1]."""
    return torch.cat(
        [model(unit(x)).argmax(1) for x in images.split(images_at_once(images.shape, EVALUATION_BATCH))]
    )


def unit(images: Tensor) -> Tensor:
    """Float in [0, 1]; images stay uint8 until then, which takes a quarter of the memory."""
    return images if images.is_floating_point() else to_unit(images)


def local_perturbations(model: nn.Module, images: Tensor, norm: Norm, epsilon: float) -> Tensor:
    """LAP (paper figure 7): each image's own DeepFool perturbation, scaled to norm ``epsilon``, the UAP's.
    Float ``[n, c, h, w]``."""
    steps = torch.cat(
        [deepfool(model, x, norm) for x in images.split(images_at_once(images.shape, EVALUATION_BATCH))]
    )
    length = steps.flatten(1).norm(p=float("inf") if norm == "linf" else 2, dim=1).clamp(min=1e-12)
    return steps * (epsilon / length).view(-1, 1, 1, 1)
