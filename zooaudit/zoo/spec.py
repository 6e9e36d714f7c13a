"""The description of one model of the zoo, and its id."""

import dataclasses
import functools
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from zooaudit.config import (
    LATER,
    ExtractConfig,
    ModifyConfig,
    Optimiser,
    Overlap,
    OwnTraining,
    Start,
    TrainConfig,
    digest_of,
    stated,
)
from zooaudit.zoo.shape import ModelShape


class Role(StrEnum):
    """What a model is to the victim."""

    VICTIM = "victim"
    HOMOLOGOUS = "homologous"
    """Trained independently on data of the same domain."""
    PIRACY = "piracy"
    """Made from the victim: extracted from its answers, or made from its weights."""
    OTHER_VICTIM = "other-victim"
    """A stranger's model, which look-alikes are extracted from."""
    LOOK_ALIKE = "look-alike"
    """Extracted from another victim: made like a piracy model, yet innocent."""
    TWIN = "twin"
    """Trained by the victim's training procedure, with another seed."""
    REFERENCE = "reference"
    """Trained by another procedure than the owner's, and never made from the victim or a twin."""

    @property
    def stolen(self) -> bool:
        """Whether the right verdict is piracy."""
        return self is Role.PIRACY


class Group(StrEnum):
    """A model's use: no model that trains the encoder is ever reported on."""

    SOURCE = "source"
    ENCODER = "encoder"
    SUSPECT = "suspect"
    VERDICT = "verdict"
    """The basis of the verdict: twins and references."""
    STUDY = "study"
    """Built for one study only: modified, overlapping or poorly extracted models."""


STARTED = "start"
"""Architecture of a model that begins with a public checkpoint, whose factory defines it."""
OWN: Literal["own"] = "own"
"""Architecture and optimiser of a model that the owner's own procedure trains: they are unknown."""


@dataclass(frozen=True)
class ModelSpec:
    """Everything that determines a model's weights. Equal specs have equal ids, so repeating a run resumes
    it."""

    role: Role
    group: Group
    architecture: str
    optimiser: Optimiser | Literal["own"]
    batch_size: int
    data: str
    """Digest of the dataset."""
    data_fraction: float
    seed: int
    training: TrainConfig
    shape: ModelShape
    floor: float
    """Test accuracy (with a parent: recovery rate) below which it did not learn."""
    extraction: ExtractConfig | None = None
    modification: ModifyConfig | None = None
    parent: str | None = None
    """Id of the model that it is extracted from, or is a modification of."""
    parent_split_seed: int | None = None
    """Seed of the parent's training half, which the attacker's seed set avoids."""
    overlap: Overlap | None = None
    """Set if a model's overlap with the victim's training half is not left to chance."""
    version: int = 2
    """Version of the networks' and the training's code: raised when the same fields would give another
    model."""
    own_training: OwnTraining | None = dataclasses.field(default=None, metadata=LATER)
    """Set for a twin that the owner's own procedure trains; then ``training``, ``batch_size`` and
    ``data_fraction`` are unused."""
    start: Start | None = dataclasses.field(default=None, metadata=LATER)
    """Set for a model that begins with a public checkpoint."""

    @functools.cached_property
    def id(self) -> str:
        """For example ``piracy-C-sgd-0f3a...``; derived from every field that determines weights. Cached,
        since plans of thousands of models use it often."""
        plain = self.to_json()
        if self.start is not None:
            plain["start"]["factory"] = self.start.net  # wherever the file is
        if self.own_training is None:
            return f"{self.role}-{self.architecture.replace(':', '-')}-{self.optimiser}-{digest_of(plain)}"
        plain["own_training"] = self.own_training.to_json()
        return f"{self.role}-{OWN}-{digest_of(plain)}"

    @property
    def source(self) -> str:
        """The id of its group of related models: the model itself, for models distilled or made from it; and
        the victim, for all models extracted from that victim."""
        made_of_another = self.modification is not None or self.extraction is not None
        return self.parent if made_of_another and self.parent is not None else self.id

    def to_json(self) -> dict[str, Any]:
        """Plain values; fields newer than version 2 only if they are not at their default, so that older
        models keep their ids."""
        plain: dict[str, Any] = stated(self)
        return plain

    @staticmethod
    def from_json(raw: dict[str, Any]) -> "ModelSpec":
        shape: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list | tuple) else v for k, v in raw["shape"].items()
        }
        nested = {
            "extraction": ExtractConfig,
            "modification": ModifyConfig,
            "overlap": Overlap,
            "own_training": OwnTraining,
            "start": Start,
        }
        plain: dict[str, Any] = (
            raw
            | {
                "role": Role(raw["role"]),
                "group": Group(raw["group"]),
                "training": TrainConfig(**raw["training"]),
                "shape": ModelShape(**shape),
            }
            | {name: type_(**raw[name]) for name, type_ in nested.items() if raw.get(name)}
        )
        return ModelSpec(**plain)
