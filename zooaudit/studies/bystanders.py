"""Models and victims beside the audit's own: overlap of training data (figure 12), an
encoder for another victim (figure 13)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import stats

from zooaudit.auditing import steps
from zooaudit.reporting.canvas import LOOKS
from zooaudit.studies.bench import DRAWS, Bench
from zooaudit.studies.cohort import Cohort, Variant
from zooaudit.studies.outcome import Finding, Holds, Outcome, spread
from zooaudit.studies.pictures import COLOURS, MARKERS, line, panels
from zooaudit.verdict.distances import auc
from zooaudit.zoo.spec import Group, ModelSpec, Role
from zooaudit.zoo.variants import overlapping

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def overlapping_models(bench: Bench, shares: Sequence[float] = SHARES) -> list[ModelSpec]:
    """One homologous model of each architecture at each overlap of its training half with the victim's."""
    victim = bench.zoo.plan.of(Role.VICTIM)[0]
    first: dict[str, ModelSpec] = {}
    for spec in bench.zoo.plan.of(Role.HOMOLOGOUS, Group.SUSPECT):
        first.setdefault(spec.architecture, spec)
    return [overlapping(base, share, victim.seed) for share in shares for base in first.values()]


def overlap(bench: Bench) -> Outcome:
    """Figure 12: similarity of homologous models by how much of their training data is the victim's."""
    built = bench.built(overlapping_models(bench))
    cohort = bench.with_suspects(list(built))
    rows: list[dict[str, Any]] = []
    for name, encoder in bench.encoders.items():
        scores = cohort.scores(Variant(encoder))
        for spec in built:
            assert spec.overlap is not None
            rows.append(
                {
                    "encoder": name,
                    "overlap": spec.overlap.share,
                    "architecture": spec.architecture,
                    "model": spec.id,
                    "similarity": float(scores.by_spec[spec].mean()),
                    "least_piracy": float(scores.of(Role.PIRACY).means.min()),
                }
            )
    findings = [
        _overlap_effect(bench, name, [r for r in rows if r["encoder"] == name]) for name in bench.encoders
    ]

    def paint(axes: Any, name: str) -> None:
        mine = [r for r in rows if r["encoder"] == name]
        line(
            axes,
            {s: [r["similarity"] for r in mine if r["overlap"] == s] for s in SHARES},
            f"homologous ({name})",
            COLOURS[name],
            MARKERS[name],
        )
        axes.axhline(
            mine[0]["least_piracy"], color="#d55e00", linestyle=":", label="least similar piracy model"
        )
        axes.set(
            xlabel="share of training images that are the victim's",
            ylabel="similarity to the victim",
            ylim=(-0.02, 1.03),
        )

    return Outcome(rows, findings, {"overlap.svg": panels(list(bench.encoders), paint)}, bench.excluded)


def _overlap_effect(bench: Bench, name: str, mine: list[dict[str, Any]]) -> Finding:
    """Whether overlap has an effect by the encoder ``name``."""
    slope, error = _slope([r["overlap"] for r in mine], [r["similarity"] for r in mine])
    shown = ", ".join(
        f"{s:.0%}: {np.mean([r['similarity'] for r in mine if r['overlap'] == s]):.3f}" for s in SHARES
    )
    gap = float(np.median([bench.cohort.scores(Variant(bench.encoders[name], draw=d)).gap for d in DRAWS]))
    caught = sum(r["similarity"] >= r["least_piracy"] for r in mine)
    return Finding(
        f"Overlap of training data has no effect on a homologous model's similarity (encoder {name})",
        "figure 12 (app. C.2)",
        "none",
        f"{shown}; slope {slope:+.3f} ± {error:.3f}",
        f"{len(mine)} models, {len(mine) // len(SHARES)} at each of {len(SHARES)} overlaps",
        _no_effect(bench, name, slope, error, gap),
        "none if the slope's 95 % interval lies within a tenth of the gap to piracy models,"
        f" {gap:.3f}; an effect if it lies outside; {caught} of these models score as high as some"
        " piracy model",
    )


def _slope(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Of the line through the points: slope and half of its 95 % interval; no numbers if
    the points allow none."""
    if len(set(x)) < 2 or len(x) < 3:
        return float("nan"), float("nan")
    slope, start = np.polyfit(x, y, 1)
    off = np.square(np.asarray(y) - start - slope * np.asarray(x)).sum() / (len(x) - 2)
    # scipy's linregress gives none where all y are equal, as those of innocents may be.
    error = np.sqrt(off / (len(x) * np.var(x)))
    return float(slope), float(error * stats.t.ppf(0.975, len(x) - 2))


def _no_effect(bench: Bench, name: str, slope: float, error: float, gap: float) -> Holds:
    """Whether the interval ``slope`` ± ``error`` lies within a tenth of the gap, outside of it, or across."""
    small = 0.1 * gap
    if abs(slope) + error > small and abs(slope) - error <= small:
        return Holds.UNDECIDED
    return bench.holds(abs(slope) + error <= small, name, slope, error)


def other_victims(bench: Bench) -> list[ModelSpec]:
    """Other victims that look-alikes were extracted from: towards these, the look-alikes
    are piracy models."""
    parents = {s.parent for s in bench.zoo.learnt(Role.LOOK_ALIKE)}
    return [s for s in bench.zoo.learnt(Role.OTHER_VICTIM) if s.id in parents]


def transfer(bench: Bench) -> Outcome:
    """Figure 13: the encoder that was trained for this victim, used on fingerprints of other victims, with
    their UAPs on this victim's datapoints."""
    rows: list[dict[str, Any]] = []
    for other in other_victims(bench):
        cohort = _of_other_victim(bench, other)
        for name, encoder in bench.encoders.items():
            variant = Variant(encoder)
            own = bench.cohort.encoder(variant)
            moved = Cohort(cohort.victim, (), cohort.suspects, cohort.answers, cohort.seed, {variant: own})
            for spec, views in moved.scores(variant).by_spec.items():
                rows.append(
                    {
                        "encoder": name,
                        "victim": other.id,
                        "role": str(spec.role),
                        "model": spec.id,
                        "similarity": float(views.mean()),
                    }
                )
    findings = [
        _transfer_finding(bench, name, [r for r in rows if r["encoder"] == name]) for name in bench.encoders
    ]

    def paint(axes: Any, name: str) -> None:
        mine = [r for r in rows if r["encoder"] == name]
        victims = list(dict.fromkeys(r["victim"] for r in mine))
        for role in (Role.PIRACY, Role.HOMOLOGOUS):
            part = [r for r in mine if r["role"] == str(role)]
            look = LOOKS[role]
            at = [victims.index(r["victim"]) + (0.12 if role is Role.PIRACY else -0.12) for r in part]
            axes.plot(
                at,
                [r["similarity"] for r in part],
                look.marker,
                color=look.colour,
                alpha=0.6,
                markersize=4,
                label=str(role),
            )
        axes.set_xticks(
            range(len(victims)), [f"other victim {i + 1}" for i in range(len(victims))], fontsize=8
        )
        axes.set(
            ylabel="similarity to that victim", ylim=(-0.02, 1.03), xlim=(-0.5, max(0.5, len(victims) - 0.5))
        )

    return Outcome(rows, findings, {"transfer.svg": panels(list(bench.encoders), paint)}, bench.excluded)


def _of_other_victim(bench: Bench, other: ModelSpec) -> Cohort:
    """Its piracy models (our look-alikes) and the homologous suspects, asked about it."""
    victim = steps.Victim.load(other.id, bench.artifacts, bench.dataset)
    uap = steps.uap(bench.recipe, victim, bench.dataset, bench.artifacts)
    # The encoder's inputs stay what it learnt: answers about these very images.
    questions = steps.questions(uap, bench.points)
    pirated = [
        replace(s, role=Role.PIRACY) for s in bench.zoo.learnt(Role.LOOK_ALIKE) if s.parent == other.id
    ]
    independent = [s for s in bench.suspects if s.role is Role.HOMOLOGOUS]
    stored = {s.id: s for s in bench.zoo.learnt(Role.LOOK_ALIKE) if s.parent == other.id}
    answers = bench.answers([other.id, *stored, *(s.id for s in independent)], questions)
    renamed = dict(zip(stored, pirated, strict=True))
    given = answers | {renamed[i].id: answers[i] for i in stored}
    return Cohort(other.id, (), (*pirated, *independent), given, bench.recipe.seed)


def _transfer_finding(bench: Bench, name: str, rows: list[dict[str, Any]]) -> Finding:
    victims = list(dict.fromkeys(r["victim"] for r in rows))
    aucs = []
    for victim in victims:
        scores = {
            role: [r["similarity"] for r in rows if r["victim"] == victim and r["role"] == str(role)]
            for role in Role
        }
        aucs.append(auc(scores[Role.PIRACY], scores[Role.HOMOLOGOUS]))
    known = [a for a in aucs if a is not None]
    means = {
        r: np.mean([x["similarity"] for x in rows if x["role"] == r]) if rows else np.nan
        for r in ("piracy", "homologous")
    }
    n = f"{len(known)} other victims, {sum(r['role'] == 'piracy' for r in rows)} piracy models of them"
    return Finding(
        f"An encoder trained for one victim tells piracy from homologous models of another (encoder {name})",
        "figure 13 (app. E)",
        "it does",
        f"AUC by victim {spread(known) if known else '-'}; similarity piracy {means['piracy']:.3f},"
        f" homologous {means['homologous']:.3f}",
        n,
        bench.holds(float(np.median(known)) >= 0.95, name) if known else Holds.UNDECIDED,
        "counted as reproduced from a median AUC of .95",
    )
