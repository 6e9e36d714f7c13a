"""Who trains on what: seeded index sets over the training images (paper section 5.1)."""

import torch
from torch import Tensor

from zooaudit.errors import DataError


def random_part(size: int, fraction: float, seed: int) -> Tensor:
    """A random ``fraction`` of ``range(size)``: int64 ``[round(size * fraction)]``, shuffled, no repeats."""
    count = round(size * fraction)
    if not 1 <= count < size:
        raise DataError(f"{fraction:g} of {size} training images is {count}; expected at least 1 and fewer than all")
    return _permutation(size, seed)[:count]


def seed_set(size: int, taken: Tensor, count: int, seed: int) -> Tensor:
    """``count`` indices outside ``taken``: an attacker's own in-domain images, none of them the victim's."""
    free = torch.ones(size, dtype=torch.bool)
    free[taken] = False
    candidates = free.nonzero().flatten()
    if count > len(candidates):
        raise DataError(
            f"the attack's seed set asks for {count} images outside the victim's training set, which leaves {len(candidates)}; "
            "lower seed_size or data_fraction"
        )
    return candidates[_permutation(len(candidates), seed)[:count]]


def _permutation(size: int, seed: int) -> Tensor:
    return torch.randperm(size, generator=torch.Generator().manual_seed(seed))
