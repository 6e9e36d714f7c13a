"""Border points of a model, found by bisection (paper appendix A, figure 9)."""

import torch
from torch import Tensor, nn

from zooaudit.uap.universal import predict

HALVINGS = 20


def border_points(model: nn.Module, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Points of the model's decision border on the lines between images of different labels.

    Args:
        first, second: float ``[n, c, h, w]`` in [0, 1]; pairs that the model gives the same label have no known border between them.

    Returns:
        The points, float ``[m, c, h, w]``, just on the side of ``first``; and bool ``[n]``, the pairs that have one.
    """
    label = predict(model, first)
    apart = label != predict(model, second)
    near, far, label = first[apart], second[apart], label[apart]
    for _ in range(HALVINGS):
        middle = (near + far) / 2
        same = (predict(model, middle) == label).view(-1, 1, 1, 1)
        near, far = torch.where(same, middle, near), torch.where(same, far, middle)
    return near, apart


def confidence_gap(probabilities: Tensor) -> Tensor:
    """Likeliest less second likeliest class of each row ``[n, K]``: float ``[n]`` in [0, 1], small near a border."""
    top = probabilities.topk(2, dim=1).values
    return top[:, 0] - top[:, 1]
