"""Which model trains on which images: seeded index sets over the training images (paper section 5.1)."""

import torch
from torch import Tensor

from zooaudit.errors import DataError
from zooaudit.seeds import derive

TUNING_SEED = 20220218
"""The same for every model, so that accuracies after all modifications are measured on the same images."""


def random_part(size: int, fraction: float, seed: int) -> Tensor:
    """A random ``fraction`` of ``range(size)``: int64 ``[round(size * fraction)]``, shuffled, no repeats."""
    count = round(size * fraction)
    if not 1 <= count < size:
        raise DataError(
            f"{fraction:g} of {size} training images is {count}; expected at least 1 and fewer than all"
        )
    return _permutation(size, seed)[:count]


def overlapping_part(size: int, fraction: float, taken: Tensor, share: float, seed: int) -> Tensor:
    """As ``random_part``, with ``share`` of it drawn from ``taken`` and the rest from outside."""
    count = len(random_part(size, fraction, seed))
    outside = complement(size, taken)
    inside = min(max(round(share * count), count - len(outside)), len(taken))
    if abs(inside - share * count) > 1:  # halves of an odd number of images differ by one
        raise DataError(
            f"an overlap of {share:g} asks for {share * count:.0f} of {len(taken)} images and"
            f" {(1 - share) * count:.0f} of the other {len(outside)}; with data_fraction 0.5 every overlap"
            " from 0 to 1 is possible"
        )
    from_taken = taken.sort().values[_permutation(len(taken), derive(seed, "inside"))[:inside]]
    from_outside = outside[_permutation(len(outside), derive(seed, "outside"))[: count - inside]]
    return torch.cat([from_taken, from_outside])[_permutation(count, derive(seed, "order"))]


def tuning_part(size: int) -> Tensor:
    """The half of the test images that a thief tunes a stolen model on; accuracy is measured on the other
    half."""
    return random_part(size, 0.5, TUNING_SEED)


def complement(size: int, taken: Tensor) -> Tensor:
    """The indices of ``range(size)`` that are not in ``taken``, in order."""
    free = torch.ones(size, dtype=torch.bool)
    free[taken] = False
    return free.nonzero().flatten()


def seed_set(size: int, taken: Tensor, count: int, seed: int) -> Tensor:
    """``count`` indices outside ``taken``: an attacker's own in-domain images, none of them the victim's."""
    candidates = complement(size, taken)
    if count > len(candidates):
        raise DataError(
            f"the attack's seed set asks for {count} images outside the victim's training set, which leaves"
            f" {len(candidates)}; lower seed_size or data_fraction"
        )
    return candidates[_permutation(len(candidates), seed)[:count]]


def own_set(held: Tensor, count: int, seed: int) -> Tensor:
    """``count`` of the indices ``held``: the victim's own training images, in a thief's hands."""
    if count > len(held):
        raise DataError(
            f"the attack asks about {count} of the victim's training images, of which there are {len(held)};"
            " lower seed_size"
        )
    return held[_permutation(len(held), seed)[:count]]


def _permutation(size: int, seed: int) -> Tensor:
    return torch.randperm(size, generator=torch.Generator().manual_seed(seed))
