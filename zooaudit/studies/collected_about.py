"""What a collection says of each model, read and checked: about.json."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from zooaudit.errors import DataError, first_line

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


def read_about(path: Path, dataset: str) -> About:
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
