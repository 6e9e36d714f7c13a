"""The table and the picture of simulated clusters."""

from pathlib import Path
from typing import Any

from zooaudit.reporting.canvas import rendered

PICTURE = Path(__file__).parent.parent / "cluster" / "simulated.svg"


def simulated_table(found: dict[str, Any]) -> str:
    """A row a cluster; those that lost machines are the last ones."""
    costs = found["costs_s"]
    models = found["rows"][0]["models"]
    head = (
        f"`{found['command']}`, commit {found['commit']}: {models:,} models of `fmnist-paper`,"
        f" {found['model_seconds']:.0f} s each on the average; {costs['request'] * 1000:.0f} ms a request to"
        f" the store, {costs['call'] * 1000:.0f} ms a call of the queue, {costs['start']:.0f} s a start of"
        " the workers. Claims and manifests: requests a model."
    )
    rows = [
        f"| {row['workers']} | {lost(row)} | {row['hours']:.2f} | {row['least_hours']:.2f} |"
        f" {row['busy_until_the_last_tenth']:.1%} | {small_requests(row):.1f} | {row['starts_of_the_group']}"
        f" | {row['lost_share_of_training']:.1%} | {row['queue_busy']:.0%} |"
        for row in found["rows"]
    ]
    titles = (
        "workers",
        "machines lost",
        "hours",
        "least possible",
        "busy until nine tenths are built",
        "claims and manifests",
        "starts",
        "training lost",
        "queue busy",
    )
    return "\n".join([head, "", f"| {' | '.join(titles)} |", "|" + "---|" * 9, *rows])


def lost(row: dict[str, Any]) -> str:
    return f"{row['machines_lost']} of {-(-row['workers'] // 4)}" if row["machines_lost"] else "none"


def small_requests(row: dict[str, Any]) -> float:
    """Of leases and manifests, without the pulse."""
    return sum(n for name, n in row["requests_by_kind"].items() if name.split()[1] in ("claims", "manifests"))


def draw(found: dict[str, Any]) -> None:
    """Hours by workers, beside the least that is possible."""

    def paint(axes: Any) -> None:
        whole = [row for row in found["rows"] if not row["machines_lost"]]
        broken = [row for row in found["rows"] if row["machines_lost"]]
        counts = [row["workers"] for row in whole]
        axes.plot(
            counts, [row["least_hours"] for row in whole], "--", color="#666666", label="least possible"
        )
        axes.plot(counts, [row["hours"] for row in whole], "o-", color="#0072b2", label="simulated")
        axes.plot(
            [r["workers"] for r in broken],
            [r["hours"] for r in broken],
            "x",
            color="#d55e00",
            label="a tenth of the machines lost",
        )
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(counts, [str(c) for c in counts])
        axes.set_xlabel("workers")
        axes.set_ylabel("hours")
        axes.legend()

    PICTURE.write_bytes(rendered(paint))
