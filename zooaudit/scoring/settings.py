"""Settings for asking and judging suspects."""

from dataclasses import dataclass
from typing import Literal

from zooaudit.choices import CORRECTIONS, SEEN, Correction
from zooaudit.errors import ConfigError
from zooaudit.kits.kit import Kit
from zooaudit.suspects.access import Access
from zooaudit.verdict.decision import By, check_kind, check_level

METHODS = ("twins", "paper", "both")
Methods = Literal["twins", "paper", "both"]


@dataclass(frozen=True)
class ScoreSettings:
    """Settings that must be fixed before the first answer is seen.

    Attributes:
        method: ``twins``, the twin test; ``paper``, the paper's t-test; or ``both``.
        level: share of suspects made without the victim that may be called stolen; None for the kit's.
        access: the suspect's access level by name; ``seen``: inferred from its first answers.
        p_value: ``rank`` of the victim among its twins, or ``normal``: below 1 / (twins + 1), if the twins'
            statistics are normal.
        queries: the most questions of the twin test, one of the kit's looks; None for all.
        ask_everything: ask on when the decision is settled, or when the first answers make no sense.
        suspect_classes: the suspects' number of classes, if it is not the victim's.
        correction: for several suspects, judged together.
        budget: the most queries that an API may charge, over all runs; None for what the method takes.
    """

    method: Methods = "twins"
    level: float | None = None
    access: str = SEEN
    p_value: By = "rank"
    queries: int | None = None
    ask_everything: bool = False
    suspect_classes: int | None = None
    correction: Correction = "holm"
    budget: int | None = None

    def check(self, kit: Kit) -> None:
        """Refuse settings that do not fit the kit, before a suspect is asked.

        Raises:
            ConfigError: a setting does not fit; says what was expected.
        """
        if self.method not in METHODS:
            raise ConfigError(f"method is {self.method!r}; expected one of {', '.join(METHODS)}")
        check_kind(self.p_value)
        if self.correction not in CORRECTIONS:
            raise ConfigError(f"correction is {self.correction!r}; expected one of {', '.join(CORRECTIONS)}")
        if self.budget is not None and self.budget < 1:
            raise ConfigError(f"--budget is {self.budget}; expected a number of queries, at least 1")
        if self.suspect_classes is not None and self.suspect_classes < 2:
            raise ConfigError(
                f"--suspect-classes is {self.suspect_classes}; expected the suspect's number of classes, at"
                " least 2"
            )
        if self.others(kit) and self.method != "twins":
            raise ConfigError(
                "the paper's test compares class by class; a suspect with other classes takes --method twins"
            )
        if self.level is not None:
            check_level(self.level)
        kit.twin_test.stops(self.queries)
        if self.access != SEEN:
            Access.named(self.access)

    def others(self, kit: Kit) -> bool:
        """Whether the suspects' classes are not the kit's."""
        return self.suspect_classes not in (None, kit.num_classes)

    @property
    def read_as(self) -> Access | None:
        """The access level; None to infer it."""
        return None if self.access == SEEN else Access.named(self.access)

    def horizon(self, kit: Kit) -> int:
        """The most questions of the twin test."""
        return kit.twin_test.stops(self.queries)[-1]

    def takes(self, kit: Kit) -> int:
        """The most queries that the method takes."""
        paper = kit.victim_answers.shape[:3].numel()
        return {"twins": self.horizon(kit), "paper": paper, "both": self.horizon(kit) + paper}[self.method]
