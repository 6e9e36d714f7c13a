"""Attacks that craft new questions from those they have.

CloudLeak (Yu et al., NDSS 2020): adversarial active learning. The attacker picks the points it is least sure
of, moves them onto the substitute's decision boundary, has the victim label them, and trains again. JBDA
(Papernot et al., ASIA CCS 2017): every point held is moved a step along the sign of the substitute's gradient
for the label that the victim gave it.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zooaudit.compute import autocast
from zooaudit.data.batches import images_at_once
from zooaudit.data.images import to_unit
from zooaudit.zoo.attacks.asking import BATCH, Thief

BOUNDARY_STEPS = 3


def crafting(substitute: nn.Module, thief: Thief) -> None:
    """Rounds of points crafted from those held: CloudLeak adds as many as there are seeds each time, JBDA
    doubles."""
    config = thief.config
    seeds, precision = thief.images, thief.precision
    images, targets = seeds, thief.ask(seeds)
    for round_ in range(config.rounds):
        thief.retrain(images, targets, config.round_epochs, round_)
        if config.attack == "cloudleak":
            chosen = least_certain(substitute, images, len(seeds), precision)
            crafted = move_to_boundary(
                substitute, images[chosen], config.step_linf, config.epsilon_linf, precision
            )
        else:
            crafted = jacobian_step(substitute, images, targets, config.step_linf, precision)
        images = torch.cat([images, crafted])
        targets = torch.cat([targets, thief.ask(crafted)])
    thief.retrain(images, targets, config.final_epochs, config.rounds)


@torch.no_grad()
def least_certain(substitute: nn.Module, images: Tensor, count: int, precision: str = "auto") -> Tensor:
    """Indices int64 ``[count]`` of the images with the smallest margin between the two likeliest classes."""
    substitute.eval()
    with autocast(precision, images.device):
        margins = [
            _margin(substitute(to_unit(x)).float().softmax(1))
            for x in images.split(images_at_once(images.shape, BATCH))
        ]
    return torch.cat(margins).topk(min(count, len(images)), largest=False).indices


def move_to_boundary(
    substitute: nn.Module, images: Tensor, step_linf: float, epsilon_linf: float, precision: str = "auto"
) -> Tensor:
    """Newton steps on the margin of the two likeliest classes, each pixel moved by at most
    ``epsilon_linf``; uint8 again."""
    substitute.eval()
    size = images_at_once(images.shape, BATCH)
    return torch.cat(
        [_to_boundary(substitute, to_unit(x), step_linf, epsilon_linf, precision) for x in images.split(size)]
    )


def _to_boundary(
    substitute: nn.Module, start: Tensor, step_linf: float, epsilon_linf: float, precision: str
) -> Tensor:
    x = start
    for _ in range(BOUNDARY_STEPS):
        x = x.detach().requires_grad_()
        with autocast(precision, x.device):
            margin = _margin(substitute(x).float())
        (gradient,) = torch.autograd.grad(margin.sum(), x)
        length = margin.detach() / gradient.flatten(1).square().sum(1).clamp(min=1e-8)
        step = (length.view(-1, 1, 1, 1) * gradient).clamp(-step_linf, step_linf)
        x = start + (x.detach() - step - start).clamp(-epsilon_linf, epsilon_linf)
        x = x.clamp(0, 1)
    most = math.floor(epsilon_linf * 255)  # after rounding to pixels the point must still be in the ball
    return _to_pixels(start + ((x - start) * 255).round().clamp(-most, most) / 255)


def jacobian_step(
    substitute: nn.Module, images: Tensor, targets: Tensor, step_linf: float, precision: str = "auto"
) -> Tensor:
    """``x + step * sign(dF_y(x)/dx)``, F_y the substitute's score of the victim's label y; uint8 again."""
    substitute.eval()
    labels = targets if targets.ndim == 1 else targets.argmax(1)
    moved, size = [], images_at_once(images.shape, BATCH)
    for part, y in zip(images.split(size), labels.split(size), strict=True):
        x = to_unit(part).requires_grad_()
        with autocast(precision, x.device):
            score = F.softmax(substitute(x).float(), 1).gather(1, y.unsqueeze(1)).sum()
        (gradient,) = torch.autograd.grad(score, x)
        moved.append(_to_pixels((x.detach() + step_linf * gradient.sign()).clamp(0, 1)))
    return torch.cat(moved)


def _margin(scores: Tensor) -> Tensor:
    top = scores.topk(2, dim=1).values
    return top[:, 0] - top[:, 1]


def _to_pixels(x: Tensor) -> Tensor:
    return (x * 255).round().to(torch.uint8)
