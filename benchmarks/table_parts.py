"""What tables are made of: results that benchmarks and studies left, and how numbers and rows are written."""

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

import measure
import pyarrow.parquet as pq

from zooaudit.studies.rates import shown

Row = dict[str, Any]


def load(name: str) -> Row:
    """What a benchmark left in ``results``."""
    return json.loads((measure.RESULTS / f"{name}.json").read_text())


def spread(s: Row, form: str = "{:.3f}") -> str:
    """``median [least, most]``, or the one value."""
    middle, low, high = (form.format(s[k]) for k in ("median", "min", "max"))
    return middle if s["n"] == 1 or low == high else f"{middle} [{low}, {high}]"


def spread_of(values: list[float]) -> str:
    return spread(measure.spread(values))


@cache
def load_rows(name: str, folder: str = "verdict") -> tuple[list[Row], str]:
    """Rows, and where they come from in a line; nothing where a study was not run. Read once: change none."""
    results = measure.RESULTS.parent.parent / "docs" / folder
    if not (results / f"{name}.json").exists():
        return [], f"`zooaudit study {name}` has not been run."
    data = json.loads((results / f"{name}.json").read_text())
    place = f"commit {data['commit'][:12]}, {data['hardware']}"
    head = f"`{data['command']}`: {data['models']} models, victims {', '.join(data['owners'])}; {place}:"
    return pq.read_table(results / f"{name}.parquet").to_pylist(), head


def as_table(head: str, columns: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    rows = [columns, ["---"] * len(columns), *lines]
    return "\n".join([head, "", *("| " + " | ".join(map(str, r)) + " |" for r in rows)])


def as_range(values: Sequence[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}" if values else "-"


def share(count: int, n: int) -> str:
    return f"{n}: {shown(count, n)}" if n else "-"
