"""What a report says about the twin test's verdicts, as plain values. The verdicts' own words are
:mod:`zooaudit.verdict.wording`'s."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from scipy import stats

from zooaudit.auditing.results import Audit, Suspect
from zooaudit.reporting.canvas import FAMILIES, LOOKS
from zooaudit.reporting.findings import Outcome, way
from zooaudit.reporting.strips import ITSELF, Scale, Strip, strip, verdict_strip
from zooaudit.verdict import wording
from zooaudit.verdict.decision import Decision, too_few
from zooaudit.verdict.examined import LOG, Examined
from zooaudit.verdict.exchangeable import spoken
from zooaudit.verdict.ranking import ranked
from zooaudit.verdict.twin_test import TwinTest, only
from zooaudit.zoo.spec import Role

MOST_STRIPS = 40
"""Suspects of a role that are drawn; the table has all of them."""


@dataclass(frozen=True)
class Called:
    """Decisions on suspects of a role, with a 95 % Clopper-Pearson interval of the share called stolen.

    Attributes:
        way: how these suspects were made; "" for all of the role.
        low, high: of the interval, in [0, 1]; [0, 1] without suspects, of whom nothing is known.
        queries: median over those called stolen; None if there are none.
    """

    role: Role
    way: str
    total: int
    stolen: int
    cannot_tell: int
    low: float
    high: float
    queries: float | None


@dataclass(frozen=True)
class CallRow:
    """A suspect, how the decision compares with the truth, and the victim among its twins for it.

    Attributes:
        cautions: those that are not said of every suspect.
        strip: None where nothing was ranked.
    """

    suspect: Suspect
    way: str
    outcome: Outcome
    glyph: str
    cautions: tuple[str, ...]
    strip: Strip | None


@dataclass(frozen=True)
class Picture:
    """The victim among its twins, for itself and for every suspect, on one scale.

    Attributes:
        families: rows by role, wrong decisions first and then by rank; at most ``MOST_STRIPS`` each.
        hidden: by role, how many more there are.
    """

    scale: Scale
    itself: Strip | None
    families: dict[Role, list[CallRow]]
    hidden: dict[Role, int]

    @property
    def anything(self) -> bool:
        """Whether anything was ranked."""
        return self.itself is not None or any(row.strip for rows in self.families.values() for row in rows)


@dataclass(frozen=True)
class Alone:
    """How often the victim comes first of all candidates for suspects of a role, by one
    family of questions alone."""

    role: Role
    first: int
    total: int


def called(audit: Audit, role: Role, made: str = "") -> Called:
    """Count the decisions on a role, or on those of it that were made in one way."""
    examined = [s.examined for s in audit.suspects if s.spec.role is role and made in ("", way(s.spec))]
    stolen = [e for e in examined if e.verdict.decision is Decision.STOLEN]
    cannot = sum(e.verdict.decision is Decision.CANNOT_TELL for e in examined)
    interval = stats.binomtest(len(stolen), len(examined)).proportion_ci() if examined else None
    low, high = (float(interval.low), float(interval.high)) if interval else (0.0, 1.0)
    queries = float(median(e.queries for e in stolen)) if stolen else None
    return Called(role, made, len(examined), len(stolen), cannot, low, high, queries)


def by_way(audit: Audit) -> list[Called]:
    """The same of every role and way that there are, thieves first."""
    ways = {role: sorted({way(s.spec) for s in audit.suspects if s.spec.role is role}) for role in FAMILIES}
    return [called(audit, role, made) for role in FAMILIES for made in ways[role]]


def outcome(suspect: Suspect) -> Outcome:
    """Compare a decision with the truth; what cannot be told accuses nobody, and misses who is stolen."""
    accused = suspect.examined.verdict.decision is Decision.STOLEN
    if suspect.spec.role.stolen:
        return Outcome.CAUGHT if accused else Outcome.MISSED
    return Outcome.ACCUSED if accused else Outcome.SPARED


def shared_cautions(audit: Audit) -> tuple[str, ...]:
    """What has to be said beside every verdict of this kit."""
    found = [set(s.examined.verdict.cautions) for s in audit.suspects]
    return tuple(c for c in audit.itself.verdict.cautions if all(c in cautions for cautions in found))


def call_rows(audit: Audit) -> list[CallRow]:
    """Every suspect: wrong decisions first, innocent accused ahead of stolen missed, then
    by the victim's rank."""
    scale, shared = _scale(audit), shared_cautions(audit)
    rows = [_row(s, scale, shared) for s in audit.suspects]
    outcomes, most = list(Outcome), len(audit.kit.twin_test.candidates) + 1
    return sorted(rows, key=lambda r: (outcomes.index(r.outcome), r.suspect.examined.verdict.rank or most))


def _row(suspect: Suspect, scale: Scale, shared: Sequence[str]) -> CallRow:
    spec, verdict = suspect.spec, suspect.examined.verdict
    own = tuple(c for c in verdict.cautions if c not in shared)
    return CallRow(
        suspect,
        way(spec),
        outcome(suspect),
        LOOKS[spec.role].glyph,
        own,
        verdict_strip(verdict, scale, str(spec.role)),
    )


def picture(audit: Audit) -> Picture:
    """Dots and diamonds for the victim itself and every suspect."""
    rows = {role: [r for r in call_rows(audit) if r.suspect.spec.role is role] for role in FAMILIES}
    hidden = {role: max(len(found) - MOST_STRIPS, 0) for role, found in rows.items()}
    shown = {role: found[:MOST_STRIPS] for role, found in rows.items() if found}
    scale = _scale(audit)
    return Picture(scale, verdict_strip(audit.itself.verdict, scale, ITSELF), shown, hidden)


def _scale(audit: Audit) -> Scale:
    """One for all verdicts of an audit."""
    examined = [audit.itself, *(s.examined for s in audit.suspects)]
    return Scale.over(t for e in examined for t in e.verdict.statistics)


def accuses_nobody(test: TwinTest) -> str:
    """Why a kit accuses nobody at its level, whatever a suspect answers; "" if it may."""
    return spoken(test.exchangeability)[0] or too_few(test.twins, test.level)


def checks(test: TwinTest) -> list[dict[str, Any]]:
    """What was found out of a kit without any suspect, as :func:`zooaudit.verdict.wording.checked` has it,
    each with its ``strip``."""
    if test.twins < 2:
        return []
    hub = test.hub()
    numbers = [c.numbers for c in test.exchangeability] + [tuple(hub.means.tolist())]
    rows = wording.checked(test.exchangeability, hub)
    return [row | {"strip": _check_strip(row, values)} for row, values in zip(rows, numbers, strict=True)]


def _check_strip(row: dict[str, Any], numbers: Sequence[float]) -> Strip | None:
    return strip(numbers, Scale.over(numbers), ITSELF, True, row["text"]) if numbers else None


def kinds(test: TwinTest) -> dict[str, int]:
    """How many references there are of each kind, most first."""
    return dict(Counter(r.kind for r in test.references).most_common())


def questions(test: TwinTest) -> dict[str, int]:
    """How many questions there are of each family."""
    return dict(Counter(test.families))


def log_alone(audit: Audit) -> list[Alone]:
    """What the images that the victim was asked tell by themselves; empty without a query log."""
    test = audit.kit.twin_test
    if LOG not in test.families:
        return []
    alone = only(test, LOG)
    found = []
    for role in FAMILIES:
        ranks = [
            _rank(test, alone, s.examined)
            for s in audit.suspects
            if s.spec.role is role and s.examined.verdict.rank is not None
        ]
        found += [Alone(role, ranks.count(1), len(ranks))] if ranks else []
    return found


def _rank(test: TwinTest, alone: TwinTest, found: Examined) -> int | None:
    """The victim's, by the questions of ``alone`` that a suspect was asked; None if there were none."""
    rows = [i for i, family in enumerate(test.families[: found.queries]) if family == LOG]
    if not rows:
        return None
    return ranked(np.stack([alone.statistics(found.answers[rows], found.access, len(rows))]), 1).rank
