"""How the suspects were extracted: more seeds, labels instead of probabilities, more rounds; and how near
such copies come (table 4)."""

import dataclasses
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from zooaudit.config import ExtractConfig, Labels
from zooaudit.reporting.canvas import LOOKS
from zooaudit.reporting.paper_numbers import PAPER_ACCURACY
from zooaudit.seeds import derive
from zooaudit.storage.models import load_module
from zooaudit.studies.bench import Bench
from zooaudit.studies.cohort import Variant
from zooaudit.studies.outcome import Finding, Outcome, unclaimed
from zooaudit.studies.pictures import panels
from zooaudit.zoo.fit import agreement
from zooaudit.zoo.spec import Group, ModelSpec, Role

PER_CELL = 2
"""Models of each arm and architecture."""
SEED_SHARES = (0.2, 1.0)
"""Of the images that the thief could have: all that the victim was not trained on."""
LABELS: tuple[Labels, ...] = ("soft", "hard")
ROUNDS = (0, 2)
INDEPENDENT = "homologous, for comparison"


def arms(bench: Bench) -> dict[str, ExtractConfig]:
    """By name: seeds x labels x rounds, otherwise as the recipe's attack."""
    left = len(bench.dataset.train) - round(len(bench.dataset.train) * bench.recipe.zoo.data_fraction)
    sizes = [max(10, round(share * left)) for share in SEED_SHARES]
    chosen = (
        replace(bench.recipe.zoo.extraction, seed_size=size, labels=labels, rounds=rounds)
        for size in sizes
        for labels in LABELS
        for rounds in ROUNDS
    )
    return {f"{a.seed_size:,} seeds, {a.labels}, {a.rounds} rounds": a for a in chosen}


def extracted_models(bench: Bench) -> dict[ModelSpec, str]:
    """The arm of each: ``PER_CELL`` models an architecture, otherwise like the first piracy
    suspects of it."""
    found = {}
    for name, attack in arms(bench).items():
        for architecture in bench.recipe.zoo.architectures:
            like = [
                s for s in bench.zoo.plan.of(Role.PIRACY, Group.SUSPECT) if s.architecture == architecture
            ][:PER_CELL]
            for spec in like:
                seed = derive(spec.seed, "arm", name)
                found[
                    dataclasses.replace(spec, group=Group.STUDY, seed=seed, extraction=attack, floor=0.0)
                ] = name
    return found


def extractions(bench: Bench) -> Outcome:
    """Table 4 by arm: accuracies, recovery rate, agreement with the victim, and what each
    encoder makes of it."""
    wanted = extracted_models(bench)
    built = bench.built(list(wanted))
    cohort = bench.with_suspects(list(built))
    scores = {name: cohort.scores(Variant(encoder)) for name, encoder in bench.encoders.items()}
    rows: list[dict[str, Any]] = []
    for spec, record in built.items():
        rows.append(
            {
                "arm": wanted[spec],
                "architecture": spec.architecture,
                "model": spec.id,
                "accuracy": record.accuracy,
                "recovery_rate": record.recovery_rate,
                "queries": record.queries,
                "agreement": record.agreement,
                "agreement_on_errors": record.agreement_on_errors,
                **{f"similarity_{name}": float(s.by_spec[spec].mean()) for name, s in scores.items()},
            }
        )
    rows += _independent(bench, scores)
    return Outcome(rows, list(_findings(bench, rows)), {"extractions.svg": _picture(rows)}, bench.excluded)


def _independent(bench: Bench, scores: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Homologous suspects beside the arms: how much two models agree that have nothing to
    do with each other."""
    test = bench.dataset.test
    for architecture in bench.recipe.zoo.architectures:
        like = [s for s in bench.suspects if (s.role, s.architecture) == (Role.HOMOLOGOUS, architecture)][
            :PER_CELL
        ]
        for spec in like:
            model = load_module(bench.artifacts, spec.id).to(test.images.device)
            same, on_errors = agreement(model, bench.victim.module, test)
            yield {
                "arm": INDEPENDENT,
                "architecture": architecture,
                "model": spec.id,
                "accuracy": bench.zoo.records[spec.id].accuracy,
                "recovery_rate": None,
                "queries": 0,
                "agreement": same,
                "agreement_on_errors": on_errors,
                **{f"similarity_{name}": float(s.by_spec[spec].mean()) for name, s in scores.items()},
            }


def _findings(bench: Bench, rows: list[dict[str, Any]]) -> Iterator[Finding]:
    stated = PAPER_ACCURACY.get(bench.papers_dataset, {})
    for arm in dict.fromkeys(r["arm"] for r in rows):
        mine = [r for r in rows if r["arm"] == arm]
        architectures = dict.fromkeys(r["architecture"] for r in mine)
        by = {
            a: float(np.mean([r["accuracy"] for r in mine if r["architecture"] == a])) for a in architectures
        }
        off = [abs(by[a] - stated[a, Role.PIRACY]) for a in by if (a, Role.PIRACY) in stated]
        errors = [r["agreement_on_errors"] for r in mine if r["agreement_on_errors"] is not None]
        similar = ", ".join(
            f"{name} {np.mean([r[f'similarity_{name}'] for r in mine]):.3f}" for name in bench.encoders
        )
        yield unclaimed(
            f"How near copies come: {arm}",
            f"accuracy {', '.join(f'{a} {v:.3f}' for a, v in by.items())}; agreement"
            f" {np.mean([r['agreement'] for r in mine]):.3f}, where the victim errs"
            f" {np.mean(errors) if errors else np.nan:.3f}; similarity {similar}",
            f"{len(mine)} models",
            (
                f"off the paper's accuracies of piracy models by {np.mean(off):.3f}"
                if off and arm != INDEPENDENT
                else ""
            ),
        )


def _picture(rows: list[dict[str, Any]]) -> bytes:
    names = list(dict.fromkeys(r["arm"] for r in rows))

    def paint(axes: Any, what: str) -> None:
        for y, name in enumerate(names):
            values = [r[what] for r in rows if r["arm"] == name and r[what] is not None]
            look = LOOKS[Role.HOMOLOGOUS if name == INDEPENDENT else Role.PIRACY]
            axes.plot(values, [y] * len(values), look.marker, color=look.colour, alpha=0.6)
        axes.set_yticks(range(len(names)), names if what == "accuracy" else [""] * len(names), fontsize=8)
        axes.invert_yaxis()
        axes.set(xlabel=what.replace("_", " "))

    return panels(["accuracy", "agreement", "agreement_on_errors"], paint)
