"""Write the tables of README.md, docs/ and cluster/README.md from benchmarks/results,
studies' outcomes and ``zooaudit plan``.

python benchmarks/tables.py (--check: only say, by the exit code, whether they are up to date)
"""

import re
import sys
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from audit_tables import audit_table, elsewhere
from cost_tables import cluster_table, sizing, speed_table, sweep_table, waiting_table
from large_tables import large_table
from reproduction_tables import reproduction_table
from rival_tables import baselines_table, qurd_table, rivals_table
from serving_tables import serving_table, steady_table, time_table
from simulated_tables import simulated_table
from table_parts import load
from thief_tables import disguises_table, own_defence_table, thieves_short, thieves_table
from twin_tables import (
    checkpoint_table,
    curves_table,
    power_short,
    power_table,
    short_table,
    validity_table,
    victims_table,
)

HERE = Path(__file__).parent
ROOT = HERE.parent
WITH_TABLES = ("README.md", "cluster/README.md", "docs/*.md")
OTHERS = ("docs/recipes.md", "docs/reproduction.md")
"""Pages that another program writes: scripts/recipe_fields.py, benchmarks/reproduction.py."""


def main() -> int:
    stale = 0
    for page in pages():
        before = page.read_text()
        after = filled(before)
        stale += after != before
        if after != before and "--check" not in sys.argv:
            page.write_text(after)
    return int(bool(stale)) if "--check" in sys.argv else 0


def pages() -> list[Path]:
    """Every page that may have a table of ours."""
    return [
        p
        for form in WITH_TABLES
        for p in sorted(ROOT.glob(form))
        if p not in [ROOT / name for name in OTHERS]
    ]


def filled(text: str) -> str:
    """``text`` with each table between ``<!-- table: NAME -->`` and ``<!-- end -->`` (or
    ``<!-- /table -->``) made anew."""

    def made(block: re.Match[str]) -> str:
        if block["name"] not in TABLES:
            raise SystemExit(f"there is no table {block['name']!r}; expected one of {', '.join(TABLES)}")
        return f"{block['start']}\n{table(block['name'])}\n{block['end']}"

    return re.sub(
        r"^(?P<start><!-- table: (?P<name>[\w-]+) -->)\n.*?(?P<end><!-- (?:end|/table) -->)",
        made,
        text,
        flags=re.DOTALL | re.MULTILINE,
    )


@cache
def table(name: str) -> str:
    """Made once, however many pages have it."""
    return TABLES[name]()


TABLES = {
    "audit": audit_table,
    "audit-elsewhere": elsewhere,
    "speed": speed_table,
    "waiting": waiting_table,
    "cluster": cluster_table,
    "sizing": sizing,
    "simulated": lambda: simulated_table(load("simulated_cluster")),
    "reproduction": reproduction_table,
    "validity": validity_table,
    "validity-victims": victims_table,
    "short": short_table,
    "power": power_table,
    "power-short": power_short,
    "power-curves": curves_table,
    "baselines": baselines_table,
    "baselines-thieves": lambda: baselines_table("thieves"),
    "rivals": rivals_table,
    "checkpoint": checkpoint_table,
    "disguises": disguises_table,
    "thieves": thieves_table,
    "thieves-short": thieves_short,
    "own-defence": own_defence_table,
    "qurd": qurd_table,
    "large": lambda: large_table(
        load("large_data"),
        load("large_data_kit") if (HERE / "results" / "large_data_kit.json").exists() else None,
    ),
    "sweep": sweep_table,
    "serving": lambda: serving_table(load("serving")),
    "serving-time": lambda: time_table(load("serving")),
    "serving-steady": lambda: steady_table(load("serving_steady")),
}


if __name__ == "__main__":
    sys.exit(main())
