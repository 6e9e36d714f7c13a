"""The verdict: every method against every family of innocent models, at the same number of queries, on models that none of them saw."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from zooaudit.fingerprint.access import LADDER
from zooaudit.reporting.canvas import rendered
from zooaudit.studies.bench import Bench
from zooaudit.studies.families import ALL, STOLEN, Contest, Fold, left_out
from zooaudit.studies.methods import QUERIES, SPECIFIC, Entry, entries, specific
from zooaudit.studies.outcome import Finding, Holds, Outcome
from zooaudit.verdict.metrics import auc, bootstrap_auc, tpr_at_fpr


def verdict(bench: Bench) -> Outcome:
    """One table: method, access, queries, family; AUC with its interval over models, true positive rates, seconds."""
    contest = Contest(bench)
    rows = [row for entry in entries(contest, contest.folds) for row in table_rows(ALL, entry, contest.folds)]
    for protocol, folds in left_out(bench, contest.folds):
        tried = [e for e in specific(contest, folds, (LADDER[0], LADDER[-1]), (QUERIES,)) if e.method == SPECIFIC]
        rows += [row for entry in tried for row in table_rows(protocol, entry, folds)]
    return Outcome(rows, findings(rows), {"verdict.svg": _heat(rows), "queries.svg": _curves(rows)}, bench.excluded)


def table_rows(protocol: str, entry: Entry, folds: Sequence[Fold]) -> Iterator[dict[str, Any]]:
    """A row for each family of innocent models, and one for all of them together."""
    names = dict.fromkeys(n for fold in folds for n in fold.tested if n != STOLEN)
    for family in (*names, ALL):
        pairs = []
        for scores, fold in zip(entry.scores, folds, strict=True):
            innocent = fold.negatives if family == ALL else fold.tested.get(family, ())
            pairs.append(([scores[s] for s in fold.tested.get(STOLEN, ())], [scores[s] for s in innocent]))
        pairs = [(p, n) for p, n in pairs if p and n]
        if pairs:
            yield {
                "protocol": protocol,
                "method": entry.method,
                "access": entry.access,
                "queries": entry.queries,
                "family": family,
                "auc": _mean(auc(p, n) for p, n in pairs),
                "tpr_at_fpr01": _mean(tpr_at_fpr(p, n, 0.01) for p, n in pairs),
                "tpr_at_fpr05": _mean(tpr_at_fpr(p, n, 0.05) for p, n in pairs),
                "interval": _interval(pairs),
                "n_positive": len(pairs[0][0]),
                "n_negative": round(np.mean([len(n) for _, n in pairs])),
                "seconds": round(entry.seconds, 3),
            }


def _mean(values: Any) -> float:
    return float(np.mean([v for v in values if v is not None]))


def _interval(pairs: list[tuple[list[float], list[float]]]) -> list[float]:
    """Over models: the same models drawn in every fold where they are the same, each fold's own where they differ."""
    if len({len(n) for _, n in pairs}) == 1:
        return list(bootstrap_auc(np.array([p for p, _ in pairs]), np.array([n for _, n in pairs])))
    return list(np.mean([bootstrap_auc(np.array([p]), np.array([n])) for p, n in pairs], axis=0).tolist())


def findings(rows: Sequence[dict[str, Any]]) -> list[Finding]:
    """What `specific` was built to reach, against every family and against other methods."""
    whole = [r for r in rows if r["protocol"] == ALL and r["queries"] == QUERIES and r["method"] == SPECIFIC]
    by = {a: [r for r in whole if r["access"] == a] for a in ("probabilities", "label")}
    n = {r["family"]: f"{r['n_positive']} piracy models, {r['n_negative']} innocent" for r in whole}
    worst = {a: min((r for r in part if r["family"] != ALL), key=lambda r: r["auc"]) for a, part in by.items()}
    found = [
        Finding(
            f"`specific` tells the victim's copies from every family of innocent models ({access})",
            "not in the paper",
            "-",
            "; ".join(f"{r['family']} {r['auc']:.3f}" for r in part) + f"; least {worst[access]['auc']:.3f} ({worst[access]['family']})",
            n[ALL],
            Holds.UNCLAIMED,
            f"AUC with {QUERIES} queries; TPR at 1 % FPR against all: {part[-1]['tpr_at_fpr01']:.3f}",
        )
        for access, part in by.items()
    ]
    ahead: list[str] = []
    behind: list[str] = []
    for row in by["probabilities"]:
        rivals = [r for r in rows if r["protocol"] == ALL and r["family"] == row["family"] and not r["method"].startswith(SPECIFIC)]
        best = max(rivals, key=lambda r: r["auc"])
        (ahead if row["auc"] >= best["auc"] else behind).append(f"{row['family']}: {row['auc']:.3f}, {best['method']} {best['auc']:.3f}")
    shown = "; ".join(ahead) + ("; behind: " + "; ".join(behind) if behind else "")
    found.append(
        Finding(
            "`specific` is ahead of every other method on every family", "not in the paper", "-", shown, n[ALL], Holds.UNCLAIMED,
            "the best other method at whatever number of queries it asks",
        )
    )  # fmt: skip
    return found


def _heat(rows: Sequence[dict[str, Any]]) -> bytes:
    """Methods by families, AUC as colour and number."""
    shown = [r for r in rows if r["protocol"] == ALL and (r["queries"] >= QUERIES or not r["method"].startswith(SPECIFIC))]
    families = list(dict.fromkeys(r["family"] for r in shown))
    names = list(dict.fromkeys((r["method"], r["access"], r["queries"]) for r in shown))
    found = {((r["method"], r["access"], r["queries"]), r["family"]): r["auc"] for r in shown}
    grid = np.array([[found.get((name, family), np.nan) for family in families] for name in names])

    def paint(axes: Any) -> None:
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
                part = sorted((r["queries"], r[what]) for r in mine if r["access"] == access)
                one.plot(*zip(*part, strict=True), marker="o", markersize=4, label=access)
            one.set(xlabel="queries", ylabel=f"{label}, against all innocent models", xscale="log", ylim=(None, 1.005))
            counts = sorted({r["queries"] for r in mine})
            one.set_xticks(counts, [str(q) for q in counts])
            one.minorticks_off()
        axes[0].legend(fontsize=8, loc="lower right")

    return rendered(paint, width=8.4, height=3.4, panels=(1, 2))
