"""A victim among its twins as a picture: a line, a dot for each twin, a diamond for the victim. Here is where
the marks go; the macro ``dots`` draws them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from zooaudit.verdict import wording
from zooaudit.verdict.decision import Decision, TwinVerdict

MARGIN = 4.0
"""Per cent of the line's length that stay free at either end."""
ITSELF = "itself"
"""How the victim is drawn where no family of suspects gives the colour."""


@dataclass(frozen=True)
class Scale:
    """Which numbers lie on a line, from ``low`` to ``high``; strips of one scale can be compared."""

    low: float
    high: float

    @staticmethod
    def over(numbers: Iterable[float]) -> "Scale":
        """The least that holds all of them; a little wider where they are all alike."""
        held = [n for n in numbers if np.isfinite(n)] or [0.0]
        low, high = min(held), max(held)
        return Scale(low, high) if high > low else Scale(low - 1, high + 1)

    def at(self, number: float) -> float:
        """Where a number lies, in per cent of the line."""
        share = (number - self.low) / (self.high - self.low)
        return round(MARGIN + (100 - 2 * MARGIN) * float(np.clip(share, 0, 1)), 2)

    @property
    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Places and labels of whole numbers, seven at most."""
        step = max(1, -(-int(self.high - self.low) // 6))
        whole = range(-(-int(np.ceil(self.low)) // step) * step, int(np.floor(self.high)) + 1, step)
        return tuple((self.at(n), f"{n}".replace("-", "\N{MINUS SIGN}")) for n in whole)


@dataclass(frozen=True)
class Strip:
    """Marks on one line.

    Attributes:
        victim, twins: places in per cent of the line; ``zero`` that of the number 0, None
            where it is not on it.
        look: names the colour: a role, or ``ITSELF``.
        filled: whether the diamond is.
        alt: what it shows, in words.
    """

    victim: float
    twins: tuple[float, ...]
    zero: float | None
    look: str
    filled: bool
    alt: str


def strip(numbers: Sequence[float], scale: Scale, look: str, filled: bool, alt: str) -> Strip:
    """Of the candidates' numbers, the victim's first."""
    zero = scale.at(0) if scale.low <= 0 <= scale.high else None
    return Strip(scale.at(numbers[0]), tuple(scale.at(n) for n in numbers[1:]), zero, look, filled, alt)


def verdict_strip(verdict: TwinVerdict, scale: Scale, look: str) -> Strip | None:
    """What a verdict ranked; None where nothing was."""
    if verdict.rank is None:
        return None
    text = (
        f"{wording.headline(verdict)}, rank {verdict.rank} of {verdict.twins + 1};"
        f" {wording.standing(verdict)}"
    )
    return strip(verdict.statistics, scale, look, verdict.decision is Decision.STOLEN, text)
