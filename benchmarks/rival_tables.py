"""Tables of other papers' methods: under the twin test, by their own rules, and by QuRD's protocol."""

from collections.abc import Sequence

from table_parts import Row, as_table, load_rows, share

from zooaudit.studies import rivals
from zooaudit.studies.rates import shown
from zooaudit.studies.validity import by, of


def baselines_table(folder: str = "verdict") -> str:
    """Other methods under the same test."""
    rows, head = load_rows("baselines", folder)
    if not rows:
        return head
    lines = []
    for (method, access), part in by(rows, lambda r: (r["method"], r["access"])).items():
        some, asked = rivals.kinds(part), [r["asked"] for r in part]
        ranked = any(r["stolen"] is not None for r in part)  # Dataset Inference is not
        most, of_, p = rivals.worst_candidate(some[2])
        span = f"{min(asked):,}" + (f" to {max(asked):,}" if max(asked) > min(asked) else "")
        lines.append(
            [
                method,
                access,
                span,
                *(share(*rivals.counts(kind)) for kind in some),
                f"{most} of {of_} (p {p:.2g})" if ranked else "-",
                share(*rivals.counts(some[2], "over_references")),
                *(share(*rivals.counts(kind, "own_rule")) for kind in some),
            ]
        )
    columns = [
        "method",
        "access",
        "images asked in all",
        "weights taken: found",
        "answers learnt: found",
        "innocents accused",
    ]
    columns += ["worst candidate as the victim: first for", "innocents over a threshold set by references"]
    columns += [
        f"{whom} by the paper's own rule"
        for whom in ("weights taken: found", "answers learnt: found", "innocents accused")
    ]
    return as_table(head, columns, lines)


def qurd_table() -> str:
    """QuRD's protocol: every method's raw scores of pairs, all kinds of thieves together, best first."""
    rows, head = load_rows("qurd")
    if not rows:
        return head
    lines = []
    for (group, method, access), part in _methods(of(rows, task="all")).items():
        cells = [_rates(of(part, budget=budget)[0]) for budget in (100, 500)]
        lines.append([group, method, access, part[0]["stolen"], part[0]["innocent"], *cells])
    lines.sort(key=lambda line: (str(line[0]), -float(str(line[-1]).split(" ")[0])))
    columns = ["data", "method", "answers", "stolen", "innocent", "100 questions", "500 questions"]
    text = f"{head} AUC, and share of stolen models over the threshold that 1 % and 5 % of innocents pass."
    return as_table(text, columns, lines)


def _methods(rows: Sequence[Row]) -> dict[tuple[str, str, str], list[Row]]:
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row["group"], row["method"], row["access"]), []).append(row)
    return found


def _rates(row: Row) -> str:
    return f"{row['auc']:.2f} ({row['tpr_1']:.2f}, {row['tpr_5']:.2f})"


OURS = ("twin test, 500", "twin test, 2,000")


def rivals_table() -> str:
    """Attack by attack: what the twin test finds, and the best of the other methods under the same test."""
    rows, head = load_rows("baselines", "thieves")
    thieves = [r for r in rows if r["thief"] and r["stolen"] is not None]
    if not thieves:
        return head
    lines = []
    for family, part in sorted(by(thieves, "family").items()):
        methods = by(part, lambda r: (r["method"], r["access"]))
        ours = [shown(*_stolen(methods[method, a])) for method in OURS for a in ("probabilities", "label")]
        others = {
            name: _stolen(mine) for name, mine in methods.items() if not name[0].startswith("twin test")
        }
        best = max(others, key=lambda name: others[name][0])
        count = len({(r["owner"], r["suspect"]) for r in part})
        lines.append([family, count, *ours, f"{best[0]}: {shown(*others[best])}"])
    columns = ["attack", "thieves", *(f"{m}, {a}" for m in OURS for a in ("probabilities", "label"))]
    columns.append("best other method, chosen after the fact")
    return as_table(f"{head} share called stolen at level .05 [95 % interval], by rank.", columns, lines)


def _stolen(part: Sequence[Row]) -> tuple[int, int]:
    return sum(bool(r["stolen"]) for r in part), len(part)
