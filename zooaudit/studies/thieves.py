"""What a thief may do: extract less well (figure 6c), or change the stolen model afterwards (figure 8)."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from zooaudit.config import ExtractConfig, Modification, ModifyConfig
from zooaudit.studies.bench import Bench
from zooaudit.studies.cohort import Scores, Variant
from zooaudit.studies.outcome import Finding, Holds, Outcome
from zooaudit.studies.pictures import panels
from zooaudit.zoo.spec import Group, ModelSpec, Role
from zooaudit.zoo.variants import weaker

SEED_SHARES = (0.002, 0.004, 0.01, 0.033, 0.25)
"""The weak attackers' seed sets, as shares of the recipe's."""
PER_SHARE = 24
INTERVALS = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Bounds of the recovery rate: of equal width, and what lies under and above all."""
LOW = 0.8
"""Under this, recovery counts as low."""
EPOCHS = (1, 5, 20)
PRUNED = (0.2, 0.4, 0.6, 0.8, 0.9)
PRUNED_CHANNELS = (0.1, 0.2, 0.4)
ITERATIONS = tuple(range(30, 271, 30))
ADVERSARIAL = ModifyConfig("adversarial", 30, lr=0.05)
OF_PAPER: tuple[Modification, ...] = ("fine-tune", "prune", "prune-channels", "int8", "adversarial")


def weak_attack(recipe_attack: ExtractConfig, share: float) -> ExtractConfig:
    """The recipe's attack with a smaller seed set, one round, and more epochs on what little there is."""
    size = max(10, round(share * recipe_attack.seed_size))
    return replace(recipe_attack, seed_size=size, rounds=1, round_epochs=5, final_epochs=10)


def poor_models(bench: Bench, shares: Sequence[float] = SEED_SHARES) -> list[ModelSpec]:
    """Piracy models of each weak attacker: ``PER_SHARE`` each, over the suspects' cells in turn."""
    cells = bench.zoo.plan.of(Role.PIRACY, Group.SUSPECT)[:: bench.recipe.zoo.suspects_per_cell]
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
    rates = {
        s.id: r.recovery_rate
        for s, r in [*poor.items(), *((s, bench.zoo.records[s.id]) for s in bench.suspects)]
    }
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
    findings = [
        _recovery_finding(bench, name, [r for r in rows if r["encoder"] == name]) for name in bench.encoders
    ]
    return Outcome(
        rows, findings, {"recovery.svg": _recovery_picture(bench, rows, cohort.scores)}, bench.excluded
    )


def _intervals(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Rows by interval of the recovery rate, each row in one, ascending."""
    bounds = (0.0, *INTERVALS, np.inf)
    names = [
        f"{low:.1f}-{high:.1f}" if high < np.inf else f"{low:.1f}+"
        for low, high in itertools.pairwise(bounds)
    ]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for row in rows:
        found[names[int(np.searchsorted(INTERVALS, row["recovery_rate"], side="right"))]].append(row)
    return found


def _recovery_finding(bench: Bench, name: str, rows: list[dict[str, Any]]) -> Finding:
    by = {k: v for k, v in _intervals(rows).items() if v}
    shown = ", ".join(
        f"{k}: {np.mean([r['detected'] for r in v]):.0%} (similarity"
        f" {np.mean([r['similarity'] for r in v]):.2f})"
        for k, v in by.items()
    )
    low = [r["detected"] for r in rows if r["recovery_rate"] < LOW]
    return Finding(
        f"Piracy models are detected even at a low recovery rate (encoder {name})",
        "figure 6c",
        "detected",
        shown,
        ", ".join(f"{k}: {len(v)}" for k, v in by.items()) + " models",
        bench.holds(float(np.mean(low)) >= 0.9, name) if len(low) >= 5 else Holds.UNDECIDED,
        f"share with p under the level; counted as reproduced if .9 of those that recover less than {LOW:g}"
        " are detected",
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
        axes.axhline(
            float(homologous.means.max()),
            color="#0072b2",
            linestyle="--",
            linewidth=1,
            label="highest homologous model",
        )
        axes.set(xlabel="recovery rate", ylabel="similarity to the victim", ylim=(-0.02, 1.03))

    return panels(list(bench.encoders), paint)


HIGH = 0.8
"""Share of the unchanged models' similarity, beyond that of homologous models, that counts
as staying high."""


LOST = 0.5
