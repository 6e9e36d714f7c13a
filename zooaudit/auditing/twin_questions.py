"""Choose the images that a twin test asks, by how much references differ on them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from zooaudit.auditing.kept import tensor_digest
from zooaudit.config import TwinTestConfig
from zooaudit.data.images import Dataset, ImageSet
from zooaudit.data.on_disk import in_memory
from zooaudit.data.textures import textures
from zooaudit.errors import DataError
from zooaudit.seeds import derive
from zooaudit.verdict.examined import FOREIGN, LOG, NATURAL, NO_CLASS
from zooaudit.zoo.build import untuned

LEAST_POOL = 25
"""Fewest images of the victim's task for a twin test."""


@dataclass(frozen=True, eq=False)
class Sources:
    """Images in addition to the victim's own data, uint8 ``[n, c, h, w]`` of its shape; None without any.

    Attributes:
        foreign: images of another task; without them, textures are made.
        log: images that the victim was asked.
    """

    foreign: Tensor | None = None
    log: Tensor | None = None

    @property
    def digests(self) -> dict[str, str]:
        """16 hex digits for each; other images make other questions."""
        parts = {"foreign": self.foreign, "query_log": self.log}
        return {name: tensor_digest(images) for name, images in parts.items() if images is not None}


NO_SOURCES = Sources()


@dataclass(frozen=True, eq=False)
class Pools:
    """The images to choose questions from: uint8 ``[n, c, h, w]``, int64 ``[n]``, and the family of each."""

    images: Tensor
    labels: Tensor
    families: tuple[str, ...]


def natural_images(dataset: Dataset, seed: int, most: int) -> ImageSet:
    """Images from the half of the test set that no model trains or tunes on, in random order: data sets are
    often sorted by class."""
    free = untuned(dataset).to("cpu")
    if len(free) < LEAST_POOL:
        raise DataError(
            f"half of the {len(dataset.test)} test images is {len(free)}; a verdict needs {LEAST_POOL} that"
            " no model is tuned on"
        )
    return free.take(
        torch.randperm(len(free), generator=torch.Generator().manual_seed(derive(seed, "pool")))[:most]
    ).loaded()


def pools(config: TwinTestConfig, dataset: Dataset, seed: int, sources: Sources) -> Pools:
    """All images that candidates and references are asked."""
    natural = natural_images(dataset, seed, config.pool)
    parts = {NATURAL: in_memory(natural.images)}
    if config.foreign:
        foreign = sources.foreign
        parts[FOREIGN] = (
            textures(config.pool // 2, dataset.image_shape, seed)
            if foreign is None
            else _drawn(foreign, config.pool, seed)
        )
    if config.log and sources.log is not None:
        parts[LOG] = _drawn(sources.log, config.pool, seed)
    labels = torch.full((sum(map(len, parts.values())),), NO_CLASS)
    labels[: len(natural)] = natural.labels
    return Pools(
        torch.cat(list(parts.values())),
        labels,
        tuple(family for family, images in parts.items() for _ in images),
    )


def _drawn(images: Tensor, most: int, seed: int) -> Tensor:
    return images[
        torch.randperm(len(images), generator=torch.Generator().manual_seed(derive(seed, "drawn")))[:most]
    ]


def order(
    config: TwinTestConfig, available: Pools, informative: Tensor
) -> tuple[Tensor, int, tuple[int, ...]]:
    """The images to ask, in order: indices into the pools, the number of control questions, and the looks.

    The first of the natural images, which are in random order, are control questions. Of the others the most
    informative come first, with families mixed as configured, so that every look has some of each.

    Args:
        informative: float ``[n]``, how much models differ on each image.
    """
    rows = {
        f: [i for i, family in enumerate(available.families) if family == f]
        for f in dict.fromkeys(available.families)
    }
    control = min(config.control_questions, len(rows[NATURAL]) // 5)
    queues = {
        f: sorted(those[control if f == NATURAL else 0 :], key=lambda i: -float(informative[i]))
        for f, those in rows.items()
    }
    most = min(config.looks[-1], control + sum(map(len, queues.values())))
    asked, given = rows[NATURAL][:control], dict.fromkeys(queues, 0)
    given[NATURAL] = control
    parts = {f: getattr(config, f) for f in queues}
    while len(asked) < most:
        family = min((f for f in queues if queues[f]), key=lambda f: (given[f] + 1) / parts[f])
        asked.append(queues[family].pop(0))
        given[family] += 1
    looks = [n for n in config.looks if n < most] + [most]
    return torch.tensor(asked), control, tuple(n for n in looks if n > control or n == most)


def informativeness(references: Tensor) -> Tensor:
    """How much models of other procedures differ in their answers ``[R, n, K]`` to each image: float ``[n]``.

    These models were not made from a candidate, so the choice cannot favour one; and it stays the same for
    twins that are trained later.
    """
    return (
        references.clamp(min=0).sqrt().var(0).sum(-1)
        if len(references) > 1
        else torch.zeros(references.shape[1])
    )
