"""Ask a black box the datapoints, clean and perturbed, and arrange its answers as fingerprints (paper
equation 6)."""

import torch
from torch import Tensor

from zooaudit.data.batches import images_at_once
from zooaudit.data.images import to_unit
from zooaudit.errors import AnswersError
from zooaudit.suspects.blackbox import SUM_TOLERANCE, BlackBox

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


def ask(suspect: BlackBox, asked: Tensor, device: torch.device | None = None) -> Tensor:
    """Raw answers float32 ``[views, N, 2, K]`` to ``asked`` ``[views, N, 2, c, h, w]``, float in [0, 1] or
    uint8; costs views x N x 2 queries.

    Args:
        device: of the suspect, if it is not that of the images.
    """
    flat = asked.flatten(0, 2)
    batches = (_as_asked(x).to(device) for x in flat.split(images_at_once(flat.shape, BATCH)))
    answers = torch.cat([suspect.ask(x) for x in batches])
    return answers.view(*asked.shape[:3], -1)


def _as_asked(images: Tensor) -> Tensor:
    """Float images in [0, 1], on their device: another device may round the division differently."""
    return to_unit(images) if images.dtype == torch.uint8 else images


def check_answers(answers: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse answers that a black box cannot give: they must be float of this ``shape``, ``[views, N, 2,
    K]``, each row of K a distribution.

    Raises:
        AnswersError: another shape, NaN, infinite or negative values, or rows whose sum is off 1 by
            ``SUM_TOLERANCE`` or more.
    """
    if tuple(answers.shape) != shape:
        raise AnswersError.of(
            f"shape {tuple(answers.shape)}", f"{shape}: views, datapoints, clean and perturbed, classes"
        )
    rows = answers.flatten(0, -2)
    # These comparisons are false for NaN, and for an infinite sum.
    if rows.numel() and rows.min() >= 0 and ((rows.sum(1) - 1).abs() < SUM_TOLERANCE).all():
        return
    for wrong, what, expected in (
        (~torch.isfinite(rows).all(1), "NaN or infinite values", "finite probabilities"),
        (
            (rows < 0).any(1),
            "negative values",
            "probabilities in [0, 1]; logits have to go through a softmax first",
        ),
        (
            (rows.sum(1) - 1).abs() >= SUM_TOLERANCE,
            "probabilities that do not sum to 1",
            f"sums within {SUM_TOLERANCE:g} of 1",
        ),
    ):
        if count := int(wrong.sum()):
            raise AnswersError.of(f"{what} in {count:,} of {len(rows):,} rows", expected)


def fingerprints(answers: Tensor) -> Tensor:
    """Equation 6: ``[f(x_1), f(x_1 + v), ..., f(x_N), f(x_N + v)]``, one row for each view: float ``[views, 2
    N K]``."""
    return answers.flatten(1)
