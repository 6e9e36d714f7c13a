"""Table 4: what the zoo's models reach on the test set."""

from typing import Any

import numpy as np

from zooaudit.reporting.canvas import LOOKS, rendered
from zooaudit.reporting.paper_numbers import PAPER_ACCURACY
from zooaudit.studies.bench import Bench
from zooaudit.studies.outcome import Finding, Holds, Outcome, spread
from zooaudit.zoo.spec import Role

NEAR = 0.01
FULL = (("fashion-mnist", 10), ("cifar10", 10), ("tiny-imagenet", 200))
RECOVERED = {"fashion-mnist": 0.95, "cifar10": 0.98, "tiny-imagenet": 0.73}
"""The least mean accuracy of extracted models in the paper over its victim's, rounded down."""
FULL_WIDTH = 64
"""Base width of torchvision's nets."""


def accuracies(bench: Bench) -> Outcome:
    """Mean accuracy and recovery rate by architecture and role, beside the paper's."""
    stated = PAPER_ACCURACY.get(bench.papers_dataset, {})
    zoo = bench.zoo
    rows: list[dict[str, Any]] = []
    for role in (Role.VICTIM, Role.HOMOLOGOUS, Role.PIRACY, Role.LOOK_ALIKE):
        specs = zoo.learnt(role)
        for architecture in dict.fromkeys(s.architecture for s in specs):
            records = [zoo.records[s.id] for s in specs if s.architecture == architecture]
            values = [r.accuracy for r in records]
            recovered = [r.recovery_rate for r in records if r.recovery_rate is not None]
            rows.append(
                {
                    "role": str(role),
                    "architecture": architecture,
                    "models": len(values),
                    "accuracy": float(np.mean(values)),
                    "std": float(np.std(values)),
                    "recovery_rate": float(np.mean(recovered)) if recovered else None,
                    "paper": stated.get((architecture, role)),
                }
            )
    findings = [_finding(bench, rows, role) for role in (Role.VICTIM, Role.HOMOLOGOUS, Role.PIRACY)]
    recovered = [r["recovery_rate"] for r in rows if r["role"] == "piracy"]
    failed = sum(s.role is Role.PIRACY for s in zoo.failed)
    findings.append(
        Finding(
            "Extraction recovers nearly all of the victim's accuracy",
            "table 4",
            f">= {RECOVERED.get(bench.papers_dataset, 0.95):g}",
            f"mean recovery rate by architecture {spread(recovered)}",
            _models(rows, Role.PIRACY),
            (
                Holds.of(min(recovered) >= RECOVERED.get(bench.papers_dataset, 0.95))
                if _comparable(bench)
                else Holds.UNDECIDED
            ),
            f"of models that recover {bench.recipe.zoo.recovery_floor:g} at least, which {failed} did not",
        )
    )
    return Outcome(rows, findings, {"accuracy.svg": _picture(rows)}, bench.excluded)


def _models(rows: list[dict[str, Any]], role: Role) -> str:
    return f"{sum(r['models'] for r in rows if r['role'] == str(role))} models"


def _comparable(bench: Bench) -> bool:
    """Whether the nets are as wide, and the classes as many, as in the paper."""
    widths = bench.recipe.zoo.widths
    return (bench.dataset.name, bench.dataset.num_classes) in FULL and (
        bench.dataset.name == "fashion-mnist" or widths[0] >= FULL_WIDTH
    )


def _finding(bench: Bench, rows: list[dict[str, Any]], role: Role) -> Finding:
    mine = [r for r in rows if r["role"] == str(role)]
    against = [r for r in mine if r["paper"] is not None]
    ours = ", ".join(f"{r['architecture']} {r['accuracy']:.3f}" for r in mine)
    paper = ", ".join(f"{r['architecture']} {r['paper']:.3f}" for r in against) or "-"
    short = [r["architecture"] for r in against if r["accuracy"] < r["paper"] - NEAR]
    note = f"counted as reproduced if none is under by more than {NEAR:g}"
    if short:
        note = f"under the paper's by more than {NEAR:g}: {', '.join(short)}"
    holds = Holds.of(not short)
    if not against or not _comparable(bench):
        holds, note = Holds.UNDECIDED, "other data, narrower nets or fewer classes than the paper's"
    return Finding(
        f"Test accuracy of {role} models", "table 4", paper, ours, _models(rows, role), holds, note
    )


def _picture(rows: list[dict[str, Any]]) -> bytes:
    def paint(axes: Any) -> None:
        names = list(dict.fromkeys(r["architecture"] for r in rows))
        for offset, role in (
            (-0.15, Role.VICTIM),
            (-0.05, Role.HOMOLOGOUS),
            (0.05, Role.PIRACY),
            (0.15, Role.LOOK_ALIKE),
        ):
            mine = [r for r in rows if r["role"] == str(role)]
            at = [names.index(r["architecture"]) + offset for r in mine]
            look = LOOKS[role]
            axes.errorbar(
                at,
                [r["accuracy"] for r in mine],
                yerr=[r["std"] for r in mine],
                fmt=look.marker,
                color=look.colour,
                label=str(role),
            )
            entries = [(x, r["paper"]) for x, r in zip(at, mine, strict=True) if r["paper"] is not None]
            axes.plot([x for x, _ in entries], [p for _, p in entries], "_", color=look.colour, markersize=14)
        axes.set_xticks(range(len(names)), names)
        axes.set(ylabel="test accuracy (dash: the paper's)")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)

    return rendered(paint, width=5.6, height=3.6)
