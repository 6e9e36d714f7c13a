"""What the answers that are there tell when less of them is used: figures 6a (N), 6b
(top-k), 10 (views), 11 (no contrastive loss), and how many fingerprints a decision takes.
None of these asks a suspect or trains a zoo model."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from zooaudit.config import EncoderConfig
from zooaudit.reporting.canvas import LOOKS
from zooaudit.studies.bench import DRAWS, FAMILIES, Bench
from zooaudit.studies.cohort import Variant
from zooaudit.studies.outcome import Finding, Holds, Outcome, spread
from zooaudit.studies.pictures import COLOURS, MARKERS, line, panels
from zooaudit.zoo.spec import Role

STEPS = 10
PLATEAU = 70
LEVEL = 0.1
"""A gap is level while it stays within this share of itself."""
TOP_K = (0, 1, 2, 3, 5)
WHAT = {"gap": "piracy less homologous similarity", "auc": "AUC against homologous"}
FINGERPRINTS = (2, 3, 5, 8, 10, 15, 20)


def measured(bench: Bench, variants: dict[float, Variant]) -> list[dict[str, Any]]:
    """Gap and AUC of each variant, over ``DRAWS``; one row a variant and draw."""
    rows: list[dict[str, Any]] = []
    for x, variant in variants.items():
        for draw in DRAWS:
            scores = bench.cohort.scores(replace(variant, draw=draw))
            rows.append(
                {
                    "encoder": variant.encoder.name,
                    "x": float(x),
                    "draw": draw,
                    "gap": scores.gap,
                    "auc": scores.auc(Role.HOMOLOGOUS),
                    "piracy": float(scores.of(Role.PIRACY).means.mean()),
                    "homologous": float(scores.of(Role.HOMOLOGOUS).means.mean()),
                }
            )
    return rows


def datapoints(bench: Bench) -> Outcome:
    """Figure 6a: N from a tenth of the datapoints to all of them."""
    every = bench.recipe.fingerprint.points
    counts = sorted({max(1, round(every * i / STEPS)) for i in range(1, STEPS + 1)})
    rows = _each(bench, lambda encoder: {n: Variant(encoder, points=n) for n in counts})
    plateau = min(counts, key=lambda n: abs(n - every * PLATEAU / 100))

    def finding(name: str) -> Finding:
        gaps = {n: _median(rows, name, n, "gap") for n in counts}
        shown = ", ".join(
            f"N={n}: {gaps[n]:.3f}" for n in (counts[0], counts[len(counts) // 2], plateau, every)
        )
        off = [n for n in counts if abs(gaps[n] - gaps[every]) > LEVEL * abs(gaps[every])]
        first = next(n for n in counts if n > max(off, default=0))
        return Finding(
            f"The gap between piracy and homologous similarity is level from N = {plateau} on (encoder"
            f" {name})",
            "figure 6a",
            "plateau at 70",
            f"level from N={first} on; gap {shown}; AUC"
            f" {spread([r['auc'] for r in rows if r['encoder'] == name])}",
            _n(bench, rows, name),
            bench.holds(first <= plateau, name),
            f"counted as level if within {LEVEL:.0%} of that at all datapoints; fewer are a random part of"
            " them, not clusters anew",
        )

    return _outcome(bench, rows, finding, "datapoints", "datapoints N in a fingerprint")


def classes_told(bench: Bench) -> Outcome:
    """Figure 6b: suspects that tell only their k likeliest classes, or (k = 0) no more than a label."""
    ks = sorted({*(min(k, bench.dataset.num_classes) for k in TOP_K), bench.dataset.num_classes})
    rows = _each(bench, lambda encoder: {k: Variant(encoder, top_k=k) for k in ks})

    def finding(name: str) -> Finding:
        gaps = {k: _median(rows, name, k, "gap") for k in ks}
        aucs = {k: _median(rows, name, k, "auc") for k in ks}
        stays = gaps[1] >= 0.5 * gaps[ks[-1]]
        stable = all(abs(gaps[k] - gaps[ks[-1]]) <= LEVEL * abs(gaps[ks[-1]]) for k in ks if k >= 3)
        shown = ", ".join(f"{'label' if k == 0 else f'k={k}'}: {gaps[k]:.3f} (AUC {aucs[k]:.3f})" for k in ks)
        return Finding(
            f"The gap stays with the likeliest class alone, and is stable from k = 3 (encoder {name})",
            "figure 6b",
            "stays, stable by 3",
            shown,
            _n(bench, rows, name),
            bench.holds(stays and stable, name),
            f"counted as staying if half of it does, as stable within {LEVEL:.0%}",
        )

    return _outcome(bench, rows, finding, "top-k", "classes shown (0: the label alone)")


def no_contrastive_loss(bench: Bench) -> Outcome:
    """Figure 11: the same network trained as an autoencoder, without labels."""
    plain = replace(bench.recipe.paper_encoder, name="autoencoder")
    rows = _each(bench, lambda encoder: {0: Variant(encoder)}, [plain, *bench.encoders.values()])
    finding = Finding(
        "An encoder trained without the contrastive loss separates worse",
        "figure 11 (app. C.1)",
        "worse",
        "; ".join(
            f"{name}: gap {spread(_values(rows, name, 0, 'gap'))}, AUC"
            f" {spread(_values(rows, name, 0, 'auc'))}"
            for name in _names(rows)
        ),
        _n(bench, rows, "paper"),
        bench.holds(
            _median(rows, "autoencoder", 0, "gap") < _median(rows, "paper", 0, "gap")
            and _median(rows, "autoencoder", 0, "auc") <= _median(rows, "paper", 0, "auc"),
            "paper",
        ),
        "reconstruction of the fingerprint through the same layers; worse if the median gap is smaller and"
        " the median AUC no larger",
    )

    def paint(axes: Any, title: str) -> None:
        for x, name in enumerate(_names(rows)):
            values = _values(rows, name, 0, title)
            axes.plot([x] * len(values), values, MARKERS[name], color=COLOURS[name])
        axes.set_xticks(range(len(_names(rows))), _names(rows))
        axes.set(ylim=(-0.1, 1.03), ylabel=WHAT[title], xlim=(-0.5, len(_names(rows)) - 0.5))

    return Outcome(rows, [finding], {"autoencoder.svg": panels(["gap", "auc"], paint)}, bench.excluded)


def fingerprints_needed(bench: Bench) -> Outcome:
    """Section 5.2: how many fingerprints of a suspect a decision at the recipe's level
    takes, and whom it accuses."""
    config = bench.recipe.verdict
    rows: list[dict[str, Any]] = []
    for name, encoder in bench.encoders.items():
        scores = bench.cohort.scores(Variant(encoder))
        for count in (c for c in FINGERPRINTS if c <= bench.recipe.fingerprint.views):
            row: dict[str, Any] = {"encoder": name, "x": float(count)}
            for role in FAMILIES:
                p = scores.p_values(replace(config, fingerprints=count), bench.recipe.seed, role)
                row[str(role)] = float(np.mean([v < config.level for v in p.values()])) if p else None
            rows.append(row)
    most = max(r["x"] for r in rows)
    findings = []
    for name in bench.encoders:
        at = next(r for r in rows if r["encoder"] == name and r["x"] == most)
        n = ", ".join(f"{sum(s.role is r for s in bench.suspects)} {r}" for r in FAMILIES)
        accused = "; ".join(
            f"{r} {at[str(r)]:.0%}" for r in (Role.HOMOLOGOUS, Role.LOOK_ALIKE) if at[str(r)] is not None
        )
        findings += [
            Finding(
                f"All piracy models are detected at level {config.level:g} with {most:g} fingerprints"
                f" (encoder {name})",
                "section 5.2",
                "100 %",
                f"{at['piracy']:.1%}",
                n,
                Holds.of(at["piracy"] == 1),
                f"the same test also accuses innocents: {accused}",
            ),
            Finding(
                f"No homologous model is accused by that test (encoder {name})",
                "section 5.2",
                "none (every p > .56)",
                f"{at['homologous']:.1%}",
                n,
                Holds.of(at["homologous"] == 0),
                "views are not replicates: docs/statistics.md",
            ),
        ]

    def paint(axes: Any, name: str) -> None:
        mine = [r for r in rows if r["encoder"] == name]
        for role in FAMILIES:
            entries = [(r["x"], r[str(role)]) for r in mine if r[str(role)] is not None]
            look = LOOKS[role]
            axes.plot(
                [x for x, _ in entries],
                [y for _, y in entries],
                look.line,
                marker=look.marker,
                color=look.colour,
                label=str(role),
            )
        axes.set(xlabel="fingerprints of the suspect", ylabel="share called piracy", ylim=(-0.03, 1.03))

    return Outcome(rows, findings, {"detection.svg": panels(list(bench.encoders), paint)}, bench.excluded)


def _each(
    bench: Bench,
    variants: Callable[[EncoderConfig], dict[float, Variant]],
    encoders: Sequence[EncoderConfig] | None = None,
) -> list[dict[str, Any]]:
    chosen = list(bench.encoders.values()) if encoders is None else encoders
    return [row for encoder in chosen for row in measured(bench, variants(encoder))]


def _names(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(r["encoder"] for r in rows))


def _values(rows: list[dict[str, Any]], name: str, x: float, what: str) -> list[float]:
    return [r[what] for r in rows if r["encoder"] == name and r["x"] == x]


def _median(rows: list[dict[str, Any]], name: str, x: float, what: str) -> float:
    return float(np.median(_values(rows, name, x, what)))


def _n(bench: Bench, rows: list[dict[str, Any]], name: str) -> str:
    draws = len({r["draw"] for r in rows if r["encoder"] == name})
    counts = " + ".join(str(sum(s.role is r for s in bench.suspects)) for r in (Role.PIRACY, Role.HOMOLOGOUS))
    return f"{counts} models, {draws} encoders each"


def _outcome(
    bench: Bench, rows: list[dict[str, Any]], finding: Callable[[str], Finding], name: str, xlabel: str
) -> Outcome:
    def paint(axes: Any, what: str) -> None:
        for encoder in _names(rows):
            points = {x: _values(rows, encoder, x, what) for x in sorted({r["x"] for r in rows})}
            line(axes, points, encoder, COLOURS[encoder], MARKERS[encoder])
        axes.set(xlabel=xlabel, ylabel=WHAT[what], ylim=(-0.1, 1.03))

    return Outcome(
        rows,
        [finding(e) for e in _names(rows)],
        {f"{name}.svg": panels(["gap", "auc"], paint)},
        bench.excluded,
    )
