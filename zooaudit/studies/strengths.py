"""UAPs of other radii and by both methods: how many labels they change, and what that is
worth (section 3.1, equation 3)."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from zooaudit.auditing import steps
from zooaudit.config import UapMethod
from zooaudit.data.images import to_unit
from zooaudit.data.on_disk import in_memory
from zooaudit.paper.uap import Uap, predict
from zooaudit.studies.bench import Bench
from zooaudit.studies.cohort import Cohort, Variant
from zooaudit.studies.outcome import Finding, Outcome, spread, unclaimed
from zooaudit.studies.pictures import COLOURS, MARKERS, line, panels
from zooaudit.zoo.spec import ModelSpec, Role

METHODS: tuple[UapMethod, ...] = ("gradient", "deepfool")
TIMES = (0.25, 0.5, 0.75, 1.0, 1.5)
"""Radii, of the recipe's."""
DEEPFOOL = {"batch_size": 16, "points": 2000, "max_steps": 400}
PER_CELL = 3
"""Suspects of each role, architecture and optimiser."""
VIEWS = 20
STARTS = range(3)


def strengths(bench: Bench) -> Outcome:
    """Fooling rate, pixels at the bound, and AUC of each encoder, by radius and method."""
    rows = [row for method in METHODS for times in TIMES for row in _rows(bench, method, times)]
    return Outcome(
        rows, list(_findings(bench, rows)), {"strengths.svg": _picture(bench, rows)}, bench.excluded
    )


def crafted(bench: Bench, method: UapMethod, times: float) -> Uap:
    """The victim's UAP of that method, in a ball ``times`` as large."""
    how: dict[str, Any] = DEEPFOOL if method == "deepfool" else {}
    config = replace(bench.recipe.uap, method=method, epsilon=bench.recipe.uap.epsilon * times, **how)
    return steps.uap(replace(bench.recipe, uap=config), bench.victim, bench.dataset, bench.artifacts)


def suspects(bench: Bench) -> list[ModelSpec]:
    """``PER_CELL`` of each cell: every radius asks all of them anew."""
    counted: dict[tuple[object, ...], int] = {}
    chosen = []
    for spec in bench.suspects:
        cell = (spec.role, spec.architecture, spec.optimiser)
        counted[cell] = counted.get(cell, 0) + 1
        if counted[cell] <= PER_CELL:
            chosen.append(spec)
    return chosen


def _rows(bench: Bench, method: UapMethod, times: float) -> Iterator[dict[str, Any]]:
    uap, chosen = crafted(bench, method, times), suspects(bench)
    questions = steps.questions(uap, bench.points[:VIEWS])
    ids = [bench.zoo.plan.victim, *(s.id for s in (*bench.encoder_models, *chosen))]
    cohort = Cohort(
        bench.zoo.plan.victim,
        tuple(bench.encoder_models),
        tuple(chosen),
        bench.answers(ids, questions),
        bench.recipe.seed,
    )
    facts = {
        "method": method,
        "epsilon": uap.epsilon,
        "times": times,
        "fooling_rate": uap.fooling_rate,
        **saturation(bench, uap),
    }
    for name, encoder in bench.encoders.items():
        for start in STARTS:
            scores = cohort.scores(Variant(encoder, draw=start))
            yield facts | {
                "encoder": name,
                "start": start,
                "gap": scores.gap,
                "auc": scores.auc(Role.HOMOLOGOUS),
                "suspects": len(chosen),
            }


def saturation(bench: Bench, uap: Uap) -> dict[str, float]:
    """Share of pixels within 1 % of the bound (L-inf), and of the changed labels that are
    the commonest class."""
    images = in_memory(bench.dataset.test.images)
    before = predict(bench.victim.module, images)
    changed = torch.cat(
        [predict(bench.victim.module, (to_unit(x) + uap.v).clamp(0, 1)) for x in images.split(500)]
    )
    moved = changed[changed != before]
    commonest = float(torch.bincount(moved).max()) / len(moved) if len(moved) else float("nan")
    return {"at_bound": float((uap.v.abs() >= 0.99 * uap.epsilon).float().mean()), "one_class": commonest}


def _findings(bench: Bench, rows: Sequence[dict[str, Any]]) -> Iterator[Finding]:
    for method in METHODS:
        mine = [r for r in rows if r["method"] == method]
        for name in bench.encoders:
            shown = [
                _told([r for r in mine if (r["times"], r["encoder"]) == (times, name)]) for times in TIMES
            ]
            yield unclaimed(
                f"Radius of the UAP by {method} (encoder {name})",
                "; ".join(shown),
                f"{mine[0]['suspects']} suspects, {len(STARTS)} encoders each",
                "the encoder learns anew for each",
            )


def _told(rows: Sequence[dict[str, Any]]) -> str:
    one = rows[0]
    return (
        f"eps {one['epsilon']:.2g} ({one['fooling_rate']:.0%} fooled, {one['at_bound']:.0%} of the pixels at"
        f" the bound, {one['one_class']:.0%} to one class): gap {np.median([r['gap'] for r in rows]):.3f},"
        f" AUC {spread([r['auc'] for r in rows])}"
    )


def _picture(bench: Bench, rows: Sequence[dict[str, Any]]) -> bytes:
    def paint(axes: Any, method: str) -> None:
        mine = [r for r in rows if r["method"] == method]
        for name in bench.encoders:
            own = [r for r in mine if r["encoder"] == name]
            points = {
                e: [r["auc"] for r in own if r["epsilon"] == e] for e in sorted({r["epsilon"] for r in own})
            }
            line(axes, points, name, COLOURS[name], MARKERS[name])
        fooled = {r["epsilon"]: [r["fooling_rate"]] for r in mine}
        line(axes, fooled, "labels changed", "#000000", "d", "--")
        axes.set(xlabel="radius (epsilon)", ylabel="AUC; share of labels", ylim=(-0.03, 1.03))

    return panels(list(METHODS), paint)
