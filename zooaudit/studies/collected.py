"""Models that somebody else trained, and their answers: read from a folder and checked, but never run.

Layout, for each data set a folder::

    DIR/<dataset>/pools.npz                        the images that every model was asked, with their classes
        natural         uint8 [n, c, h, w] or [n, h, w]   of the victims' task
        natural_labels  integers [n]
        foreign         uint8 [f, ...]                    of another task
        attacker        uint8 [a, ...]                    thieves asked a victim some of them
    DIR/<dataset>/trained/<victim>.npz             optional, for Dataset Inference: an owner's training images
        images          uint8 [t, ...]                    drawn at random from what this victim and its twins
                                                          learnt; a few hundred
        labels          integers [t]
    DIR/<dataset>/models/<id>/answers.npz          float32 [n, K], [f, K], [a, K]: probabilities, under the
                                                   names of the pools
    DIR/<dataset>/models/<id>/behind.npz           float32 [I, n, K], ...: answers of victims, twins and
                                                   references behind each of
                                                   zooaudit.suspects.defences.TREATMENTS; for all models of an
                                                   owner, or for none
    DIR/<dataset>/models/<id>/about.json           the fields of ``About``; written last: without it a
                                                   model is not finished
    DIR/<dataset>/models/<id>/weights.safetensors  optional; read by a function of the person who trained it

A victim and its twins name their owner in ``victim``, as do the thieves and all innocents
that share something with it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zooaudit.errors import DataError
from zooaudit.studies.collected_about import About, read_about
from zooaudit.studies.collected_arrays import read_arrays, read_images, read_probabilities
from zooaudit.suspects.defences import TREATMENTS

POOLS = ("natural", "foreign", "attacker")


@dataclass(frozen=True, eq=False)
class Collection:
    """All models of one data set.

    Attributes:
        pools: uint8 ``[n, c, h, w]`` by name.
        labels: int64 ``[n]``, of the natural images.
        models: by id, in order of ids.
    """

    folder: Path
    pools: Mapping[str, Tensor]
    labels: Tensor
    models: Mapping[str, About]
    _answers: dict[str, dict[str, Tensor]] = field(default_factory=dict, init=False, repr=False)

    @property
    def dataset(self) -> str:
        return self.folder.name

    def answers(self, id_: str) -> dict[str, Tensor]:
        """A model's answers float32 ``[n, K]`` to each pool; read once.

        Raises:
            DataError: the file is missing, damaged, or does not fit the pools.
        """
        if id_ not in self._answers:
            path = self.folder / "models" / id_ / "answers.npz"
            self._answers[id_] = {
                name: read_probabilities(path, name, rows, len(self.pools[name]))
                for name, rows in read_arrays(path, POOLS).items()
            }
        return self._answers[id_]

    def answers_behind(self, id_: str) -> dict[str, Tensor] | None:
        """A model's answers float32 ``[I, n, K]`` to each pool behind ``TREATMENTS``; None
        where they were not collected.

        Raises:
            DataError: the file is damaged, or does not fit the pools or the treatments.
        """
        path = self.folder / "models" / id_ / "behind.npz"
        if not path.is_file():
            return None
        found = {}
        for name, rows in read_arrays(path, POOLS).items():
            if rows.ndim != 3 or len(rows) != len(TREATMENTS):
                raise DataError(
                    f"{path}: {name} has shape {list(rows.shape)}; expected [{len(TREATMENTS)}, images,"
                    " classes]"
                )
            count = len(self.pools[name])
            found[name] = torch.stack([read_probabilities(path, name, one, count) for one in rows])
        return found

    def trained_path(self, owner: str) -> Path:
        """Where images of an owner's training set are, if any."""
        return self.folder / "trained" / f"{owner}.npz"

    def trained(self, owner: str, classes: int) -> tuple[Tensor, Tensor] | None:
        """Images of an owner's training set, uint8 ``[t, c, h, w]``, and their labels int64
        ``[t]``; None where there are none.

        Raises:
            DataError: the file is damaged, or does not fit the pools or the number of classes.
        """
        path = self.trained_path(owner)
        if not path.is_file():
            return None
        arrays = read_arrays(path, ("images", "labels"))
        images, labels = read_images(path, "images", arrays["images"]), arrays["labels"]
        if images.shape[1:] != self.pools["natural"].shape[1:]:
            one, other = (list(x.shape[1:]) for x in (images, self.pools["natural"]))
            raise DataError(
                f"{path}: images have shape {one}; expected {other}, as in {self.folder}/pools.npz"
            )
        if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
            raise DataError(
                f"{path}: labels is {labels.dtype} {list(labels.shape)}; expected integers [{len(images)}]"
            )
        if not 0 <= labels.min() <= labels.max() < classes:
            raise DataError(
                f"{path}: labels reach from {labels.min()} to {labels.max()}; expected 0 to {classes - 1}"
            )
        return images, torch.from_numpy(labels.astype(np.int64))

    def ancestors(self, id_: str) -> set[str]:
        """Ids of everything that a model was made from."""
        found: set[str] = set()
        while (id_ := self.models[id_].parent if id_ in self.models else "") and id_ not in found:
            found.add(id_)
        return found

    def origin(self, id_: str) -> str:
        """Id of what a model was made from in the first place; its own if from nothing."""
        seen = {id_}
        while (parent := self.models[id_].parent if id_ in self.models else "") and parent not in seen:
            id_ = parent
            seen.add(id_)
        return id_

    def digest(self, ids: list[str], trained: str = "") -> str:
        """16 hex digits that change with the pools, with what some models are and answer, or with
        ``trained``'s training images."""
        sha = hashlib.sha256()
        files = [
            self.folder / "models" / i / name
            for i in sorted(ids)
            for name in ("about.json", "answers.npz", "behind.npz")
        ]
        files = [f for f in files if f.name != "behind.npz" or f.is_file()]
        if trained and self.trained_path(trained).is_file():
            files.append(self.trained_path(trained))
        for path in (self.folder / "pools.npz", *files):
            sha.update(
                str(path.relative_to(self.folder)).encode() + hashlib.sha256(path.read_bytes()).digest()
            )
        return sha.hexdigest()[:16]


def read(folder: Path) -> list[Collection]:
    """Every data set's models.

    Raises:
        DataError: what does not fit the layout, and where.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder} is not a folder; expected one with DATASET/pools.npz and DATASET/models/ (see"
            " zooaudit/studies/collected.py)"
        )
    pools = sorted(folder.glob("*/pools.npz"))
    if not pools:
        raise DataError(
            f"{folder} has no DATASET/pools.npz; expected one for each data set, with models beside it in"
            " DATASET/models/"
        )
    found = [collection for p in pools if (collection := _collection(p.parent)).models]
    if not found:
        raise DataError(
            f"{folder} has no finished model; expected folders DATASET/models/ID with answers.npz and"
            " about.json"
        )
    return found


def _collection(folder: Path) -> Collection:
    path = folder / "pools.npz"
    arrays = read_arrays(path, (*POOLS, "natural_labels"))
    labels = arrays.pop("natural_labels")
    pools = {name: read_images(path, name, array) for name, array in arrays.items()}
    shapes = {name: tuple(images.shape[1:]) for name, images in pools.items()}
    if len(set(shapes.values())) > 1:
        raise DataError(f"{path} has images of several shapes: {shapes}; expected one")
    if labels.shape != (len(pools["natural"]),) or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"{path}: natural_labels is {labels.dtype} {list(labels.shape)}; expected integers"
            f" [{len(pools['natural'])}]"
        )
    places = sorted(folder.glob("models/[!.]*/about.json"))
    models = {p.parent.name: read_about(p, folder.name) for p in places}
    limit = len(pools["attacker"])
    for about in models.values():
        rows = about.asked_attacker or (0,)
        if not 0 <= min(rows) <= max(rows) < limit:
            where = f"{folder}/models/{about.id}/about.json"
            raise DataError(
                f"{where}: asked_attacker reaches from {min(rows)} to {max(rows)}; expected rows of the pool,"
                f" 0 to {limit - 1}"
            )
    return Collection(folder, pools, torch.from_numpy(labels.astype(np.int64)), models)
