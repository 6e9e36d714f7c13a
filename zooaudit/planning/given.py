"""A plan's inputs: the devices, and the user's own victim."""

import math
from dataclasses import dataclass

from zooaudit.errors import ConfigError


@dataclass(frozen=True)
class Devices:
    """What trains: ``count`` CPU cores or GPUs, each ``speedup`` times as fast as one core
    of the measured machine."""

    count: int
    speedup: float = 1.0
    what: str = "CPU cores"

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError(f"{self.count} {self.what}; expected at least 1")
        if not 0 < self.speedup < math.inf:
            raise ConfigError(
                f"a speed-up of {self.speedup:g}; expected a positive number: how many measured CPU cores one"
                " device replaces"
            )


@dataclass(frozen=True)
class OwnVictim:
    """A victim of the user's own: it exists, and the user's training procedure trains its twins.

    Attributes:
        twin_seconds: for one twin on one of the devices; None if unknown.
        factory: ``package.module:factory``, which builds the victim's module; "" if unknown, and then its
            size is unknown too.
    """

    twin_seconds: float | None = None
    factory: str = ""

    def __post_init__(self) -> None:
        if self.twin_seconds is not None and not 0 < self.twin_seconds < math.inf:
            raise ConfigError(f"{self.twin_seconds:g} seconds for a twin; expected a positive number")
