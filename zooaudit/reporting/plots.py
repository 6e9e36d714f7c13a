"""The report's charts. Each takes an audit and returns an image as a data URI."""

from typing import Any

import numpy as np

from zooaudit.auditing.results import Audit, Suspect
from zooaudit.paper.t_test import PaperDecision
from zooaudit.reporting.canvas import FAMILIES, LOOKS, drawn
from zooaudit.verdict.distances import roc
from zooaudit.zoo.spec import Role

MOST_WHISKERS = 120
"""More suspects than this, and the range of each one's views would only be a grey cloud."""


def suspects_of(audit: Audit, role: Role, architecture: str | None = None) -> list[Suspect]:
    """Suspects of a role; of one architecture only, if given."""
    return [s for s in audit.suspects if s.spec.role is role and architecture in (None, s.spec.architecture)]


def suspect_architectures(audit: Audit) -> list[str]:
    """Architectures that suspects have, in order of appearance."""
    return list(dict.fromkeys(s.spec.architecture for s in audit.suspects))


def similarity_cdf(audit: Audit, architecture: str) -> str:
    """Paper figure 5: the share of fingerprints whose similarity is at most x, one line a
    role; all views of all its models."""

    def paint(axes: Any) -> None:
        for role in FAMILIES:
            suspects = suspects_of(audit, role, architecture)
            if suspects:
                label = f"{role} ({len(suspects)})"
                values = np.concatenate([s.similarities for s in suspects])
                axes.ecdf(
                    values, label=label, color=LOOKS[role].colour, linestyle=LOOKS[role].line, linewidth=2
                )
        axes.set(xlabel=_similarity_label(audit), ylabel="share of fingerprints", ylim=(0, 1.02))
        _similarity_limits(axes, audit)
        axes.set_title(f"Architecture {architecture}", fontsize=10, loc="left", fontweight="bold", pad=24)
        axes.legend(
            loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, columnspacing=1.2, handlelength=2.2
        )

    return drawn(paint)


def roc_curves(audit: Audit) -> str | None:
    """ROC of piracy models against each innocent family, one score a model; None if there
    is no pair to compare."""
    piracy = audit.scores(Role.PIRACY)
    pairs = [(role, audit.scores(role)) for role in (Role.HOMOLOGOUS, Role.LOOK_ALIKE)]
    pairs = [(role, scores) for role, scores in pairs if scores and piracy]

    def paint(axes: Any) -> None:
        axes.plot([0, 1], [0, 1], color="#777777", linewidth=1, label="coin toss (AUC 0.5)")
        for role, scores in pairs:
            false, true = roc(piracy, scores)
            label = f"against {role} (AUC {audit.auc(role):.3f})"
            axes.plot(
                false,
                true,
                label=label,
                color=LOOKS[role].colour,
                linestyle=LOOKS[role].line,
                linewidth=2.5,
                clip_on=False,
            )
        axes.set(
            xlabel="share of innocent models accused",
            ylabel="share of piracy models caught",
            xlim=(-0.02, 1.02),
            ylim=(-0.02, 1.02),
        )
        axes.legend(loc="lower right")

    return drawn(paint, height=3.8) if pairs else None


def similarity_strip(audit: Audit) -> str:
    """One mark a model at its mean similarity, filled if accused; a thin line over the range of its views."""

    def paint(axes: Any) -> None:
        families = [role for role in FAMILIES if audit.scores(role)]
        for row, role in enumerate(families):
            for offset, suspect in _spread(suspects_of(audit, role)):
                _mark(axes, suspect, row + offset, whiskers=len(audit.suspects) <= MOST_WHISKERS)
        axes.set_yticks(
            range(len(families)), [f"{role}\n(n = {len(audit.scores(role))})" for role in families]
        )
        axes.set(xlabel=_similarity_label(audit), ylim=(len(families) - 0.45, -0.55))
        _similarity_limits(axes, audit)
        for filled, label in ((True, "accused"), (False, "not accused")):
            axes.plot(
                [], [], "s", label=label, color="#555555", markerfacecolor="#555555" if filled else "white"
            )
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)

    return drawn(paint, height=3.8)


def accuracy_scatter(audit: Audit) -> str:
    """Similarity over test accuracy, one mark a suspect: does the score follow how good the
    model is, rather than whose it is?"""

    def paint(axes: Any) -> None:
        for role in FAMILIES:
            suspects = suspects_of(audit, role)
            if suspects:
                x = [audit.zoo.records[s.spec.id].accuracy for s in suspects]
                y = [s.verdict.similarity for s in suspects]
                look = LOOKS[role]
                axes.scatter(x, y, s=36, marker=look.marker, color=look.colour, alpha=0.8, label=str(role))
        reached = audit.zoo.records[audit.zoo.plan.victim].accuracy
        axes.axvline(reached, color="black", linewidth=1, linestyle="-.", label="the victim's accuracy")
        axes.set(xlabel="test accuracy", ylabel="mean similarity")
        axes.locator_params(axis="x", nbins=5)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)

    return drawn(paint, height=3.8)


def _spread(suspects: list[Suspect]) -> list[tuple[float, Suspect]]:
    """Each suspect with an offset in [-0.3, 0.3], in order of similarity, so that marks do
    not hide each other."""
    ordered = sorted(suspects, key=lambda s: s.verdict.similarity)
    offsets = np.linspace(0.3, -0.3, len(ordered)) if len(ordered) > 1 else np.zeros(1)
    return list(zip(offsets.tolist(), ordered, strict=True))


def _mark(axes: Any, suspect: Suspect, y: float, whiskers: bool) -> None:
    look = LOOKS[suspect.spec.role]
    accused = suspect.verdict.decision is PaperDecision.PIRACY
    if whiskers:
        axes.plot(
            [suspect.similarities.min(), suspect.similarities.max()],
            [y, y],
            color=look.colour,
            linewidth=0.8,
            alpha=0.5,
        )
    fill = look.colour if accused else "white"
    axes.plot(
        suspect.verdict.similarity,
        y,
        look.marker,
        color=look.colour,
        markerfacecolor=fill,
        markersize=6,
        clip_on=False,
    )


def _lowest(audit: Audit) -> float:
    """Where similarity axes start: 0, unless everything is squeezed into the upper half."""
    lowest = min(float(s.similarities.min()) for s in audit.suspects)
    return 0.0 if lowest < 0.5 else np.floor(lowest * 20) / 20


def _similarity_limits(axes: Any, audit: Audit) -> None:
    low = _lowest(audit)
    axes.set_xlim(low - 0.02 * (1 - low), 1 + 0.02 * (1 - low))


def _similarity_label(audit: Audit) -> str:
    low = _lowest(audit)
    return "similarity to the victim" + (f" (axis starts at {low:.2f})" if low else "")
