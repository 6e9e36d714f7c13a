"""What is trained: ``python -m benchmarks.foreign.status --out DIR`` writes ``STATUS.md`` there."""

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.foreign.build import there
from benchmarks.foreign.jobs import SET_OF, SHORT
from benchmarks.foreign.plan import part

Rows = list[dict[str, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    lines = ["# Foreign models"]
    for round_ in SET_OF:
        for dataset in SHORT:
            lines += section(out, round_, dataset)
    (out / "STATUS.md").write_text("\n".join(lines) + "\n")


def section(out: Path, round_: str, dataset: str) -> list[str]:
    """One part: whether it is complete, and its models by family."""
    jobs = part(round_, dataset)
    made = [
        json.loads((out / dataset / "models" / j.id / "about.json").read_text())
        for j in jobs
        if there(out, j)
    ]
    state = "COMPLETE" if len(made) == len(jobs) else "in progress"
    lines = [
        "",
        (
            f"## {round_} {dataset}: {state}, {len(made)} of {len(jobs)} models,"
            f" {sum(a['seconds'] for a in made):.0f} s"
        ),
        "",
    ]
    lines += [
        "| role | family | labels | models | accuracy | agreement | recovery | seconds each |",
        "|" + "---|" * 8,
    ]
    groups: dict[tuple[str, str, str], Rows] = {}
    for about in made:
        family = (
            f"{about['family']}: {about['attack']}"
            if about["attack"] not in ("", about["family"])
            else about["family"]
        )
        groups.setdefault((about["role"], about["interface"] or family, about["labels"]), []).append(about)
    return lines + [line(*key, rows) for key, rows in groups.items()]


def line(role: str, family: str, labels: str, rows: Rows) -> str:
    seconds = sum(a["seconds"] for a in rows) / len(rows)
    spans = " | ".join(span(rows, field) for field in ("accuracy", "agreement", "recovery"))
    return f"| {role} | {family} | {labels} | {len(rows)} | {spans} | {seconds:.1f} |"


def span(rows: Rows, field: str) -> str:
    """Least to most of a field, over the models that have it."""
    values = [a[field] for a in rows if a[field] is not None]
    return f"{min(values):.3f} to {max(values):.3f}" if values else ""


if __name__ == "__main__":
    main()
