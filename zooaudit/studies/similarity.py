"""Tables 2 and 3, figure 5 and the AUC of section 5: how similar piracy and homologous
models are to the victim, cell by cell."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from zooaudit.reporting.canvas import LOOKS
from zooaudit.studies.bench import FAMILIES, Bench
from zooaudit.studies.cohort import Variant
from zooaudit.studies.outcome import Finding, Holds, Outcome, spread, unclaimed
from zooaudit.studies.pictures import panels
from zooaudit.zoo.spec import Role

DRAWS = range(5)
SHOWN = {
    "fashion-mnist": ".88/.04 to .999/.00001",
    "cifar10": ".9945/.0476 to .99/.2984",
    "tiny-imagenet": ".7463/.25 to .728/.2404",
}
"""Mean similarities of piracy and homologous models in the paper."""
STATED = {"fashion-mnist": (0.88, 0.04), "cifar10": (0.99, 0.2984), "tiny-imagenet": (0.728, 0.2943)}
"""Its least for piracy models and its greatest for homologous ones."""
PAPER_AUC = {"fashion-mnist": 1.0, "cifar10": 1.0, "tiny-imagenet": 0.98}


def tables(bench: Bench) -> Outcome:
    """Tables 2 and 3: mean, standard deviation and p of each architecture and optimiser, by each encoder."""
    rows = [row for name in bench.encoders for row in _cells(bench, name)]
    findings = [
        f
        for name in bench.encoders
        for f in _table_findings(bench, name, [r for r in rows if r["encoder"] == name])
    ]
    return Outcome(
        rows, findings, {"similarity-tables.svg": _picture(rows, list(bench.encoders))}, bench.excluded
    )


def _cells(bench: Bench, name: str) -> Iterator[dict[str, Any]]:
    scores = bench.cohort.scores(Variant(bench.encoders[name]))
    zoo = bench.recipe.zoo
    for role in FAMILIES:
        p, of_cell = (
            scores.p_values(bench.recipe.verdict, bench.recipe.seed, role, alone) for alone in (False, True)
        )
        for architecture in zoo.architectures:
            for optimiser in zoo.optimisers:
                cell = scores.of(role).where(architecture=architecture, optimiser=optimiser)
                if not len(cell.means):
                    continue
                values = [p[s] for s in cell.by_spec]
                yield {
                    "encoder": name,
                    "role": str(role),
                    "architecture": architecture,
                    "optimiser": optimiser,
                    "models": len(cell.means),
                    "similarity": float(cell.means.mean()),
                    "std": float(cell.views.std()),
                    "mean_p": float(np.mean(values)),
                    "mean_p_of_cell": float(np.mean([of_cell[s] for s in cell.by_spec])),
                    "least_p": min(values),
                    "greatest_p": max(values),
                    "detected": sum(v < bench.recipe.verdict.level for v in values),
                }


def _table_findings(bench: Bench, name: str, rows: list[dict[str, Any]]) -> list[Finding]:
    stolen, independent = ([r for r in rows if r["role"] == role] for role in ("piracy", "homologous"))
    cells = len(bench.recipe.zoo.architectures) * len(bench.recipe.zoo.optimisers)
    n = (
        f"{sum(r['models'] for r in stolen)} + {sum(r['models'] for r in independent)} models in {cells}"
        " cells"
    )
    of_both = {(r["architecture"], r["optimiser"]): r["similarity"] for r in independent}
    gaps = {
        c: r["similarity"] - of_both[c]
        for r in stolen
        if (c := (r["architecture"], r["optimiser"])) in of_both
    }
    # A cell without models leaves a claim about every cell open.
    complete = 0.0 if len(gaps) == cells else np.nan
    worst = min(gaps, key=lambda c: gaps[c])
    found = [
        Finding(
            "Piracy models are far more similar to the victim than homologous ones, in every cell (encoder"
            f" {name})",
            "tables 2, 3",
            SHOWN.get(bench.papers_dataset, "far more similar"),
            f"piracy {spread([r['similarity'] for r in stolen])}, homologous"
            f" {spread([r['similarity'] for r in independent])}; least gap {gaps[worst]:.3f}"
            f" ({', '.join(worst)})",
            n,
            Holds.of(gaps[worst] > 0.4, complete),
            "counted as reproduced if the gap is over .4 in every cell",
        )
    ]
    if stated := STATED.get(bench.papers_dataset):
        low, high = stated
        least, most = min(r["similarity"] for r in stolen), max(r["similarity"] for r in independent)
        found += [
            Finding(
                f"Every piracy cell's mean similarity is at least {low:g} (encoder {name})",
                "tables 2, 3",
                f">= {low:g}",
                f"least {least:.3f}",
                n,
                Holds.of(least >= low, complete),
            ),
            Finding(
                f"Every homologous cell's mean similarity is at most {high:g} (encoder {name})",
                "tables 2, 3",
                f"<= {high:g}",
                f"greatest {most:.3f}",
                n,
                Holds.of(most <= high, complete),
            ),
        ]
    return found + (
        _p_findings(name, stolen, independent, n) if bench.dataset.name == "fashion-mnist" else []
    )


def _p_findings(
    name: str, stolen: list[dict[str, Any]], independent: list[dict[str, Any]], n: str
) -> list[Finding]:
    """Against the homologous models of the same cell, as the paper's tables are laid out; what all of them
    give stands beside it."""
    found = []
    for claim, stated, rows, holds in (
        ("p of every piracy cell is under 1e-15", "< 1e-15", stolen, lambda p: max(p) < 1e-15),
        ("p of every homologous cell is over .56", "> .56", independent, lambda p: min(p) > 0.56),
    ):
        of_cell, of_all = ([r[k] for r in rows] for k in ("mean_p_of_cell", "mean_p"))
        found.append(
            Finding(
                f"{claim} (encoder {name})",
                "tables 2, 3",
                stated,
                f"mean p {spread(of_cell, '{:.1e}')}; against homologous models of all cells"
                f" {spread(of_all, '{:.1e}')}",
                n,
                Holds.of(holds(of_cell), *of_cell),
                "against homologous models of the same cell; a t-test over views: docs/statistics.md says why"
                " such p are no error rates",
            )
        )
    return found


def _picture(rows: list[dict[str, Any]], encoders: list[str]) -> bytes:
    def paint(axes: Any, name: str) -> None:
        mine = [r for r in rows if r["encoder"] == name]
        cells = list(
            dict.fromkeys((r["architecture"], r["optimiser"]) for r in mine if r["role"] == "piracy")
        )
        for role in FAMILIES:
            by_cell = {(r["architecture"], r["optimiser"]): r for r in mine if r["role"] == str(role)}
            at = [i for i, c in enumerate(cells) if c in by_cell]
            look = LOOKS[role]
            axes.errorbar(
                [by_cell[cells[i]]["similarity"] for i in at],
                at,
                xerr=[by_cell[cells[i]]["std"] for i in at],
                fmt=look.marker,
                color=look.colour,
                label=str(role),
                linestyle="none",
                elinewidth=1,
            )
        axes.set_yticks(range(len(cells)), [f"{a} {o}" for a, o in cells])
        axes.set(xlabel="mean similarity (bar: std over views)", xlim=(-0.12, 1.12))
        axes.invert_yaxis()

    return panels(encoders, paint, height=0.28 * len(rows) / len(encoders) / 2 + 2.2)


def ranking(bench: Bench) -> Outcome:
    """AUC of piracy models against homologous ones and look-alikes, over several starts of
    each encoder (section 5.3)."""
    rows: list[dict[str, Any]] = []
    for name, config in bench.encoders.items():
        for draw in DRAWS:
            scores = bench.cohort.scores(Variant(config, draw=draw))
            values = {str(r): scores.auc(r) for r in (Role.HOMOLOGOUS, Role.LOOK_ALIKE)}
            rows.append(
                {"encoder": name, "draw": draw, "gap": scores.gap}
                | {f"auc_{k}".replace("-", "_"): v for k, v in values.items()}
            )
    findings = []
    stated = PAPER_AUC.get(bench.papers_dataset, 1.0)
    n = f"{len(DRAWS)} encoders; {_counts(bench)}"
    for name in bench.encoders:
        mine = [r for r in rows if r["encoder"] == name]
        against = [r["auc_homologous"] for r in mine]
        findings.append(
            Finding(
                f"AUC of piracy against homologous models (encoder {name})",
                "section 5.3",
                f"{stated:g}",
                spread(against),
                n,
                Holds.of(float(np.median(against)) >= stated - 0.01),
                "counted as reproduced if the median is within .01",
            )
        )
        others = [r["auc_look_alike"] for r in mine if r["auc_look_alike"] is not None]
        if others:
            findings.append(
                unclaimed(
                    "Models extracted from somebody else's victim are told from piracy models (encoder"
                    f" {name})",
                    f"AUC {spread(others)}",
                    n,
                    ".5 is a coin toss, 1 would be an encoder that knows whose answers were copied",
                )
            )
    return Outcome(rows, findings, {"auc.svg": _auc_picture(rows, list(bench.encoders))}, bench.excluded)


def _counts(bench: Bench) -> str:
    counted = {r: sum(s.role is r for s in bench.suspects) for r in FAMILIES}
    return ", ".join(f"{n} {r}" for r, n in counted.items())


def _auc_picture(rows: list[dict[str, Any]], encoders: list[str]) -> bytes:
    def paint(axes: Any, name: str) -> None:
        for x, (family, role) in enumerate(
            (("auc_homologous", Role.HOMOLOGOUS), ("auc_look_alike", Role.LOOK_ALIKE))
        ):
            values = [r[family] for r in rows if r["encoder"] == name and r[family] is not None]
            axes.plot([x] * len(values), values, LOOKS[role].marker, color=LOOKS[role].colour, alpha=0.7)
        axes.set_xticks([0, 1], ["homologous", "look-alike"])
        axes.set(ylabel="AUC, one mark a start of the encoder", ylim=(0, 1.03), xlim=(-0.5, 1.5))

    return panels(encoders, paint)
