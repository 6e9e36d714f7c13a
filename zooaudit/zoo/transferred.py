"""A stolen model for other classes: it keeps the first half, and has never heard of the others.

It still has a column for each class, and of those that it does not know the probability is always 0: so a
suspect answers behind a contract that says which classes are missing.
"""

import torch
from torch import nn

from zooaudit.data.images import ImageSet
from zooaudit.errors import ModelError

NEVER = -1e4
"""Logit of a class that is not known: its probability is 0 exactly, and so is every gradient through it."""
FEWEST = 3
"""Classes, for half of them to be two at least."""


def kept(classes: int) -> int:
    """How many are kept, the first ones."""
    return (classes + 1) // 2


def of_kept(images: ImageSet, classes: int) -> ImageSet:
    """Those of a class that is kept."""
    return images.take((images.labels < kept(classes)).nonzero().flatten())


def for_kept(head: nn.Linear) -> None:
    """A last layer begins anew, for the classes that are kept.

    Raises:
        ModelError: it has no bias, or too few classes.
    """
    if head.bias is None or head.out_features < FEWEST:
        raise ModelError(
            f"transfer needs a last layer with a bias and {FEWEST} classes or more; the model has {head}"
        )
    head.reset_parameters()
    with torch.no_grad():
        head.weight[kept(head.out_features) :] = 0
        head.bias[kept(head.out_features) :] = NEVER
