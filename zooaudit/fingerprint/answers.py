"""Ask a black box the datapoints, clean and perturbed, and lay its answers out as fingerprints (paper equation 6)."""

import torch
from torch import Tensor

from zooaudit.suspects.blackbox import BlackBox

BATCH = 500


def queries(points: Tensor, v: Tensor) -> Tensor:
    """All images of one audit, in the order in which they are asked.

    Args:
        points: float ``[views, N, c, h, w]`` in [0, 1].
        v: float ``[c, h, w]``.

    Returns:
        float ``[views, N, 2, c, h, w]``: each datapoint clean, then with v added and clipped to [0, 1].
    """
    return torch.stack([points, (points + v).clamp(0, 1)], dim=2)


def ask(suspect: BlackBox, asked: Tensor) -> Tensor:
    """Raw answers float32 ``[views, N, 2, K]`` to ``asked`` ``[views, N, 2, c, h, w]``; costs views x N x 2 queries."""
    flat = asked.flatten(0, 2)
    answers = torch.cat([suspect.ask(x) for x in flat.split(BATCH)])
    return answers.view(*asked.shape[:3], -1)


def fingerprints(answers: Tensor) -> Tensor:
    """Equation 6: ``[f(x_1), f(x_1 + v), ..., f(x_N), f(x_N + v)]``, one row a view: float ``[views, 2 N K]``."""
    return answers.flatten(1)
