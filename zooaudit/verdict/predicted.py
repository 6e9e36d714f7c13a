"""The part of a candidate's answers that other models' answers predict, which is the part that a learner can
pick up.

A model that was extracted from a candidate does not take over everything that distinguishes this candidate,
only what a learner can pick up from its answers. So each candidate's answers to the questions are predicted
from the references' answers to them, by a linear model fitted to other images, and the statistic looks for
that part in addition to the candidate's own answers. It has a closed form: no model is trained.
"""

import torch
from torch import Tensor

from zooaudit.compute import threads

RIDGE = 0.01
"""Penalty, as a share of the inputs' mean square."""
LEAST = 1e-4
"""Probabilities are clipped to this before taking logarithms."""


def predicted(candidates: Tensor, references: Tensor, questions: Tensor) -> Tensor:
    """The answers of each candidate that the references' answers predict.

    A ridge regression of the square roots of a candidate's answers on the logarithms of all references'
    answers. Every image is predicted by the fit to all others (leave-one-out, in closed form), so that a
    prediction has not seen its target. All candidates are treated alike, and each independently of the
    others.

    Args:
        candidates: float ``[C, n, K]``, answers to n images.
        references: float ``[R, n, K]``, answers to the same.
        questions: int64 ``[q]``, the images to predict.

    Returns:
        float32 ``[C, q, K]``, in [0, 1]; rows need not sum to 1.
    """
    with threads(1):  # so that every farm and service computes the same numbers, bit for bit
        return _left_out(candidates, references, questions)


def _left_out(candidates: Tensor, references: Tensor, questions: Tensor) -> Tensor:
    inputs = references.double().clamp(min=LEAST).log().permute(1, 0, 2).flatten(1)
    inputs = (inputs - inputs.mean(0)) / inputs.std(0).clamp(min=1e-6)
    inputs = torch.cat([inputs, torch.ones(len(inputs), 1, dtype=torch.float64)], 1)
    roots = candidates.clamp(min=0).sqrt().double().permute(1, 0, 2).flatten(1)
    weights = _weights(inputs, inputs[questions])
    own = weights.gather(1, questions[:, None])
    left_out = (weights @ roots - own * roots[questions]) / (1 - own)
    return left_out.clamp(0, 1).square().unflatten(1, (len(candidates), -1)).permute(1, 0, 2).float()


def _weights(inputs: Tensor, wanted: Tensor) -> Tensor:
    """The weight of each image in the prediction of each wanted one: float64 ``[q, n]``."""
    count, width = inputs.shape
    level = RIDGE * float(inputs.square().sum()) / width
    if width <= count:
        return wanted @ torch.linalg.solve(
            inputs.T @ inputs + level * torch.eye(width, dtype=inputs.dtype), inputs.T
        )
    return (
        wanted @ inputs.T @ torch.linalg.inv(inputs @ inputs.T + level * torch.eye(count, dtype=inputs.dtype))
    )
