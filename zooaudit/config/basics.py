"""Shared by all parts of a recipe: choices, validation, digests."""

import dataclasses
import hashlib
import json
import re
from typing import Any, Literal, get_args

from zooaudit.errors import ConfigError

Optimiser = Literal["sgd", "adam", "rmsprop"]
Norm = Literal["linf", "l2"]
UapMethod = Literal["gradient", "deepfool"]
Attack = Literal["cloudleak", "jbda", "distill", "knockoff", "activethief", "dfme", "disguide"]
Defence = Literal["none", "reverse-sigmoid", "mad", "mad-argmax"]
Labels = Literal["soft", "hard", "top-1", "top-3", "rounded-1", "rounded-2"]
Modification = Literal[
    "fine-tune",
    "prune",
    "prune-channels",
    "int8",
    "adversarial",
    "uap",
    "last-layer",
    "new-head",
    "retrain",
    "prune-tune",
    "float16",
    "distil",
    "removal",
    "averaged",
    "transfer",
]

OPTIMISERS: tuple[Optimiser, ...] = ("sgd", "adam", "rmsprop")
ATTACKS: tuple[Attack, ...] = get_args(Attack)
DEFENCES: tuple[Defence, ...] = ("none", "reverse-sigmoid", "mad", "mad-argmax")
LABELS: tuple[Labels, ...] = ("soft", "hard", "top-1", "top-3", "rounded-1", "rounded-2")
MODIFICATIONS: tuple[Modification, ...] = get_args(Modification)
EXACT_STRENGTH = {"int8": 8, "float16": 16}
"""Modifications that have no strength: they are applied or not."""


LONGEST_NAME = 200
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def check(ok: bool, owner: object, name: str, expected: str) -> None:
    """Raise ConfigError naming ``owner.name``, what was found and what was expected, unless ``ok``."""
    if not ok:
        found = getattr(owner, name)
        raise ConfigError(f"{type(owner).__name__}.{name} is {found!r}; expected {expected}")


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: the same text for equal values, whatever made them."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest_of(value: Any) -> str:
    """First 16 hex digits of the SHA-256 of ``value`` (a dataclass or plain JSON) as canonical JSON."""
    plain = dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value  # type: ignore[arg-type]
    return hashlib.sha256(canonical_json(plain).encode()).hexdigest()[:16]


LATER = {"later": True}
"""Metadata of a field that is newer than the first digests of its dataclass."""


def stated(value: Any) -> Any:
    """A dataclass as plain values, as from ``asdict``, without newer fields at their default, so that older
    objects keep their digests."""
    if isinstance(value, list | tuple):
        return [stated(v) for v in value]
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    fields = [(f, getattr(value, f.name)) for f in dataclasses.fields(value)]
    return {f.name: stated(v) for f, v in fields if not (f.metadata.get("later") and v == f.default)}
