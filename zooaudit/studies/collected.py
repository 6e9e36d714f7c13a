"""Models that somebody else trained, and their answers: read from a folder, checked, never run.

Layout, for each data set a folder::

    DIR/<dataset>/pools.npz                        what every model was asked, and the images' classes
        natural         uint8 [n, c, h, w] or [n, h, w]   of the victims' task
        natural_labels  integers [n]
        foreign         uint8 [f, ...]                    of another task
        attacker        uint8 [a, ...]                    of which thieves asked a victim some
    DIR/<dataset>/trained/<victim>.npz             optional, for Dataset Inference: images that the victim
    named so, and its twins, learnt
        images          uint8 [t, ...]                    of an owner's training set, drawn at random; a few
        hundred labels          integers [t]
    DIR/<dataset>/models/<id>/answers.npz          float32 [n, K], [f, K], [a, K]: probabilities, under the
    names of the pools DIR/<dataset>/models/<id>/behind.npz           float32 [I, n, K], ...: victims', twins'
    and references' answers behind each of
                                                   zooaudit.suspects.defences.TREATMENTS; of
                                                   all of an owner's, or of none
    DIR/<dataset>/models/<id>/about.json           the fields of ``About``; written last: a
    model without it is not finished DIR/<dataset>/models/<id>/weights.safetensors  where
    there are any; read by a function of whoever trained it

A victim and its twins name their owner in ``victim``, as do the thieves and all innocents
that share something with it.
"""

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zooaudit.errors import DataError, first_line
from zooaudit.suspects.blackbox import SUM_TOLERANCE
from zooaudit.suspects.defences import TREATMENTS

POOLS = ("natural", "foreign", "attacker")
SETS = ("dev", "report", "both")
VICTIM, TWIN, INNOCENT, THIEF, REFERENCE = ROLES = ("victim", "twin", "innocent", "thief", "reference")


@dataclass(frozen=True)
class About:
    """What is known of a model.

    Attributes:
        set: ``dev``, to choose by; ``report``, to report on; ``both``.
        role: one of ``ROLES``.
        victim: whose model, sibling or copy it is, for example ``fmnist-P1``; "" of what belongs to no owner.
        family: how thieves and innocents are counted, for example ``fine-tuned``.
        parent: id of the model that it was made from; "" if from none.
        labels: what a thief learnt from: ``soft``, ``hard`` or "".
        interface: through what it answers; "" if as it is.
        asked_attacker: rows of the attackers' pool that a thief asked the victim.
        accuracy, agreement, recovery: on natural images; labels in common with the victim;
            accuracy as a share of the parent's.
    """

    id: str
    dataset: str
    set: str
    role: str
    victim: str
    family: str
    procedure: str
    architecture: str
    parent: str
    attack: str
    labels: str
    interface: str
    asked_attacker: tuple[int, ...]
    queries: int
    seed: int
    accuracy: float
    agreement: float | None
    recovery: float | None

    @property
    def took_weights(self) -> bool:
        """Whether it is a thief who had the victim's weights; all others learnt from its answers."""
        return self.role == THIEF and not self.labels


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
                name: _probabilities(path, name, rows, len(self.pools[name]))
                for name, rows in _arrays(path, POOLS).items()
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
        for name, rows in _arrays(path, POOLS).items():
            if rows.ndim != 3 or len(rows) != len(TREATMENTS):
                raise DataError(
                    f"{path}: {name} has shape {list(rows.shape)}; expected [{len(TREATMENTS)}, images,"
                    " classes]"
                )
            found[name] = torch.stack(
                [_probabilities(path, name, one, len(self.pools[name])) for one in rows]
            )
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
        arrays = _arrays(path, ("images", "labels"))
        images, labels = _images(path, "images", arrays["images"]), arrays["labels"]
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
    arrays = _arrays(path, (*POOLS, "natural_labels"))
    labels = arrays.pop("natural_labels")
    pools = {name: _images(path, name, array) for name, array in arrays.items()}
    shapes = {name: tuple(images.shape[1:]) for name, images in pools.items()}
    if len(set(shapes.values())) > 1:
        raise DataError(f"{path} has images of several shapes: {shapes}; expected one")
    if labels.shape != (len(pools["natural"]),) or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"{path}: natural_labels is {labels.dtype} {list(labels.shape)}; expected integers"
            f" [{len(pools['natural'])}]"
        )
    models = {p.parent.name: _about(p, folder.name) for p in sorted(folder.glob("models/[!.]*/about.json"))}
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


def _arrays(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The named arrays of an .npz file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if missing := [n for n in names if n not in file.files]:
                raise DataError(f"{path} lacks {', '.join(missing)}; expected arrays {', '.join(names)}")
            return {name: file[name] for name in names}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} cannot be read ({first_line(error)}); expected a NumPy .npz file") from error


def _images(path: Path, name: str, array: np.ndarray) -> Tensor:
    if array.dtype != np.uint8 or array.ndim not in (3, 4) or not len(array):
        raise DataError(
            f"{path}: {name} is {array.dtype} {list(array.shape)}; expected uint8 [n, h, w] or [n, c, h, w]"
        )
    return torch.from_numpy(array if array.ndim == 4 else array[:, None])


def _probabilities(path: Path, name: str, array: np.ndarray, count: int) -> Tensor:
    if array.dtype != np.float32 or array.ndim != 2 or len(array) != count or array.shape[1] < 2:
        raise DataError(
            f"{path}: {name} is {array.dtype} {list(array.shape)}; expected float32 [{count}, classes]"
        )
    if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1 + SUM_TOLERANCE:
        raise DataError(
            f"{path}: {name} holds values that are not probabilities; expected finite numbers in [0, 1]"
        )
    return torch.from_numpy(array)


def _about(path: Path, dataset: str) -> About:
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({first_line(error)}); expected a JSON object") from error
    if not isinstance(data, dict):
        raise DataError(f"{path} holds a {type(data).__name__}; expected a JSON object")
    about = About(**{f.name: _value(path, f.name, f.type, data) for f in fields(About)})
    for name, expected in (
        ("id", (path.parent.name,)),
        ("dataset", (dataset,)),
        ("role", ROLES),
        ("set", SETS),
    ):
        if getattr(about, name) not in expected:
            raise DataError(
                f"{path}: {name} is {getattr(about, name)!r}; expected {' or '.join(map(repr, expected))}"
            )
    if about.role in (VICTIM, TWIN, THIEF) and not about.victim:
        raise DataError(f"{path}: a {about.role} without a victim; expected whose it is")
    return about


def _value(path: Path, name: str, kind: Any, data: Mapping[str, Any]) -> Any:
    """One field, checked."""
    if name not in data:
        raise DataError(f"{path} lacks {name!r}; expected {', '.join(f.name for f in fields(About))}")
    value = data[name]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is str and isinstance(value, str):
        return value
    if kind is int and number and value == int(value):
        return int(value)
    if (kind is float and number) or (kind == float | None and (number or value is None)):
        return value if value is None else float(value)
    if kind == tuple[int, ...] and isinstance(value, list) and all(isinstance(v, int) for v in value):
        return tuple(value)
    raise DataError(f"{path}: {name} is {value!r}; expected {getattr(kind, '__name__', None) or kind}")
