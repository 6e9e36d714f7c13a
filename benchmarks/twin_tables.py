"""Tables of the twin test's studies, from docs/verdict and docs/checkpoint."""

from collections.abc import Callable, Sequence
from operator import itemgetter
from statistics import median

from table_parts import Row, as_range, as_table, load_rows

from zooaudit.studies.power import found
from zooaudit.studies.rates import shown
from zooaudit.studies.validity import EARLY, ONCE, SHOWN, by, leaning_of, luck_of, of, total, worst_of
from zooaudit.verdict.decision import Decision

CELLS = (
    ("500", ONCE, "probabilities"),
    (SHOWN, ONCE, "probabilities"),
    (SHOWN, ONCE, "label"),
    (SHOWN, EARLY, "probabilities"),
    ("1,000 with the query log", ONCE, "probabilities"),
    ("1,000 with the query log", ONCE, "label"),
)
POWER_CELLS = tuple(
    (queries, access)
    for queries in ("500", "2,000", "1,000 with the query log")
    for access in ("probabilities", "label")
)


def validity_table() -> str:
    """Innocents called stolen, by family: of the true victims."""
    rows, head = load_rows("validity")
    if not rows:
        return head
    true = of(rows, true=True)
    families = by(true, "family") | {"**all**": true}
    lines = []
    for family, part in families.items():
        counts = [total(of(part, questions=q, rule=rule, access=a), "stolen") for q, rule, a in CELLS]
        lines.append([family, counts[0][1], *(f"{k}: {shown(k, n)}" for k, n in counts)])
    titles = [f"{q}, {a}" + (", stopping early" if rule == EARLY else "") for q, rule, a in CELLS]
    return as_table(
        f"{head} innocents called stolen, share [95 % interval].", ["innocents", "judgements", *titles], lines
    )


def victims_table() -> str:
    """The same victim by victim, and each candidate in turn as the victim."""
    rows, head = load_rows("validity")
    if not rows:
        return head
    lines = []
    for owner, part in [*by(rows, "owner").items(), ("**all**", rows)]:
        cells: list[object] = [owner]
        for access in ("probabilities", "label"):
            mine = of(part, questions=SHOWN, rule=ONCE, access=access)
            k, n = total(of(mine, true=True), "stolen")
            _, (most, asked), p = worst_of(mine, "first")
            share, chance = leaning_of(mine)
            text = f"{k} of {n}" + (f", {shown(k, n)}, p {luck_of(mine):.2g}" if owner == "**all**" else "")
            cells += [text, f"{most} of {asked} (p {p:.2g})", f"{share:.2f} (p {chance:.2g})"]
        kits = [
            k[0] for k in by(of(part, questions=SHOWN, rule=ONCE, access="probabilities"), "victim").values()
        ]
        off = sorted({k["off"] for k in kits if k["true"] and k["off"]})
        hubs, refused = (f"{sum(k[c] for k in kits)} of {len(kits)}" for c in ("hub", "refused"))
        lines.append([*cells, hubs, refused, "; ".join(off) or "none"])
    columns = ["victim"]
    columns += [
        c
        for a in ("probabilities", "label")
        for c in (
            f"called stolen, {a}",
            f"worst of its candidates: first for, {a}",
            f"the same by source, {a}",
        )
    ]
    text = (
        f"{head} {SHOWN} questions. Each of the 20 candidates, the victim and its twins, is tried as the"
        " victim. *Worst of its candidates*: for how many innocents the unluckiest of them comes first; p:"
        " how likely that many is for the worst of so many, if innocents were independent and each came"
        " first for 1 of 20. *The same by source*: the share, when all innocents that go back to one model"
        " count once; p: how likely so large a share is, if every such source leaned its own way. Last row,"
        " *called stolen*: p is how likely as many are, had each victim been any one of its candidates."
    )
    return as_table(
        text, [*columns, "hubs", "kits that refuse", "checks of the true victim that are off"], lines
    )


def _kinds(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Families of thieves, and the groups that are promised something."""
    learnt = [r for r in rows if not r["taken"]]
    full = [r for r in learnt if r["family"] in ("distilled", "cloudleak", "jbda")]
    groups = dict(by(rows, "family"))
    groups["**all with weights taken**"] = [r for r in rows if r["taken"]]
    groups["**CloudLeak, JBDA, distilled; recovery .95 and more**"] = [
        r for r in full if r["recovery"] >= 0.95
    ]
    groups["**extracted; recovery .85 to .95**"] = [r for r in learnt if 0.85 <= r["recovery"] < 0.95]
    groups["**all extracted**"] = learnt
    return {name: part for name, part in groups.items() if part}


SHORT_CELLS = ((SHOWN, "probabilities"), (SHOWN, "label"))
SHORT_GROUPS = {
    "**all with weights taken**": "weights taken: copied, fine-tuned, pruned, averaged, ...",
    "**CloudLeak, JBDA, distilled; recovery .95 and more**": (
        "by CloudLeak, JBDA or distillation, recovery .95 and more"
    ),
    "**all extracted**": "all who learnt from answers, poor copies too",
}


def short_table() -> str:
    """Innocents and thieves in four rows, for README.md; in the order of SHORT_CELLS."""
    innocent, head = load_rows("validity")
    thieves, _ = load_rows("power")
    if not innocent or not thieves:
        return head
    true, main = of(innocent, true=True, rule=ONCE), of(thieves, curve="", rule=ONCE)
    counts = [total(of(true, questions=q, access=a), "stolen") for q, a in SHORT_CELLS]
    lines = [["**innocent** (made without the victim)", counts[0][1], *(shown(*c) for c in counts)]]
    kinds = _kinds(main)
    for group, title in SHORT_GROUPS.items():
        counts = [found(of(kinds[group], questions=q, access=a)) for q, a in SHORT_CELLS]
        lines.append([title, counts[0][1], *(shown(*c) for c in counts)])
    columns = [
        f"suspects, asked {SHOWN} questions",
        "judged",
        "called stolen, by probabilities",
        "called stolen, by labels",
    ]
    return as_table(
        f"Share called stolen at level .05 [95 % interval]; {head.partition('`: ')[2]}", columns, lines
    )


SHORT = ("second generation", "knockoff")
"""Families that stand by themselves in docs/results.md, beside the groups."""


def power_short() -> str:
    """Thieves found, by group."""
    return power_table(lambda kind: kind.startswith("**") or kind in SHORT)


def power_table(wanted: Callable[[str], bool] = lambda kind: True) -> str:
    """Thieves found, by family."""
    rows, head = load_rows("power")
    if not rows:
        return head
    main = of(rows, curve="")
    lines = []
    for kind, part in ((k, p) for k, p in _kinds(main).items() if wanted(k)):
        once = of(part, rule=ONCE)
        thieves = {r["thief"]: r for r in once}.values()
        recovery, agreement = (
            as_range([r[c] for r in thieves if r[c] is not None]) for c in ("recovery", "agreement")
        )
        cells = [shown(*found(of(once, questions=q, access=a))) for q, a in POWER_CELLS]
        early = of(part, rule=EARLY, questions="2,000", access="probabilities")
        asked = [r["queries"] for r in early if r["decision"] == Decision.STOLEN]
        lines.append(
            [kind, len(thieves), recovery, agreement, *cells, f"{median(asked):g}" if asked else "-"]
        )
    titles = [f"{q}, {a}" for q, a in POWER_CELLS]
    columns = [
        "stolen",
        "models",
        "recovery",
        "agreement",
        *titles,
        "median queries when found, stopping early, of 2,000",
    ]
    return as_table(f"{head} share called stolen at level .05 [95 % interval].", columns, lines)


def curves_table() -> str:
    """Power against questions, references and twins."""
    rows, head = load_rows("power")
    if not rows:
        return head
    lines = []
    for curve, column, level in (
        ("questions", "budget", 0.05),
        ("references", "references", 0.05),
        ("twins", "twins", 0.05),
        ("twins", "twins", 0.1),
    ):
        part = [r for r in rows if r["curve"].startswith(curve) and r["level"] == level]
        for (kind, count), group in sorted(by(part, itemgetter("curve", column)).items()):
            cells = [
                f"{k / n:.2f}"
                for taken in (True, False)
                for a in ("probabilities", "label")
                for k, n in [found(of(group, taken=taken, access=a))]
                if n
            ]
            lines.append([f"{count:,} {kind}", f"{level:g}", *cells])
    columns = [
        "",
        "level",
        *(f"{who}, {a}" for who in ("weights taken", "answers learnt") for a in ("probabilities", "label")),
    ]
    return as_table(
        f"{head} share called stolen; {SHOWN} questions, all references and twins, unless said otherwise.",
        columns,
        lines,
    )


OF_USE = 0.5
"""Share of the victim's accuracy under which nobody would use what a thief has."""
CHECKPOINT_CELLS = tuple((q, a) for q in ("500", SHOWN, "2,000") for a in ("probabilities", "label"))


def checkpoint_table() -> str:
    """One public checkpoint and its descendants: innocents and thieves called stolen, by family."""
    innocent, head = load_rows("validity", "checkpoint")
    thieves, _ = load_rows("power", "checkpoint")
    if not innocent or not thieves:
        return head
    true, main = of(innocent, true=True, rule=ONCE), of(thieves, curve="", rule=ONCE)
    lines = []
    for family, part in [*by(true, "family").items(), ("**all innocents**", true)]:
        counts = [total(of(part, questions=q, access=a), "stolen") for q, a in CHECKPOINT_CELLS]
        lines.append(
            [
                family if family.startswith("**") else f"innocent: {family}",
                *(f"{k} of {n}" for k, n in counts),
            ]
        )
    of_use = [r for r in main if r["recovery"] >= OF_USE]
    groups = {f"thief: {family}": part for family, part in by(of_use, "family").items()} | {
        "**all thieves**": of_use
    }
    for row in (r for r in main if r["recovery"] < OF_USE):
        groups.setdefault(
            f"in no sum: {row['family']}, with {row['recovery']:.2f} of the victim's accuracy", []
        ).append(row)
    for name, part in groups.items():
        counts = [found(of(part, questions=q, access=a)) for q, a in CHECKPOINT_CELLS]
        lines.append([name, *(f"{k} of {n}" for k, n in counts)])
    titles = [f"{q}, {a}" for q, a in CHECKPOINT_CELLS]
    return as_table(
        f"{head} called stolen at level .05, by how many questions and what is told.", ["", *titles], lines
    )
