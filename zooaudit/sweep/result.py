"""A sweep's end: one table and one picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from zooaudit.reporting.canvas import rendered
from zooaudit.sweep.space import Trial, Value

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#777777")
MARKERS = "osD^vPX*"


@dataclass(frozen=True)
class Row:
    """One trial and what it found; ``error`` instead if it could not."""

    trial: Trial
    metrics: Mapping[str, Any]
    error: str = ""


def table(rows: Sequence[Row]) -> pa.Table:
    """One row a trial: a column an axis (text where values are mixed), a column a metric, and the error."""
    names = list(rows[0].trial)
    mixed = {n for n in names if len({type(r.trial[n]) for r in rows}) > 1}
    axes = {n: [str(r.trial[n]) if n in mixed else r.trial[n] for r in rows] for n in names}
    metrics = list(dict.fromkeys(m for r in rows for m in r.metrics))
    return pa.table(
        axes | {m: [r.metrics.get(m) for r in rows] for m in metrics} | {"error": [r.error for r in rows]}
    )


def best(rows: Sequence[Row], metric: str) -> Row | None:
    """The trial with the highest metric; the first of equals; None if none has it."""
    able = [r for r in rows if r.metrics.get(metric) is not None]
    return max(able, key=lambda r: r.metrics[metric], default=None)


def picture(rows: Sequence[Row], metric: str) -> bytes:
    """The metric over the axis with the most values, one line for each combination of the others. SVG."""
    names = list(rows[0].trial)
    x_axis = max(names, key=lambda n: len({r.trial[n] for r in rows}))
    others = [n for n in names if n != x_axis]
    places = list(dict.fromkeys(r.trial[x_axis] for r in rows))
    numeric = all(isinstance(p, int | float) for p in places)

    def place(value: Value) -> float:
        return float(value) if numeric else float(places.index(value))

    lines: dict[str, list[Row]] = {}
    for row in rows:
        if row.metrics.get(metric) is not None:
            lines.setdefault(", ".join(f"{n}={row.trial[n]}" for n in others), []).append(row)

    def paint(axes: Any) -> None:
        for i, (label, points) in enumerate(lines.items()):
            ordered = sorted(points, key=lambda r: place(r.trial[x_axis]))
            x, y = [place(r.trial[x_axis]) for r in ordered], [r.metrics[metric] for r in ordered]
            style = "-" if i < len(COLOURS) else "--"
            axes.plot(
                x,
                y,
                style,
                marker=MARKERS[i % len(MARKERS)],
                color=COLOURS[i % len(COLOURS)],
                label=label or metric,
                linewidth=1.6,
            )
        if not numeric:
            axes.set_xticks(range(len(places)), [str(p) for p in places], rotation=30, ha="right")
        axes.set(xlabel=x_axis, ylabel=metric)
        if lines:
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))

    return rendered(paint, width=6.4, height=3.8)
