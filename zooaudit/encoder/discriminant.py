"""The encoder ``specific``, ours: Fisher's linear discriminant of extracted models against innocent ones, look-alikes among them.

What the paper's encoder learns, that a model was extracted, look-alikes share. What only copies of this victim share is where their
answers lie on the line from the innocent models' mean to the mean of the victim's copies, once the directions in which innocent
models, look-alikes among them, differ from each other count for little. Fisher's discriminant is that and no more; with
tens of models in thousands of dimensions it needs a shrunk covariance, and no training that could come out one way or another.
Square roots of probabilities, so that distances are Hellinger's (docs/decisions/0006); clean answers only (docs/decisions/0011).
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zooaudit.compute import threads
from zooaudit.errors import NotEnoughModelsError

SHRINKAGE = 1.0
"""Ridge on the within-class covariance, in units of its mean eigenvalue over the models."""
LEAST = 2
"""Fewest models a class."""


@dataclass(frozen=True, eq=False)
class Discriminant:
    """A linear score over clean answers, 0 at the mean of the innocent models and 1 at the mean of the copies that it was fitted on.

    Attributes:
        weights: float64 ``[views, N, K]``.
        centre: mean of the innocent models' features, float64 ``[views, N, K]``.
        order: int64 ``[views x N]``, the queries by their share of the distance between the two means, most informative first.
    """

    weights: Tensor
    centre: Tensor
    order: Tensor

    def parts(self, answers: Tensor) -> Tensor:
        """What each query adds to the score: answers ``[..., views, N, 2, K]`` to float64 ``[..., views x N]``, in ``order``."""
        with threads(1):  # how a sum is split decides its last bits
            terms = ((features(answers) - self.centre) * self.weights).sum(-1).flatten(-2)
        return terms[..., self.order]

    def scores(self, answers: Tensor) -> Tensor:
        """One score a model: answers ``[..., views, N, 2, K]`` to float64 ``[...]``."""
        return self.parts(answers).sum(-1)


def features(answers: Tensor) -> Tensor:
    """Roots of the clean answers: ``[..., views, N, 2, K]`` to float64 ``[..., views, N, K]``."""
    return answers[..., 0, :].double().clamp(min=0).sqrt()


def fit_discriminant(copies: Tensor, innocent: Tensor, shrinkage: float = SHRINKAGE) -> Discriminant:
    """Fisher's discriminant with covariance ``S + shrinkage * tr(S) / n * I``, solved in the span of the n models.

    Args:
        copies: answers ``[models, views, N, 2, K]`` of models extracted from the victim, seen through some access.
        innocent: of homologous models and look-alikes, through the same access.

    Raises:
        NotEnoughModelsError: fewer than two models of a class.
    """
    if min(len(copies), len(innocent)) < LEAST:
        raise NotEnoughModelsError(
            f"the discriminant needs {LEAST} copies and {LEAST} innocent models at least; {len(copies)} and {len(innocent)} learnt"
        )
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
        share = (weights * gap).view(-1, shape[-1]).sum(-1)
    return Discriminant(weights.view(shape), near.view(shape), share.argsort(descending=True, stable=True))


def left_out_parts(copies: Tensor, innocent: Tensor, whole: Discriminant, shrinkage: float = SHRINKAGE) -> Tensor:
    """What each query adds to the score of each innocent training model, fitted without that model: float64 ``[models, views x N]``.

    In the ``order`` of ``whole``, the discriminant of all of them: what other innocent models can be expected to score.
    """
    found = []
    for i in range(len(innocent)):
        others = torch.cat([innocent[:i], innocent[i + 1 :]])
        found.append(replace(fit_discriminant(copies, others, shrinkage), order=whole.order).parts(innocent[i]))
    return torch.stack(found)
