"""Who draws from where, of TinyImageNet's 50 classes at 64 pixels: plain arrays beside the models.

Of the 25,000 training images, owners draw from the first two thirds of a fixed shuffle. Of the rest, 6,000
are the attackers' unlabelled ones, the next 2,000 a thief's own labelled ones. The questions of the task are
from the 2,500 test images, those of another domain from CIFAR-10, enlarged.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.foreign.data import resized, shuffled
from zooaudit.data.resolve import resolve

NAME = "tiny-imagenet-50"
CLASSES = 50
POOL, OWN, NATURAL, OTHER, ASKED = 6000, 2000, 1500, 700, 300
AN_OWNERS = 5000
"""Images that one owner has."""


@dataclass(frozen=True, eq=False)
class Data:
    """Images uint8 ``[n, 3, 64, 64]``."""

    images: Tensor
    labels: Tensor
    natural: Tensor
    natural_labels: Tensor
    foreign: Tensor
    attacker: Tensor
    own: Tensor
    own_labels: Tensor

    def part(self, owner: str, count: int = AN_OWNERS) -> tuple[Tensor, Tensor]:
        """The training images of ``owner``."""
        index = torch.from_numpy(shuffled(len(self.images), NAME, owner)[:count])
        return self.images[index], self.labels[index]

    @property
    def pools(self) -> dict[str, Tensor]:
        """What every model is asked."""
        return {"natural": self.natural, "foreign": self.foreign, "attacker": self.attacker[:ASKED]}


def prepare(out: Path, tiny_imagenet: Path, cifar10: Path) -> None:
    """Write the arrays and the questions, unless they are there."""
    folder = out / NAME
    if (folder / "pools.npz").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    arrays = _arrays(tiny_imagenet, cifar10)
    np.savez(folder / "arrays.npz", **{k: v.numpy() for k, v in arrays.items()})
    data = Data(**arrays)
    np.savez(
        folder / "pools.tmp.npz",
        natural_labels=data.natural_labels.numpy(),
        **{k: v.numpy() for k, v in data.pools.items()},
    )
    (folder / "pools.tmp.npz").rename(folder / "pools.npz")


def _arrays(tiny_imagenet: Path, cifar10: Path) -> dict[str, Tensor]:
    found = resolve(NAME, tiny_imagenet)
    train, test = found.train, found.test
    order = torch.from_numpy(shuffled(len(train), NAME, "order"))
    owners, others = order[: len(train) * 2 // 3], order[len(train) * 2 // 3 :]
    own, asked = others[POOL : POOL + OWN], torch.from_numpy(shuffled(len(test), NAME, "natural")[:NATURAL])
    cifar = resolve("cifar10", cifar10).test.images
    return {
        "images": train.images[owners],
        "labels": train.labels[owners],
        "natural": test.images[asked],
        "natural_labels": test.labels[asked],
        "foreign": resized(
            cifar[torch.from_numpy(shuffled(len(cifar), NAME, "other")[:OTHER])], 64, grey=False
        ),
        "attacker": train.images[others[:POOL]],
        "own": train.images[own],
        "own_labels": train.labels[own],
    }


@cache
def load(out: Path) -> Data:
    """What ``prepare`` wrote."""
    with np.load(out / NAME / "arrays.npz") as file:
        return Data(**{name: torch.from_numpy(file[name]) for name in file.files})
