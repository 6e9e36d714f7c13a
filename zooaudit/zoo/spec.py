"""What one model of the zoo is, and the id that follows from it."""

import dataclasses
import functools
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from zooaudit.config import ExtractConfig, ModifyConfig, Optimiser, Overlap, TrainConfig, digest_of
from zooaudit.zoo.shape import ModelShape


class Role(StrEnum):
    """What a model is to the victim."""

    VICTIM = "victim"
    TWIN = "twin"
    """Trained exactly as the victim was, with another seed."""
    REFERENCE = "reference"
    """Of another procedure than the victim's, and never made from a candidate: shows what all outsiders have in common."""
    HOMOLOGOUS = "homologous"
    """Trained independently on data of the same domain."""
    PIRACY = "piracy"
    """Extracted from the victim."""
    OTHER_VICTIM = "other-victim"
    """A stranger's model, which look-alikes are extracted from."""
    LOOK_ALIKE = "look-alike"
    """Extracted from another victim: made like a piracy model, yet innocent."""

    @property
    def stolen(self) -> bool:
        """Whether the right verdict is piracy."""
        return self is Role.PIRACY


class Group(StrEnum):
    """What a model is for: nothing that trains the encoder is ever reported on."""

    SOURCE = "source"
    ENCODER = "encoder"
    VERDICT = "verdict"
    """What the verdict rests on: twins and references."""
    SUSPECT = "suspect"
    STUDY = "study"
    """Built for one study only: modified, overlapping or poorly extracted models."""


@dataclass(frozen=True)
class ModelSpec:
    """All that decides a model's weights. Equal specs have equal ids, so a retry is a resume."""

    role: Role
    group: Group
    architecture: str
    optimiser: Optimiser
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
    """Of a homologous model whose overlap with the victim's training half is not left to chance."""
    version: int = 2
    """Of the networks' and the training's code: raised when the same fields would give another model."""

    @functools.cached_property
    def id(self) -> str:
        """For example ``piracy-C-sgd-0f3a...``; derived from every field, once: a plan of thousands is asked for it again and again."""
        return f"{self.role}-{self.architecture}-{self.optimiser}-{digest_of(self)}"

    @property
    def kin(self) -> str:
        """The source that it shares with those it stands or falls with: a model itself, for what was distilled from it or made of it, and
        the victim of all that was extracted from one victim."""
        made_of_another = self.modification is not None or self.extraction is not None
        return self.parent if made_of_another and self.parent is not None else self.id

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(raw: dict[str, Any]) -> "ModelSpec":
        shape: dict[str, Any] = {k: tuple(v) if isinstance(v, list | tuple) else v for k, v in raw["shape"].items()}
        nested = {"extraction": ExtractConfig, "modification": ModifyConfig, "overlap": Overlap}
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
