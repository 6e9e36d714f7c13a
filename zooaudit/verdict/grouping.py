"""Group many classes: a twin test stores and compares answers over a thousand classes as sums over fewer
groups.

The rank is valid for any statistic that treats all candidates alike (docs/statistics.md), so also for one
that sees sums of probabilities. Groups are drawn at random, the same for everybody, so that classes that are
often confused usually fall into different groups.
"""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

MOST = 128
"""The number of groups. Answers over this many classes, or fewer, are unchanged."""


@functools.cache
def groups(classes: int) -> Tensor:
    """The group of each class, int64 ``[classes]``, 0 to ``MOST`` - 1; up to ``MOST`` classes each is its own
    group."""
    if classes <= MOST:
        return torch.arange(classes)
    return torch.randperm(classes, generator=torch.Generator().manual_seed(classes)) % MOST


def grouped(answers: Tensor) -> Tensor:
    """Answers ``[..., K]`` as ``[..., min(K, MOST)]``: the sum over each group."""
    classes = answers.shape[-1]
    if classes <= MOST:
        return answers
    sums = answers.new_zeros(*answers.shape[:-1], MOST)
    return sums.index_add_(-1, groups(classes).to(answers.device), answers)


def named_groups(classes: Sequence[str]) -> tuple[str, ...]:
    """A name for each group, from the names of all classes: ``bee or 7 others``."""
    if len(classes) <= MOST:
        return tuple(classes)
    members: list[list[str]] = [[] for _ in range(MOST)]
    for name, group in zip(classes, groups(len(classes)).tolist(), strict=True):
        members[group].append(name)
    return tuple(
        f"{those[0]} or {len(those) - 1} others" if len(those) > 1 else those[0] for those in members
    )


def rounded(answers: Tensor, classes: int) -> Tensor:
    """Answers of models with this many classes, grouped if these are too many; then they are rounded to half
    precision, as kits store them."""
    return answers.half().float() if classes > MOST else answers


def kept(answers: Tensor) -> Tensor:
    """Answers ``[..., K]`` as a twin test stores them: ``grouped`` and ``rounded``."""
    return rounded(grouped(answers), answers.shape[-1])
