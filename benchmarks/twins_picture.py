"""Draw docs/twins.svg: the victim among its twins, for a thief and for an innocent suspect,
from an audit's report.

    zooaudit audit --recipe digits --store store --farm serial
    python benchmarks/twins_picture.py reports/digits/audit.json

Keeps the numbers in benchmarks/results/twins_picture.json; without a report it draws these again (--check:
only say, by the exit code, whether the picture is what they give).
"""

import json
import sys
from html import escape
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from measure import RESULTS, save  # noqa: E402

from zooaudit.reporting.strips import Scale  # noqa: E402

PICTURE = HERE.parent / "docs" / "twins.svg"
NAME = "twins_picture"
WIDTH, LEFT, RIGHT, TOP, ROW = 760, 20, 740, 66, 74
SHOWN = {"stolen": "it learnt from the victim's answers", "not shown": "it was trained without the victim"}
INK, SOFT, STOLEN, TWIN = "#333333", "#767676", "#b3261e", "#5b7aa8"


def main() -> int:
    reports = [a for a in sys.argv[1:] if not a.startswith("-")]
    if reports:
        audit = json.loads(Path(reports[0]).read_text())
        save(NAME, {"of": audit["command"], "rows": [row(audit, decision) for decision in SHOWN]})
    drawn = drawing(json.loads((RESULTS / f"{NAME}.json").read_text()))
    if "--check" in sys.argv:
        return int(drawn != PICTURE.read_text())
    PICTURE.write_text(drawn)
    return 0


def row(audit: dict[str, Any], decision: str) -> dict[str, Any]:
    """Of the suspects that were rightly called so the one in the middle, by the victim's statistic."""
    truth = {"stolen": "stolen", "not shown": "innocent"}[decision]
    found = [
        v["twins"]
        for v in audit["verdicts"]
        if v["twins"]["decision"] == decision
        and v["truth"] == truth
        and v["role"] in ("piracy", "homologous")
    ]
    middle = median(sorted(t["statistics"][0] for t in found)[: len(found) - 1 + len(found) % 2])
    one, *_ = (t for t in found if t["statistics"][0] == middle)
    return {k: one[k] for k in ("decision", "p_value", "rank", "twins", "queries", "statistics")}


def drawing(found: dict[str, Any]) -> str:
    rows = found["rows"]
    scale = Scale.over(n for r in rows for n in r["statistics"])
    height = TOP + ROW * len(rows) + 46
    alt = " ".join(
        f"{SHOWN[r['decision']]}: {r['decision']}, rank {r['rank']} of {r['twins'] + 1}, p {r['p_value']:g}."
        for r in rows
    )
    twins = f"its {rows[0]['twins']} twins: same code and data, other seeds"
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
            f' aria-label="{escape(alt)}" font-family="system-ui, sans-serif" font-size="14">'
        ),
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        text(LEFT, 26, "How much of each candidate is in the suspect?", "bold"),
        diamond(LEFT + 6, 44, True),
        text(LEFT + 18, 49, "the victim"),
        f'<circle cx="{LEFT + 106}" cy="44" r="5" fill="{TWIN}"/>',
        text(LEFT + 118, 49, twins),
    ]
    for i, r in enumerate(rows):
        lines += strip(r, scale, TOP + ROW * i)
    bottom = TOP + ROW * len(rows) + 14
    lines += [text(at(x), bottom, label, anchor="middle", colour=SOFT) for x, label in scale.ticks]
    lines.append(
        text(
            LEFT,
            bottom + 24,
            f"Statistic T, in standard deviations of all {rows[0]['twins'] + 1} candidates.",
            colour=SOFT,
        )
    )
    return "\n".join([*lines, "</svg>", ""])


def strip(r: dict[str, Any], scale: Scale, top: float) -> list[str]:
    stolen, numbers = r["decision"] == "stolen", r["statistics"]
    y = top + 44
    result = f"{r['decision']}: rank {r['rank']} of {r['twins'] + 1}, p {r['p_value']:g}"
    return [
        text(LEFT, top + 20, f"Suspect: {SHOWN[r['decision']]}"),
        text(RIGHT, top + 20, result, "bold", "end", STOLEN if stolen else INK),
        f'<line x1="{LEFT}" x2="{RIGHT}" y1="{y}" y2="{y}" stroke="#c8c8c8"/>',
        *(
            f'<circle cx="{at(scale.at(n)):.1f}" cy="{y}" r="5" fill="{TWIN}" fill-opacity="0.75"/>'
            for n in numbers[1:]
        ),
        diamond(at(scale.at(numbers[0])), y, stolen),
    ]


def at(per_cent: float) -> float:
    return LEFT + (RIGHT - LEFT) * per_cent / 100


def diamond(x: float, y: float, filled: bool) -> str:
    path = f"M{x:.1f} {y - 9}l8 9-8 9-8-9z"
    return f'<path d="{path}" fill="{STOLEN if filled else "#ffffff"}" stroke="{STOLEN}" stroke-width="2"/>'


def text(
    x: float, y: float, words: str, weight: str = "normal", anchor: str = "start", colour: str = INK
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-weight="{weight}" text-anchor="{anchor}"'
        f' fill="{colour}">{escape(words)}</text>'
    )


if __name__ == "__main__":
    sys.exit(main())
