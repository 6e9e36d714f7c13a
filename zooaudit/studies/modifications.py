"""Studies of modified copies: what a modification costs a thief, and whether it hides him."""

from typing import Any

import numpy as np

from zooaudit.config import Modification, ModifyConfig
from zooaudit.storage.models import load_module
from zooaudit.studies.bench import Bench
from zooaudit.studies.cohort import Variant
from zooaudit.studies.outcome import Finding, Holds, Outcome, spread
from zooaudit.studies.pictures import COLOURS, MARKERS, line, panels
from zooaudit.studies.thieves import (
    ADVERSARIAL,
    EPOCHS,
    HIGH,
    ITERATIONS,
    LOST,
    OF_PAPER,
    PRUNED,
    PRUNED_CHANNELS,
)
from zooaudit.zoo.build import untuned
from zooaudit.zoo.fit import accuracy
from zooaudit.zoo.modify import TUNED
from zooaudit.zoo.spec import Group, ModelSpec, Role
from zooaudit.zoo.variants import hardened, modified


def modified_models(bench: Bench) -> list[ModelSpec]:
    """One piracy suspect of each architecture and optimiser after every modification and strength."""
    return [spec for chain in _chains(bench).values() for spec in chain]


def _chains(bench: Bench) -> dict[str, list[ModelSpec]]:
    """By base: its modified versions."""
    found: dict[str, list[ModelSpec]] = {}
    for base in bases(bench):
        chain = [modified(base, ModifyConfig("fine-tune", e)) for e in EPOCHS]
        chain += [modified(base, ModifyConfig("prune", share)) for share in PRUNED]
        chain += [modified(base, ModifyConfig("prune-channels", share)) for share in PRUNED_CHANNELS]
        found[base.id] = [
            *chain,
            modified(base, ModifyConfig("int8", 8)),
            *hardened(base, ITERATIONS, ADVERSARIAL),
        ]
    return found


def bases(bench: Bench) -> list[ModelSpec]:
    """The piracy suspects that are modified: the first of each architecture and optimiser."""
    first: dict[tuple[str, str], ModelSpec] = {}
    for spec in bench.zoo.learnt(Role.PIRACY, Group.SUSPECT):
        first.setdefault((spec.architecture, spec.optimiser), spec)
    return list(first.values())


def modifications(bench: Bench) -> Outcome:
    """Figure 8: similarity, and accuracy beside it, after each modification and strength."""
    built = bench.built(modified_models(bench))
    cohort = bench.with_suspects(list(built))
    by_id = {base.id: base for base in bases(bench)}
    before = {kind: _accuracies(bench, kind) for kind in OF_PAPER}
    measured = [
        (spec, by_id[base], spec.modification.kind, spec.modification.strength, built[spec].accuracy)
        for base, chain in _chains(bench).items()
        for spec in chain
        if spec in built and spec.modification
    ]
    measured += [
        (base, base, kind, 0.0, before[kind][base.id]) for kind in OF_PAPER for base in by_id.values()
    ]
    rows: list[dict[str, Any]] = []
    for name, encoder in bench.encoders.items():
        scores = cohort.scores(Variant(encoder))
        p = scores.p_values(bench.recipe.verdict, bench.recipe.seed, Role.PIRACY)
        innocent = scores.of(Role.HOMOLOGOUS).means
        for spec, base, kind, strength, reached in measured:
            data = {"encoder": name, "kind": kind, "strength": strength, "homologous": float(innocent.mean())}
            data |= {"base": base.id, "model": spec.id, "accuracy": reached}
            score = float(scores.by_spec[spec].mean())
            found = {
                "kept": reached / before[kind][base.id],
                "similarity": score,
                "p": p[spec],
                "above_innocent": score > innocent.max(),
            }
            rows.append(data | found)
    findings = [
        f
        for name in bench.encoders
        for f in _modification_findings(bench, name, [r for r in rows if r["encoder"] == name])
    ]
    findings.append(_int8_finding([r for r in rows if r["encoder"] == next(iter(bench.encoders))]))
    return Outcome(
        rows,
        findings,
        {"modifications.svg": _modification_picture(rows, list(bench.encoders))},
        bench.excluded,
    )


def _accuracies(bench: Bench, kind: Modification) -> dict[str, float]:
    """Accuracy of each unchanged base, on the images that its modified versions are measured on."""
    if kind not in TUNED:
        return {base.id: bench.zoo.records[base.id].accuracy for base in bases(bench)}
    images = untuned(bench.dataset)
    return {
        base.id: accuracy(load_module(bench.artifacts, base.id).to(images.images.device), images)
        for base in bases(bench)
    }


def _at(rows: list[dict[str, Any]], kind: str, strength: float, what: str) -> float:
    """Mean over the models of one kind and strength; of the unchanged ones, over those
    whose changed versions all learnt."""
    strongest = max((r["strength"] for r in rows if r["kind"] == kind), default=0.0)
    whole = {r["base"] for r in rows if r["kind"] == kind and r["strength"] == strongest}
    values = [r[what] for r in rows if r["kind"] == kind and r["strength"] == strength and r["base"] in whole]
    return float(np.mean(values)) if values else float("nan")


def _modification_findings(bench: Bench, name: str, rows: list[dict[str, Any]]) -> list[Finding]:
    def at(kind: str, strength: float, what: str = "similarity") -> float:
        return _at(rows, kind, strength, what)

    def gap(kind: str, strength: float) -> float:
        return at(kind, strength) - rows[0]["homologous"]

    def shown(kind: str, unit: str) -> str:
        strengths = sorted({r["strength"] for r in rows if r["kind"] == kind})
        return ", ".join(
            f"{s:g}{unit}: {at(kind, s):.2f} (accuracy {at(kind, s, 'accuracy'):.3f})" for s in strengths
        )

    n = f"{len({r['base'] for r in rows})} piracy models"
    found = []
    useful = max((s for s in PRUNED if at("prune", s, "kept") >= 0.95), default=float("nan"))
    for kind, strength, unit, what in (
        ("fine-tune", float(EPOCHS[-1]), " epochs", "fine-tuning on test-set points"),
        ("prune", useful, "", "pruning that keeps .95 of the accuracy"),
        ("int8", 8.0, " bit", "INT8 quantisation"),
    ):
        after, unchanged = gap(kind, strength), gap(kind, 0.0)
        found.append(
            Finding(
                f"Similarity stays high after {what} (encoder {name})",
                "figure 8",
                "high",
                shown(kind, unit),
                n,
                bench.holds(after >= HIGH * unchanged, name, after, unchanged),
                f"counted as high if {HIGH:g} of its distance from homologous models'"
                f" {rows[0]['homologous']:.2f} is left"
                + (f"; pruned: {useful:g} of the weights" if kind == "prune" else ""),
            )
        )
    last, middle = float(ITERATIONS[-1]), float(min(ITERATIONS, key=lambda i: abs(i - 120)))
    stages = [gap("adversarial", s) for s in (0.0, middle, last)]
    worse = at("adversarial", last, "accuracy") < at("adversarial", 0.0, "accuracy")
    found.append(
        Finding(
            "Adversarial training: similarity falls after 120 iterations and is lost at 270, with accuracy"
            f" lower too (encoder {name})",
            "figure 8",
            "lost at 270",
            shown("adversarial", ""),
            n,
            bench.holds(
                stages[1] >= HIGH * stages[0] and stages[2] < LOST * stages[0] and worse, name, *stages
            ),
            f"128 DeepFool examples each, SGD at {ADVERSARIAL.lr:g}; "
            f"high until {middle:g} if {HIGH:g} of that distance is left, lost under {LOST:g}",
        )
    )
    return found


def _int8_finding(rows: list[dict[str, Any]]) -> Finding:
    """INT8 models against their parents, on the same images."""
    before = {r["base"]: r["accuracy"] for r in rows if r["kind"] == "int8" and r["strength"] == 0}
    costs = [
        before[r["base"]] - r["accuracy"] for r in rows if r["kind"] == "int8" and r["strength"] == 8
    ] or [float("nan")]
    return Finding(
        "INT8 models are within .01 of their parents' accuracy",
        "not in the paper",
        "-",
        f"{sum(c <= 0.01 for c in costs)} of {len(costs)}; accuracy lost {spread(costs, '{:+.4f}')}",
        f"{len(costs)} piracy models",
        Holds.UNCLAIMED if np.isfinite(costs).all() else Holds.UNDECIDED,
        "convolutions and linear layers run in INT8 (torch.ops.quantized)",
    )


def _modification_picture(rows: list[dict[str, Any]], encoders: list[str]) -> bytes:
    def paint(axes: Any, kind: str) -> None:
        for name in encoders:
            mine = [r for r in rows if r["encoder"] == name and r["kind"] == kind]
            points = {
                s: [r["similarity"] for r in mine if r["strength"] == s]
                for s in sorted({r["strength"] for r in mine})
            }
            line(axes, points, f"similarity ({name})", COLOURS[name], MARKERS[name])
            axes.axhline(
                mine[0]["homologous"],
                color=COLOURS[name],
                linestyle=":",
                linewidth=1.2,
                label=f"homologous models ({name})",
            )
        mine = [r for r in rows if r["encoder"] == encoders[0] and r["kind"] == kind]
        points = {
            s: [r["accuracy"] for r in mine if r["strength"] == s]
            for s in sorted({r["strength"] for r in mine})
        }
        line(axes, points, "test accuracy", "#000000", "d", "--")
        xlabel = {"fine-tune": "epochs", "int8": "bits (0: unchanged)", "adversarial": "iterations"}
        axes.set(xlabel=xlabel.get(kind, "share set to zero"), ylim=(0, 1.03))

    return panels(list(dict.fromkeys(r["kind"] for r in rows)), paint)
