"""What a report says about the calibrated verdicts, as plain values and one picture."""

from dataclasses import dataclass
from statistics import median
from typing import Any

from scipy import stats

from zooaudit.pipeline import Audit, Suspect
from zooaudit.reporting.canvas import FAMILIES, LOOKS, drawn
from zooaudit.reporting.findings import Outcome
from zooaudit.verdict.calibrated import Call
from zooaudit.zoo.spec import Role


@dataclass(frozen=True)
class Called:
    """Calls on the suspects of a role that did not train the score, with a 95 % Clopper-Pearson interval of the share called stolen.

    Attributes:
        queries: median over those called stolen; None if there are none.
        trained: suspects of the role that the score was fitted on, so that it says nothing about them.
    """

    role: Role
    total: int
    stolen: int
    cannot_tell: int
    low: float
    high: float
    queries: float | None
    trained: int


@dataclass(frozen=True)
class CallRow:
    """A suspect that was examined, and how the call compares with the truth."""

    suspect: Suspect
    outcome: Outcome
    glyph: str


def called(audit: Audit, role: Role) -> Called:
    """Count the calls on a role; one without suspects has the interval [0, 1]: nothing is known."""
    ours = [s for s in audit.suspects if s.spec.role is role]
    examined = [s.examined for s in ours if s.examined is not None]
    stolen = [e for e in examined if e.verdict.call is Call.STOLEN]
    cannot = sum(e.verdict.call is Call.CANNOT_TELL for e in examined)
    interval = stats.binomtest(len(stolen), len(examined)).proportion_ci() if examined else None
    low, high = (float(interval.low), float(interval.high)) if interval else (0.0, 1.0)
    queries = float(median(e.queries for e in stolen)) if stolen else None
    return Called(role, len(examined), len(stolen), cannot, low, high, queries, len(ours) - len(examined))


def call_rows(audit: Audit) -> list[CallRow]:
    """Every suspect that was examined: wrong calls first, innocent accused ahead of stolen missed, then by score."""
    rows = [CallRow(s, outcome(s), LOOKS[s.spec.role].glyph) for s in audit.suspects if s.examined is not None]
    outcomes = list(Outcome)
    return sorted(rows, key=lambda r: (outcomes.index(r.outcome), -r.suspect.score))


def outcome(suspect: Suspect) -> Outcome:
    """Compare a call with the truth; what cannot be told accuses nobody, and misses who is stolen."""
    accused = suspect.examined is not None and suspect.examined.verdict.call is Call.STOLEN
    if suspect.spec.role.stolen:
        return Outcome.CAUGHT if accused else Outcome.MISSED
    return Outcome.ACCUSED if accused else Outcome.SPARED


def score_strip(audit: Audit) -> str:
    """One mark an examined suspect at its score on all questions, filled if called stolen."""
    families = [role for role in FAMILIES if called(audit, role).total]

    def paint(axes: Any) -> None:
        for row, role in enumerate(families):
            ours = sorted((s for s in audit.suspects if s.spec.role is role and s.examined), key=lambda s: s.score)
            look = LOOKS[role]
            for i, suspect in enumerate(ours):
                y = row + (0.3 - 0.6 * i / (len(ours) - 1) if len(ours) > 1 else 0.0)
                fill = look.colour if outcome(suspect) in (Outcome.CAUGHT, Outcome.ACCUSED) else "white"
                axes.plot(suspect.score, y, look.marker, color=look.colour, markerfacecolor=fill, markersize=6, clip_on=False)
        for x in (0, 1):
            axes.axvline(x, color="#777777", linewidth=1, linestyle=":")
        axes.set_yticks(range(len(families)), [f"{role}\n(n = {called(audit, role).total})" for role in families])
        axes.set(xlabel="score: 0 as innocent training models, 1 as known copies", ylim=(len(families) - 0.45, -0.55))
        for filled, label in ((True, "called stolen"), (False, "not shown, or cannot tell")):
            axes.plot([], [], "s", label=label, color="#555555", markerfacecolor="#555555" if filled else "white")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)

    return drawn(paint, width=6.4, height=3.4)


def score_alt(audit: Audit) -> str:
    """Alternative text of the picture: each role's range of scores."""
    parts = []
    for role in FAMILIES:
        scores = [s.score for s in audit.suspects if s.spec.role is role and s.examined]
        parts += [f"{role} {min(scores):.2f} to {max(scores):.2f}"] if scores else []
    return f"Score of every examined suspect by family: {'; '.join(parts)}."
