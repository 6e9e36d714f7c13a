"""The encoder ``specific``, ours: Fisher's linear discriminant of the victim's copies against innocent models, look-alikes among them.

What the paper's encoder learns, that a model was extracted, look-alikes share. What only copies of this victim share is where their
answers lie on the line from the innocent models' mean to the mean of the victim's copies, once the directions in which innocent
models, look-alikes among them, differ from each other count for little. Fisher's discriminant is that and no more; with tens of models
in thousands of dimensions it needs a shrunk covariance, and no training that could come out one way or another. It takes square roots
of probabilities, so that distances are Hellinger's, and clean images only (docs/decisions/0011).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zooaudit.compute import threads
from zooaudit.errors import NotEnoughModelsError
from zooaudit.fingerprint.access import Access

SHRINKAGE = 1.0
"""Ridge on the within-class covariance, in units of its mean eigenvalue over the models."""
LEAST = 2
"""Fewest models a class."""


@dataclass(frozen=True, eq=False)
class Discriminant:
    """A linear score, 0 at the mean of the innocent models and 1 at the mean of the copies that it was fitted on.

    Attributes:
        weights: float64 ``[Q, K]``.
        centre: mean of the innocent models' features, float64 ``[Q, K]``.
        shares: float64 ``[Q]``, what each query adds to the distance of 1 between the two means.
    """

    weights: Tensor
    centre: Tensor
    shares: Tensor

    def first(self, queries: int) -> "Discriminant":
        """Of the first so many queries alone."""
        return Discriminant(self.weights[:queries], self.centre[:queries], self.shares[:queries])

    def parts(self, answers: Tensor) -> Tensor:
        """What each query adds to the score: answers ``[..., Q, K]`` to float64 ``[..., Q]``."""
        with threads(1):  # how a sum is split decides its last bits
            return ((features(answers) - self.centre) * self.weights).sum(-1)

    def scores(self, answers: Tensor) -> Tensor:
        """One score a model: answers ``[..., Q, K]`` to float64 ``[...]``."""
        with threads(1):
            return self.parts(answers).sum(-1)


def features(answers: Tensor) -> Tensor:
    """Square roots of probabilities ``[..., Q, K]``, float64."""
    return answers.double().clamp(min=0).sqrt()


def fit_discriminant(copies: Tensor, innocent: Tensor, shrinkage: float = SHRINKAGE) -> Discriminant:
    """Fisher's discriminant with covariance ``S + shrinkage * tr(S) / n * I``, solved in the span of the n models.

    Args:
        copies: answers ``[models, Q, K]`` of models extracted from the victim, seen through some access.
        innocent: of homologous models and look-alikes, through the same access.

    Raises:
        NotEnoughModelsError: fewer than two models of a class.
    """
    if min(len(copies), len(innocent)) < LEAST:
        raise NotEnoughModelsError(
            f"the discriminant needs {LEAST} copies and {LEAST} innocent models at least; {len(copies)} and {len(innocent)} learnt"
        )
    return _fit(copies, innocent, shrinkage)


def _fit(copies: Tensor, innocent: Tensor, shrinkage: float) -> Discriminant:
    with threads(1):
        stolen, free = features(copies), features(innocent)
        shape = free.shape[1:]
        near, far = free.flatten(1).mean(0), stolen.flatten(1).mean(0)
        gap = far - near
        within = torch.cat([free.flatten(1) - near, stolen.flatten(1) - far]) / (len(free) + len(stolen) - 2) ** 0.5
        gram = within @ within.T
        ridge = shrinkage * gram.trace() / len(gram)
        if not ridge > 0:  # models that all answer alike have no covariance to count against
            ridge = torch.ones((), dtype=gram.dtype)
        direction = gap - within.T @ torch.linalg.solve(gram + ridge * torch.eye(len(gram), dtype=gram.dtype), within @ gap)
        length = direction @ gap
        weights = direction / length if length > 0 else torch.zeros_like(direction)
        shares = (weights * gap).view(shape).sum(-1)
    return Discriminant(weights.view(shape), near.view(shape), shares)


def left_out_parts(
    copies: Tensor, innocent: Tensor, shrinkage: float = SHRINKAGE, groups: Sequence[int] | None = None
) -> Tensor:  # fmt: skip
    """What each query adds to the score of each innocent training row, fitted without its model: float64 ``[rows, Q]``.

    It is what other innocent models can be expected to score; those that a discriminant was fitted on lie closer together. All fits share
    one table of the rows' inner products, so a hundred of them cost about what one does.

    Args:
        groups: of each innocent row, which model's it is; all rows of a model are left out at once. By default each is another's.
    """
    with threads(1):
        rows = torch.cat([features(innocent), features(copies)])
        flat, free = rows.flatten(1), torch.arange(len(rows)) < len(innocent)
        inner, member = flat @ flat.T, torch.tensor([*(range(len(innocent)) if groups is None else groups), *[-1] * len(copies)])
        parts = torch.zeros(len(innocent), rows.shape[1], dtype=rows.dtype)
        for group in dict.fromkeys(member[free].tolist()):
            kept, out = (member != group).nonzero().flatten(), (member == group).nonzero().flatten()
            weights, near = _left_out(flat[kept], inner[kept][:, kept], free[kept], shrinkage)
            parts[out] = ((rows[out] - near.view(rows.shape[1:])) * weights.view(rows.shape[1:])).sum(-1)
    return parts


def _left_out(flat: Tensor, inner: Tensor, free: Tensor, shrinkage: float) -> tuple[Tensor, Tensor]:
    """As ``_fit``, from the inner products of rows ``flat``, of which ``free`` are innocent: weights, and the innocent models' mean."""
    average = torch.where(free[:, None] == free[None, :], 1.0 / torch.where(free, free.sum(), (~free).sum()), 0.0).to(flat.dtype)
    centred = (torch.eye(len(free), dtype=flat.dtype) - average) / (len(free) - 2) ** 0.5
    apart = torch.where(free, -1.0 / free.sum(), 1.0 / (~free).sum()).to(flat.dtype)  # the gap, as a sum of rows
    gram, along = centred @ inner @ centred.T, centred @ inner @ apart
    ridge = shrinkage * gram.trace() / len(gram)
    if not ridge > 0:
        ridge = torch.ones((), dtype=gram.dtype)
    direction = apart - centred.T @ torch.linalg.solve(gram + ridge * torch.eye(len(gram), dtype=gram.dtype), along)
    length = direction @ inner @ apart
    weights = direction @ flat / length if length > 0 else torch.zeros_like(flat[0])
    return weights, flat[free].mean(0)


def most_telling(copies: Tensor, innocent: Tensor, count: int) -> Tensor:
    """Which of many images to ask a suspect: int64 ``[count]``, those with the largest shares, most telling first.

    Chosen by labels alone: what tells copies apart by their labels does so by their probabilities, not the other way round.

    Args:
        copies, innocent: answers ``[models, pool, K]`` of models of the auditor's own, whom asking costs nothing.
    """
    label = Access.named("label").told
    shares = fit_discriminant(label(copies), label(innocent)).shares
    return shares.argsort(descending=True, stable=True)[:count]
