"""What one model is: a job that a worker turns into a folder of files."""

from dataclasses import dataclass, field
from typing import Any

SHORT = {"fashion-mnist": "fmnist", "cifar10": "cifar"}
SET_OF = {"dev": "dev", "report": "dev", "fresh": "report"}
"""What the models of each round are for, in the order in which they were made: to choose
by, or to report on. Those of the round ``report`` were reported on once, and have been
chosen by since (docs/log.md); ids name the round."""


@dataclass(frozen=True)
class Job:
    """One model to make. ``maker`` names the function that makes it, ``options`` are its arguments,
    ``parents`` have to be there first."""

    id: str
    dataset: str
    set: str
    role: str
    family: str
    maker: str
    options: dict[str, Any] = field(default_factory=dict)
    victim: str = ""
    procedure: str = ""
    architecture: str = ""
    parent: str = ""
    partner: str = ""
    attack: str = ""
    labels: str = ""
    interface: str = ""
    seed: int = 0

    @property
    def parents(self) -> list[str]:
        """Ids of the models that it needs."""
        first = f"{self.victim}-victim" if self.victim else ""
        return [p for p in (self.parent, self.partner, first) if p and p != self.id]
