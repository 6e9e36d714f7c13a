"""The data: who draws from where, the questions that every model answers, all kept as plain
arrays beside the models.

Of each data set's training images, owners draw from the first two thirds. The last third is shuffled once:
its first 6,000 images are the attackers' unlabelled ones, the next 3,000 the thieves' own labelled ones.
Images of another domain: the first 6,000 of a fixed shuffle are for thieves, the next 1,500 are questions; of
Tiny ImageNet the 12,000 after 7,500 train the public checkpoint.
"""

import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from zooaudit.data.resolve import resolve

POOL, OWN, NATURAL, OTHER, START = 6000, 3000, 3000, 1500, 12000
ASKED = 3000
"""Of the attackers' images, the first so many are questions to every model."""


def derive(*parts: object) -> int:
    """A seed that follows from the parts."""
    return zlib.crc32("/".join(map(str, parts)).encode())


def shuffled(count: int, *parts: object) -> np.ndarray:
    """A permutation of ``range(count)`` that follows from the parts."""
    return np.random.default_rng(derive(*parts)).permutation(count)


@dataclass(frozen=True, eq=False)
class Data:
    """One data set as this package uses it; images uint8 ``[n, c, h, w]``."""

    name: str
    images: Tensor
    labels: Tensor
    natural: Tensor
    natural_labels: Tensor
    attacker: Tensor
    own: Tensor
    own_labels: Tensor
    foreign: Tensor
    foreign_thief: Tensor
    start: Tensor
    start_labels: Tensor

    def part(self, owner: str, count: int, shared_with: str = "") -> tuple[Tensor, Tensor]:
        """``count`` training images of ``owner``, half of them those of ``shared_with`` if one is named."""
        limit = len(self.images)
        chosen = shuffled(limit, self.name, owner)
        if shared_with:
            theirs = shuffled(limit, self.name, shared_with)[:count]
            chosen = np.concatenate([theirs[: count // 2], chosen[~np.isin(chosen, theirs)]])
        index = torch.from_numpy(chosen[:count])
        return self.images[index], self.labels[index]


def resized(images: Tensor, size: int, grey: bool) -> Tensor:
    """uint8 images in another size, in grey if asked."""
    out = []
    for part in images.split(2000):
        x = part.float()
        if grey and x.shape[1] == 3:
            x = (x * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
        out.append(
            F.interpolate(x, (size, size), mode="bilinear", antialias=True)
            .round()
            .clamp(0, 255)
            .to(torch.uint8)
        )
    return torch.cat(out)


def prepare(out: Path, name: str, folders: dict[str, Path]) -> None:
    """Write the data set's arrays and its pools of questions, unless they are there."""
    folder = out / name
    if (folder / "pools.npz").exists():
        return
    (folder / "arrays").mkdir(parents=True, exist_ok=True)
    arrays = _arrays(name, folders)
    for key, value in arrays.items():
        np.save(folder / "arrays" / f"{key}.npy", value.numpy())
    pools = {k: arrays[k].numpy() for k in ("natural", "natural_labels", "foreign")} | {
        "attacker": arrays["attacker"][:ASKED].numpy()
    }
    np.savez(folder / "pools.tmp.npz", **pools)
    (folder / "pools.tmp.npz").rename(folder / "pools.npz")


def _arrays(name: str, folders: dict[str, Path]) -> dict[str, Tensor]:
    dataset = resolve(name, folders[name])
    train, test = dataset.train, dataset.test
    limit = len(train) * 2 // 3
    last = torch.from_numpy(shuffled(len(train) - limit, name, "attackers")) + limit
    asked = torch.from_numpy(shuffled(len(test), name, "natural")[:NATURAL])
    own = last[POOL : POOL + OWN]
    size, grey = dataset.image_shape[1], dataset.image_shape[0] == 1
    tiny = resolve("tiny-imagenet-50", folders["tiny-imagenet"]).train
    order = torch.from_numpy(shuffled(len(tiny), name, "tiny"))
    start = order[POOL + OTHER : POOL + OTHER + START]
    other = tiny.images[order] if name == "cifar10" else _shuffled_cifar(name, folders["cifar10"])
    other = resized(other[: POOL + OTHER], size, grey)
    return {
        "images": train.images[:limit],
        "labels": train.labels[:limit],
        "natural": test.images[asked],
        "natural_labels": test.labels[asked],
        "attacker": train.images[last[:POOL]],
        "own": train.images[own],
        "own_labels": train.labels[own],
        "foreign": other[POOL:],
        "foreign_thief": other[:POOL],
        "start": resized(tiny.images[start], size, grey),
        "start_labels": tiny.labels[start],
    }


def _shuffled_cifar(name: str, folder: Path) -> Tensor:
    images = resolve("cifar10", folder).train.images
    return images[torch.from_numpy(shuffled(len(images), name, "other")[: POOL + OTHER])]


@cache
def load(out: Path, name: str) -> Data:
    """The prepared data set."""
    folder = out / name / "arrays"
    fields = [f for f in Data.__dataclass_fields__ if f != "name"]
    return Data(name, **{f: torch.from_numpy(np.load(folder / f"{f}.npy")) for f in fields})
