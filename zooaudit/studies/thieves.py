"""What a thief may do: extract less well (figure 6c), or change the stolen model afterwards (figure 8)."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from zooaudit.config import ExtractConfig, ModifyConfig
from zooaudit.studies.bench import Bench
from zooaudit.studies.cohort import Scores, Variant
from zooaudit.studies.outcome import Finding, Holds, Outcome, spread
from zooaudit.studies.pictures import COLOURS, MARKERS, line, panels
from zooaudit.zoo.build import ModelRecord
from zooaudit.zoo.spec import Group, ModelSpec, Role
from zooaudit.zoo.variants import hardened, modified, weaker

SEED_SHARES = (0.002, 0.004, 0.01, 0.033, 0.25)
"""The weak attackers' seed sets, as shares of the recipe's."""
PER_SHARE = 24
INTERVALS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.01)
"""Of the recovery rate; equal width."""
EPOCHS = (1, 5, 20)
PRUNED = (0.2, 0.4, 0.6, 0.8, 0.9)
PRUNED_CHANNELS = (0.1, 0.2, 0.4)
ITERATIONS = tuple(range(30, 271, 30))
ADVERSARIAL = ModifyConfig("adversarial", 30, lr=0.05)
FINE_TUNED = ModifyConfig("fine-tune", 1, lr=0.01)


def weak_attack(recipe_attack: ExtractConfig, share: float) -> ExtractConfig:
    """The recipe's attack with a smaller seed set, one round, and more epochs on what little there is."""
    size = max(10, round(share * recipe_attack.seed_size))
    return ExtractConfig(
        recipe_attack.attack,
        recipe_attack.labels,
        size,
        1,
        5,
        10,
        recipe_attack.step_linf,
        recipe_attack.epsilon_linf,
        recipe_attack.augment,
    )


def poor_models(bench: Bench, shares: Sequence[float] = SEED_SHARES) -> list[ModelSpec]:
    """Piracy models of each weak attacker: ``PER_SHARE`` each, over the suspects' cells in turn."""
    bases = bench.zoo.plan.of(Role.PIRACY, Group.SUSPECT)
    step = max(1, bench.recipe.zoo.suspects_per_cell)
    cells = bases[::step]
    made = (
        weaker(cells[turn % len(cells)], weak_attack(bench.recipe.zoo.extraction, share), turn)
        for share in shares
        for turn in range(PER_SHARE)
    )
    return list(dict.fromkeys(made))  # two shares of a small seed set may be the same


def recovery_rates(bench: Bench) -> Outcome:
    """Figure 6c: detection of piracy models by recovery rate, in intervals of equal width."""
    poor = bench.built(poor_models(bench))
    cohort = bench.with_suspects(list(poor))
    rates = {s.id: r.recovery_rate for s, r in [*poor.items(), *((s, bench.zoo.records[s.id]) for s in bench.suspects)]}
    config = bench.recipe.verdict
    rows: list[dict[str, Any]] = []
    for name, encoder in bench.encoders.items():
        scores = cohort.scores(Variant(encoder))
        p = scores.p_values(config, bench.recipe.seed, Role.PIRACY)
        for spec, value in p.items():
            rows.append(
                {
                    "encoder": name,
                    "model": spec.id,
                    "recovery_rate": rates[spec.id],
                    "similarity": float(scores.by_spec[spec].mean()),
                    "p": value,
                    "detected": value < config.level,
                    "weak": spec.group is Group.STUDY,
                }
            )
    findings = [_recovery_finding(bench, name, [r for r in rows if r["encoder"] == name]) for name in bench.encoders]
    return Outcome(rows, findings, {"recovery.svg": _recovery_picture(bench, rows, cohort.scores)}, bench.excluded)


def _intervals(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found = {}
    for low, high in itertools.pairwise(INTERVALS):
        found[f"{low:.1f}-{min(high, 1):.1f}"] = [r for r in rows if low <= r["recovery_rate"] < high]
    return found


def _recovery_finding(bench: Bench, name: str, rows: list[dict[str, Any]]) -> Finding:
    by = {k: v for k, v in _intervals(rows).items() if v}
    shown = ", ".join(
        f"{k}: {np.mean([r['detected'] for r in v]):.0%} (similarity {np.mean([r['similarity'] for r in v]):.2f})" for k, v in by.items()
    )
    low = [r["detected"] for k, v in by.items() if k < "0.8" for r in v]
    return Finding(
        f"Piracy models are detected even at a low recovery rate (encoder {name})",
        "figure 6c",
        "detected",
        shown,
        ", ".join(f"{k}: {len(v)}" for k, v in by.items()) + " models",
        bench.holds(float(np.mean(low)) >= 0.9, name) if len(low) >= 5 else Holds.UNDECIDED,
        "share with p under the level; counted as reproduced if .9 of those that recover less than .8 are detected",
    )


def _recovery_picture(bench: Bench, rows: list[dict[str, Any]], scores_of: Any) -> bytes:
    def paint(axes: Any, name: str) -> None:
        mine = [r for r in rows if r["encoder"] == name]
        for detected, fill in ((True, "#d55e00"), (False, "white")):
            part = [r for r in mine if r["detected"] is detected]
            label = "detected" if detected else "not detected"
            x, y = [r["recovery_rate"] for r in part], [r["similarity"] for r in part]
            axes.plot(x, y, "^", color="#d55e00", markerfacecolor=fill, label=label, alpha=0.7, markersize=5)
        homologous: Scores = scores_of(Variant(bench.encoders[name])).of(Role.HOMOLOGOUS)
        axes.axhline(float(homologous.means.max()), color="#0072b2", linestyle="--", linewidth=1, label="highest homologous model")
        axes.set(xlabel="recovery rate", ylabel="similarity to the victim", ylim=(-0.02, 1.03))
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.06), ncols=3, columnspacing=1.0)

    return panels(list(bench.encoders), paint)


def modified_models(bench: Bench) -> list[ModelSpec]:
    """One piracy suspect of each architecture and optimiser after every modification and strength."""
    found: list[ModelSpec] = []
    for base in bases(bench):
        found += [modified(base, ModifyConfig("fine-tune", e, lr=FINE_TUNED.lr)) for e in EPOCHS]
        found += [modified(base, ModifyConfig("prune", share)) for share in PRUNED]
        found += [modified(base, ModifyConfig("prune-channels", share)) for share in PRUNED_CHANNELS]
        found.append(modified(base, ModifyConfig("int8", 8)))
        found += hardened(base, ITERATIONS, ADVERSARIAL)
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
    unchanged = {s: bench.zoo.records[s.id] for s in bases(bench)}
    rows: list[dict[str, Any]] = []
    for name, encoder in bench.encoders.items():
        scores = cohort.scores(Variant(encoder))
        p = scores.p_values(bench.recipe.verdict, bench.recipe.seed, Role.PIRACY)
        innocent = float(scores.of(Role.HOMOLOGOUS).means.max())
        kinds = dict.fromkeys(s.modification.kind for s in built if s.modification)
        for spec, record in built.items():
            assert spec.modification is not None
            rows.append(_row(name, spec.modification.kind, spec.modification.strength, record, scores, p, spec, innocent))
        for kind in kinds:
            rows += [_row(name, kind, 0.0, record, scores, p, spec, innocent) for spec, record in unchanged.items()]
    findings = [f for name in bench.encoders for f in _modification_findings(bench, name, [r for r in rows if r["encoder"] == name])]
    return Outcome(rows, findings, {"modifications.svg": _modification_picture(rows, list(bench.encoders))}, bench.excluded)


def _row(
    encoder: str,
    kind: str,
    strength: float,
    record: ModelRecord,
    scores: Scores,
    p: dict[ModelSpec, float],
    spec: ModelSpec,
    innocent: float,
) -> dict[str, Any]:
    score = float(scores.by_spec[spec].mean())
    return {
        "encoder": encoder,
        "kind": kind,
        "strength": float(strength),
        "model": spec.id,
        "accuracy": record.accuracy,
        "kept": 1.0 if strength == 0 else record.recovery_rate,
        "similarity": score,
        "p": p[spec],
        "above_innocent": score > innocent,
    }


HIGH = 0.8
"""Share of the unchanged models' similarity that counts as staying high."""


def _modification_findings(bench: Bench, name: str, rows: list[dict[str, Any]]) -> list[Finding]:
    def at(kind: str, strength: float, what: str = "similarity") -> float:
        return float(np.mean([r[what] for r in rows if r["kind"] == kind and r["strength"] == strength]))

    def shown(kind: str, unit: str) -> str:
        strengths = sorted({r["strength"] for r in rows if r["kind"] == kind})
        return ", ".join(f"{s:g}{unit}: {at(kind, s):.2f} (accuracy {at(kind, s, 'accuracy'):.3f})" for s in strengths)

    n, found = f"{len(bases(bench))} piracy models", []
    useful = max((s for s in PRUNED if at("prune", s, "kept") >= 0.95), default=0.0)
    for kind, strength, unit, what in (
        ("fine-tune", EPOCHS[-1], " epochs", "fine-tuning on test-set points"),
        ("prune", useful, "", "pruning that keeps .95 of the accuracy"),
        ("int8", 8, " bit", "INT8 quantisation"),
    ):
        found.append(
            Finding(
                f"Similarity stays high after {what} (encoder {name})",
                "figure 8",
                "high",
                shown(kind, unit),
                n,
                bench.holds(at(kind, strength) >= HIGH * at(kind, 0.0), name) if strength else Holds.UNDECIDED,
                f"counted as high if the mean keeps {HIGH:g} of that of the unchanged models"
                + (f"; pruned: {useful:g} of the weights" if kind == "prune" else ""),
            )
        )
    lost = [r["kept"] for r in rows if r["kind"] == "int8" and r["strength"] == 8]
    found.append(
        Finding(
            f"INT8 costs at most .01 of accuracy (encoder {name})",
            "section 6",
            "-",
            f"share of accuracy kept {spread(lost)}",
            n,
            Holds.of(min(lost) >= 0.985),
            "convolutions and linear layers run in INT8 (torch.ops.quantized)",
        )
    )
    last, middle = float(ITERATIONS[-1]), float(min(ITERATIONS, key=lambda i: abs(i - 120)))
    falls = at("adversarial", last) < at("adversarial", middle) < at("adversarial", 0.0)
    gone = at("adversarial", last) < 0.5 * at("adversarial", 0.0)
    found.append(
        Finding(
            f"Adversarial training: similarity falls after 120 iterations and is lost at 270, with accuracy lower too (encoder {name})",
            "figure 8",
            "lost at 270",
            shown("adversarial", ""),
            n,
            bench.holds(falls and gone and at("adversarial", last, "accuracy") < at("adversarial", 0.0, "accuracy"), name),
            f"128 DeepFool examples an iteration, SGD at {ADVERSARIAL.lr:g}; counted as lost under half",
        )
    )
    return found


def _modification_picture(rows: list[dict[str, Any]], encoders: list[str]) -> bytes:
    def paint(axes: Any, kind: str) -> None:
        for name in encoders:
            mine = [r for r in rows if r["encoder"] == name and r["kind"] == kind]
            points = {s: [r["similarity"] for r in mine if r["strength"] == s] for s in sorted({r["strength"] for r in mine})}
            line(axes, points, f"similarity ({name})", COLOURS[name], MARKERS[name])
        mine = [r for r in rows if r["encoder"] == encoders[0] and r["kind"] == kind]
        points = {s: [r["accuracy"] for r in mine if r["strength"] == s] for s in sorted({r["strength"] for r in mine})}
        line(axes, points, "test accuracy", "#000000", "d", "--")
        xlabel = {"fine-tune": "epochs", "int8": "bits (0: unchanged)", "adversarial": "iterations"}
        axes.set(xlabel=xlabel.get(kind, "share set to zero"), ylim=(0, 1.03))
        axes.legend(loc="lower left")

    return panels(list(dict.fromkeys(r["kind"] for r in rows)), paint)
