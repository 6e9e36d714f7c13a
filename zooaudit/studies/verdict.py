"""The verdict: every method against every family of innocent models, at the same number of queries, on models that none of them saw."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from zooaudit.fingerprint.access import LADDER
from zooaudit.reporting.canvas import rendered
from zooaudit.studies.bench import Bench
from zooaudit.studies.families import ALL, QUERIES, STOLEN, Contest, Fold, left_out
from zooaudit.studies.methods import SPECIFIC, Entry, entries, specific
from zooaudit.studies.outcome import Finding, Outcome, unclaimed
from zooaudit.verdict.metrics import auc, bootstrap_auc, tpr_at_fpr
from zooaudit.zoo.spec import ModelSpec


def verdict(bench: Bench) -> Outcome:
    """One table: method, access, queries, family; AUC with its interval over models, true positive rates, seconds."""
    contest = Contest(bench)
    rows = [row for entry in entries(contest, contest.folds) for row in table_rows(ALL, entry, contest.folds)]
    for protocol, folds in left_out(bench.recipe.zoo.architectures, contest.folds):
        tried = specific(contest, folds, (LADDER[0], LADDER[-1]), (QUERIES,))
        rows += [row for entry in tried for row in table_rows(protocol, entry, folds)]
    return Outcome(rows, findings(rows), {"verdict.svg": _heat(rows), "queries.svg": _curves(rows)}, bench.excluded)


def table_rows(protocol: str, entry: Entry, folds: Sequence[Fold]) -> Iterator[dict[str, Any]]:
    """A row for each family of innocent models, and one for all of them together."""
    names = dict.fromkeys(n for fold in folds for n in fold.tested if n != STOLEN)
    for family in (*names, ALL):
        tested = [(fold.tested[STOLEN], fold.negatives if family == ALL else fold.tested.get(family, ())) for fold in folds]
        sides = [([s[m] for m in stolen], [s[m] for m in free]) for s, (stolen, free) in zip(entry.scores, tested, strict=True) if free]
        if sides:
            yield {
                "protocol": protocol,
                "method": entry.method,
                "access": entry.access,
                "queries": entry.queries,
                "family": family,
                "auc": _mean(auc(p, n) for p, n in sides),
                "tpr_at_fpr01": _mean(tpr_at_fpr(p, n, 0.01) for p, n in sides),
                "tpr_at_fpr05": _mean(tpr_at_fpr(p, n, 0.05) for p, n in sides),
                "interval": _interval(sides, [free for _, free in tested if free]),
                "n_positive": len(sides[0][0]),
                "n_negative": round(np.mean([len(n) for _, n in sides])),
                "seconds": round(entry.seconds, 3),
            }


def _mean(values: Iterable[float | None]) -> float | None:
    """Over folds; None if there are too few models in any."""
    known = list(values)
    return None if None in known else float(np.mean([v for v in known if v is not None]))


def _interval(sides: list[tuple[list[float], list[float]]], free: list[Sequence[ModelSpec]]) -> list[float]:
    numbers: dict[str, int] = {}
    kin_of = [np.array([numbers.setdefault(m.kin, len(numbers)) for m in models]) for models in free]
    return list(bootstrap_auc([(np.array(p), np.array(n), k) for (p, n), k in zip(sides, kin_of, strict=True)]))


def findings(rows: Sequence[dict[str, Any]]) -> list[Finding]:
    """What `specific` was built to reach, against every family and against other methods of the same access."""
    found = []
    for access in ("probabilities", "label"):
        mine = [r for r in rows if r["protocol"] == ALL and r["method"] == SPECIFIC and r["access"] == access]
        part = [r for r in mine if r["queries"] == max(q["queries"] for q in mine)]
        worst, whole = min((r for r in part if r["family"] != ALL), key=lambda r: r["auc"]), part[-1]
        n = f"one victim; {whole['n_positive']} piracy models, {whole['n_negative']} innocent, means over folds"
        rate = "-" if whole["tpr_at_fpr01"] is None else f"{whole['tpr_at_fpr01']:.3f}"
        shown = "; ".join(f"{r['family']} {r['auc']:.3f}" for r in part) + f"; least {worst['auc']:.3f} ({worst['family']})"
        told = f"AUC with {whole['queries']} queries; TPR at 1 % FPR against all: {rate}"
        claim = f"`specific` tells the victim's copies from every family of innocent models ({access})"
        found.append(unclaimed(claim, shown, n, told))
        ahead, behind = _beside(rows, part, access)
        shown = "; ".join(ahead) + ("; behind: " + "; ".join(behind) if behind else "")
        told = "the best other method that is told as much or less, at whatever number of queries it asks"
        found.append(unclaimed(f"`specific` is not behind any other method ({access})", shown, n, told))
    return found


def _beside(rows: Sequence[dict[str, Any]], part: Sequence[dict[str, Any]], access: str) -> tuple[list[str], list[str]]:
    """Families on which the rows of ``part`` are at least as good as every other method, and the rest, each with the best other."""
    ahead: list[str] = []
    behind: list[str] = []
    others = [r for r in rows if r["protocol"] == ALL and not r["method"].startswith(SPECIFIC)]
    for row in part:
        rivals = [r for r in others if r["family"] == row["family"] and r["access"] in ("label", access)]
        if rivals:
            best = max(rivals, key=lambda r: r["auc"])
            side = ahead if row["auc"] >= best["auc"] else behind
            side.append(f"{row['family']}: {row['auc']:.3f}, {best['method']} {best['auc']:.3f}")
    return ahead, behind


def _heat(rows: Sequence[dict[str, Any]]) -> bytes:
    """Methods by families, AUC as colour and number."""
    most = max(r["queries"] for r in rows if r["method"] == SPECIFIC)
    shown = [r for r in rows if r["protocol"] == ALL and (r["queries"] >= most or not r["method"].startswith(SPECIFIC))]
    families = list(dict.fromkeys(r["family"] for r in shown))
    names = list(dict.fromkeys((r["method"], r["access"], r["queries"]) for r in shown))
    found = {((r["method"], r["access"], r["queries"]), r["family"]): r["auc"] for r in shown}
    grid = np.array([[found.get((name, family), np.nan) for family in families] for name in names])

    def paint(axes: Any) -> None:
        axes.grid(False)
        axes.imshow(grid, cmap="cividis", vmin=0.4, vmax=1, aspect="auto")
        for (y, x), value in np.ndenumerate(grid):
            axes.text(x, y, f"{value:.3f}", ha="center", va="center", fontsize=8, color="black" if value > 0.75 else "white")
        axes.set_xticks(range(len(families)), families, rotation=25, ha="right", fontsize=8)
        axes.set_yticks(range(len(names)), [f"{m} ({a}, {q:,})" for m, a, q in names], fontsize=8)
        axes.set_title("AUC of piracy models against each family (access, queries)", fontsize=10, loc="left")

    return rendered(paint, width=8.4, height=0.8 + 0.27 * len(names))


def _curves(rows: Sequence[dict[str, Any]]) -> bytes:
    """AUC and TPR against queries, a line for each rung of the access ladder."""
    mine = [r for r in rows if r["protocol"] == ALL and r["method"] == SPECIFIC and r["family"] == ALL]

    def paint(axes: Any) -> None:
        for one, (what, label) in zip(axes, (("auc", "AUC"), ("tpr_at_fpr01", "TPR at 1 % FPR")), strict=True):
            for access in dict.fromkeys(r["access"] for r in mine):
                part = sorted((r["queries"], np.nan if r[what] is None else r[what]) for r in mine if r["access"] == access)
                one.plot(*zip(*part, strict=True), marker="o", markersize=4, label=access)
            one.set(xlabel="queries", ylabel=f"{label}, against all innocent models", xscale="log", ylim=(None, 1.005))
            counts = sorted({r["queries"] for r in mine})
            one.set_xticks(counts, [str(q) for q in counts])
            one.minorticks_off()
        axes[0].legend(fontsize=7, loc="best")

    return rendered(paint, width=8.4, height=3.4, panels=(1, 2))
