"""Border points of a model, found by bisection in pixels or in its last layer (paper
appendix A, figure 9)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from zooaudit.errors import ModelError
from zooaudit.paper.uap import predict

HALVINGS = 20
STEPS, RATE = 300, 0.02
"""Of the search for an image that the last layer sees as a border point."""


def border_points(model: nn.Module, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Points of the model's decision border on the lines between images of different labels.

    Args:
        first, second: float ``[n, c, h, w]`` in [0, 1]; pairs that the model gives the same label have no
            known border between them.

    Returns:
        The points, float ``[m, c, h, w]``, just on the side of ``first``; and bool ``[n]``,
        the pairs that have one.
    """
    label = predict(model, first)
    apart = label != predict(model, second)
    near, far, label = first[apart], second[apart], label[apart]
    for _ in range(HALVINGS):
        middle = (near + far) / 2
        same = (predict(model, middle) == label).view(-1, 1, 1, 1)
        near, far = torch.where(same, middle, near), torch.where(same, far, middle)
    return near, apart


def last_layer_border(model: nn.Module, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Images that the model's last layer sees on the border between two others: bisected there, then searched
    for.

    *Ours*: bisection in the last layer gives a point of that layer, not an image. The image is found from the
    middle of the pair by Adam on the squared distance of its representation, and kept within [0, 1].

    Args:
        first, second: as for ``border_points``.

    Returns:
        The images, float ``[m, c, h, w]``, and bool ``[n]``, the pairs that have one.

    Raises:
        ModelError: the model has no linear layer.
    """
    with _last_layer(model) as (head, seen):
        near, apart = _bisected(model, head, seen, first, second)
        x = ((first + second) / 2)[apart].clone().requires_grad_()
        optimiser = torch.optim.Adam([x], RATE)
        for _ in range(STEPS):
            loss = (_representation(model, seen, x) - near).square().sum()
            (x.grad,) = torch.autograd.grad(loss, x)
            optimiser.step()
            with torch.no_grad():
                x.clamp_(0, 1)
    return x.detach(), apart


@torch.no_grad()
def _bisected(
    model: nn.Module, head: nn.Linear, seen: list[Tensor], first: Tensor, second: Tensor
) -> tuple[Tensor, Tensor]:
    """What the last layer is given on the border of each pair of different labels, float ``[m, d]``; and
    which pairs these are."""
    ends = [_representation(model, seen, x) for x in (first, second)]
    labels = [head(z).argmax(1) for z in ends]
    apart = labels[0] != labels[1]
    near, far, label = ends[0][apart], ends[1][apart], labels[0][apart]
    for _ in range(HALVINGS):
        middle = (near + far) / 2
        same = (head(middle).argmax(1) == label).unsqueeze(1)
        near, far = torch.where(same, middle, near), torch.where(same, far, middle)
    return near, apart


@contextmanager
def _last_layer(model: nn.Module) -> Iterator[tuple[nn.Linear, list[Tensor]]]:
    """The model's last linear layer, and a list whose last entry is what went into it."""
    layers = [m for m in model.modules() if isinstance(m, nn.Linear)]
    if not layers:
        raise ModelError("the model has no linear layer; border points of its last layer need one")
    seen: list[Tensor] = []
    handle = layers[-1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten(1)))
    try:
        yield layers[-1], seen
    finally:
        handle.remove()


def _representation(model: nn.Module, seen: list[Tensor], images: Tensor) -> Tensor:
    seen.clear()
    model(images)
    return seen[-1].clone()


def confidence_gap(probabilities: Tensor) -> Tensor:
    """Likeliest less second likeliest class of each row ``[n, K]``: float ``[n]`` in [0,
    1], small near a border."""
    top = probabilities.topk(2, dim=1).values
    return top[:, 0] - top[:, 1]
