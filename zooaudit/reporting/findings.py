"""What a report says about an audit, as plain values: counts, rows, alternative texts. The
template only arranges them."""

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from scipy import stats

from zooaudit.auditing.results import Audit, Judgement, Suspect
from zooaudit.paper.t_test import PaperDecision
from zooaudit.reporting.canvas import FAMILIES, LOOKS
from zooaudit.reporting.paper_numbers import PAPER_ACCURACY
from zooaudit.zoo.build import Status
from zooaudit.zoo.spec import ModelSpec, Role


class Outcome(StrEnum):
    """A decision beside the truth, in the order in which verdicts are listed: the worst first."""

    ACCUSED = "wrongly accused"
    MISSED = "missed"
    CAUGHT = "caught"
    SPARED = "not accused"

    @property
    def wrong(self) -> bool:
        return self in (Outcome.ACCUSED, Outcome.MISSED)


@dataclass(frozen=True)
class Family:
    """How many models of a role were accused, with a 95 % Clopper-Pearson interval of the rate, in [0, 1]."""

    role: Role
    total: int
    accused: int
    low: float
    high: float


@dataclass(frozen=True)
class VerdictRow:
    """A suspect and how the verdict on it compares with the truth."""

    suspect: Suspect
    way: str
    outcome: Outcome
    glyph: str

    @property
    def floor(self) -> float:
        """The smallest p that ranking among the references could support: (k + 1) / (n + 1)."""
        verdict = self.suspect.verdict
        return (verdict.reference_above + 1) / (verdict.reference_models + 1)


@dataclass(frozen=True)
class AccuracyRow:
    """Test accuracy, in [0, 1], of the models of one architecture and role that learnt."""

    architecture: str
    role: Role
    models: int
    mean: float
    low: float
    high: float
    paper: float | None


EPOCHS = "{:g} epochs"
UNITS = {
    "fine-tune": EPOCHS,
    "last-layer": EPOCHS,
    "new-head": EPOCHS,
    "retrain": EPOCHS,
    "distil": EPOCHS,
    "int8": "",
    "float16": "",
    "prune": "{:.0%} of the weights",
    "prune-tune": "{:.0%} of the weights",
    "prune-channels": "{:.0%} of the channels",
    "averaged": "{:.0%} of the weights",
    "transfer": EPOCHS,
}
"""How a modification's strength is said; of the others, in iterations."""


def way(spec: ModelSpec) -> str:
    """How a model was made: by a modification, by an attack and which labels it got, or trained."""
    if spec.modification is not None:
        strength = UNITS.get(spec.modification.kind, "{:g} iterations").format(spec.modification.strength)
        strength = strength.removesuffix("s") if spec.modification.strength == 1 else strength
        return ", ".join(filter(None, (spec.modification.kind, strength)))
    if spec.extraction is None:
        return "trained"
    images = f", {spec.extraction.images} images" if spec.extraction.images != "domain" else ""
    return ", ".join(
        [f"{spec.extraction.attack}, {spec.extraction.labels} labels{images}", *spec.extraction.resisted]
    )


def family(audit: Judgement, role: Role) -> Family:
    """Count the accused of a role; a role without suspects has the interval [0, 1]: nothing is known."""
    total, accused = len(audit.scores(role)), audit.accused(role)
    if not total:
        return Family(role, 0, 0, 0.0, 1.0)
    interval = stats.binomtest(accused, total).proportion_ci()
    return Family(role, total, accused, float(interval.low), float(interval.high))


def verdict_rows(audit: Audit) -> list[VerdictRow]:
    """Every suspect: wrong verdicts first, innocent accused ahead of stolen missed, look-alikes ahead of
    homologous, then by similarity."""
    rows = [VerdictRow(s, way(s.spec), outcome(s), LOOKS[s.spec.role].glyph) for s in audit.suspects]
    outcomes, roles = list(Outcome), list(FAMILIES)
    return sorted(
        rows,
        key=lambda r: (
            outcomes.index(r.outcome),
            -roles.index(r.suspect.spec.role),
            -r.suspect.verdict.similarity,
        ),
    )


def outcome(suspect: Suspect) -> Outcome:
    """Compare a decision with the truth."""
    accused = suspect.verdict.decision is PaperDecision.PIRACY
    if suspect.spec.role.stolen:
        return Outcome.CAUGHT if accused else Outcome.MISSED
    return Outcome.ACCUSED if accused else Outcome.SPARED


def accuracy_rows(audit: Audit) -> list[AccuracyRow]:
    """One row an architecture and role, over the models that learnt; the user's own victim
    has the architecture ``own``."""
    zoo = audit.zoo
    groups: dict[tuple[str, Role], list[float]] = {}
    if all(s.id != zoo.plan.victim for s in zoo.plan.specs):
        groups["own", Role.VICTIM] = [zoo.records[zoo.plan.victim].accuracy]
    for spec in zoo.plan.specs:
        if zoo.records[spec.id].status is Status.LEARNT:
            groups.setdefault((spec.architecture, spec.role), []).append(zoo.records[spec.id].accuracy)
    paper = PAPER_ACCURACY.get(audit.dataset.name, {})
    roles = list(Role)
    return [
        AccuracyRow(*key, len(values), float(np.mean(values)), min(values), max(values), paper.get(key))
        for key, values in sorted(
            groups.items(), key=lambda item: (item[0][0] != "own", item[0][0], roles.index(item[0][1]))
        )
    ]


def settings(recipe: Any) -> list[tuple[str, list[tuple[str, Any]]]]:
    """A recipe's fields by section:
    ``[("recipe", [("name", ...), ...]), ("zoo", ...), ("zoo.training", ...), ...]``."""
    return _sections("recipe", "", recipe)


def _sections(title: str, prefix: str, config: Any) -> list[tuple[str, list[tuple[str, Any]]]]:
    here: list[tuple[str, Any]] = []
    below: list[tuple[str, list[tuple[str, Any]]]] = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            below += _sections(prefix + field.name, f"{prefix}{field.name}.", value)
        else:
            here.append((field.name, value))
    return [(title, here), *below]


def cdf_alt(audit: Audit, architecture: str) -> str:
    """Alternative text of a similarity CDF: each role's median."""
    parts = []
    for role in FAMILIES:
        values = [
            s.similarities
            for s in audit.suspects
            if s.spec.role is role and s.spec.architecture == architecture
        ]
        if values:
            parts.append(f"{role} median {np.median(np.concatenate(values)):.3f}")
    return f"Cumulative distribution of similarities, architecture {architecture}: {'; '.join(parts)}."


def strip_alt(audit: Audit) -> str:
    """Alternative text of the strip plot: each role's range of model similarities."""
    parts = [
        f"{role} {min(scores):.3f} to {max(scores):.3f}"
        for role in FAMILIES
        if (scores := audit.scores(role))
    ]
    return f"Mean similarity of every suspect by family: {'; '.join(parts)}."


def roc_alt(audit: Audit) -> str:
    """Alternative text of the ROC curves: their areas."""
    areas = [(role, audit.auc(role)) for role in (Role.HOMOLOGOUS, Role.LOOK_ALIKE)]
    return (
        "ROC curves of piracy models: "
        + "; ".join(f"AUC {a:.3f} against {r}" for r, a in areas if a is not None)
        + "."
    )
