"""Whether a suspect seems to have its classes in another order than the kit's."""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from zooaudit.verdict.grouping import groups
from zooaudit.verdict.twin_data import TwinData

POORER = 0.05
"""How many more control questions, as a share, a model may get wrong than the poorest candidate or
reference."""
SHUFFLES = 5
"""How many random orders of the true labels an order of a suspect's classes must beat to be believed."""


def other_order(test: TwinData, answers: Tensor) -> tuple[int, ...]:
    """The columns in which answers ``[queries, K]`` seem to have each of the classes, if the order is not the
    kit's: the one order that gets most of the control questions right, if with it a model that is far poorer
    becomes as good as the twins. Empty if there is none."""
    if answers.shape[1] != test.num_classes:
        return ()
    labels, given, chance = (
        test.labels[: test.control_questions],
        answers[: test.control_questions].argmax(1),
        torch.Generator().manual_seed(0),
    )
    columns, right = _best_order(labels, given, test.num_classes)
    known = torch.cat([test.answers, test.reference_answers])[:, : test.control_questions]
    least = float((known.argmax(-1) == groups(test.num_classes)[labels]).double().mean(-1).min())
    if float((labels == given).double().mean()) >= least - POORER or right < least - POORER:
        return ()
    if right <= max(
        _best_order(labels[torch.randperm(len(labels), generator=chance)], given, test.num_classes)[1]
        for _ in range(SHUFFLES)
    ):
        return ()  # with this many classes, some order makes sense of anything
    return tuple(int(c) for c in columns)


def _best_order(labels: Tensor, given: Tensor, classes: int) -> tuple[np.ndarray, float]:
    """The order of columns that makes most of the classes ``given`` equal the true ones, and the share that
    is then equal."""
    counts = torch.zeros(classes, classes).index_put_(
        (labels, given), torch.ones(len(given)), accumulate=True
    )
    rows, columns = linear_sum_assignment(counts.numpy(), maximize=True)
    return columns, float(counts[rows, columns].sum()) / len(given)
