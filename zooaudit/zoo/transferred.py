"""A stolen model moved to other classes: it keeps the first half of the classes, and does not know the
others.

It still has a column for each class; the probability of unknown ones is always 0. So a suspect answers behind
a contract that lists the missing classes.
"""

import torch
from torch import nn

from zooaudit.data.images import ImageSet
from zooaudit.errors import ModelError

NEVER = -1e4
"""Logit of an unknown class: its probability, and so every gradient through it, is exactly 0."""
FEWEST = 3
"""Fewest classes, so that half of them are at least two."""


def kept(classes: int) -> int:
    """How many classes are kept, the first ones."""
    return (classes + 1) // 2


def of_kept(images: ImageSet, classes: int) -> ImageSet:
    """The images whose class is kept."""
    return images.take((images.labels < kept(classes)).nonzero().flatten())


def for_kept(head: nn.Linear) -> None:
    """Initialise a new last layer for the classes that are kept.

    Raises:
        ModelError: it has no bias, or too few classes.
    """
    if head.bias is None or head.out_features < FEWEST:
        raise ModelError(
            f"transfer needs a last layer with a bias and at least {FEWEST} classes; the model has {head}"
        )
    head.reset_parameters()
    with torch.no_grad():
        head.weight[kept(head.out_features) :] = 0
        head.bias[kept(head.out_features) :] = NEVER
