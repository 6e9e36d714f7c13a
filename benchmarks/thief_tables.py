"""Tables of thieves: every attack, what thieves change on the way, victims that defend themselves."""

from collections.abc import Sequence
from statistics import median

from twin_tables import Row, as_range, as_table, load_rows

from zooaudit.studies import disguises, own_defence
from zooaudit.studies.power import found
from zooaudit.studies.rates import shown
from zooaudit.studies.validity import ONCE, SHOWN, by, of

LOGGED = "1,000 with the query log"


def disguises_table() -> str:
    """Thieves who change something on the way: found at each access, and what it costs them."""
    rows, head = load_rows("disguises")
    if not rows:
        return head
    accesses = list(dict.fromkeys(r["access"] for r in rows))
    lines = []
    for name, part in by(rows, "disguise").items():
        for taken in (True, False):
            mine = [r for r in part if r["taken"] is taken]
            once = of(mine, access=accesses[0])
            cells = [shown(*disguises.found(of(mine, access=a))) for a in accesses]
            lines.append(
                [name, "taken" if taken else "learnt", len(once), f"{disguises.cost(once):.1f}", *cells]
            )
    columns = ["on the way", "weights or answers", "thieves", "points of accuracy lost (median)", *accesses]
    return as_table(
        f"{head} share called stolen at level .05 [95 % interval], {disguises.ASKED} questions.",
        columns,
        lines,
    )


THIEVES_CELLS = (
    ("1,000", "probabilities"),
    ("1,000", "label"),
    ("1,000 with the query log", "probabilities"),
)


def thieves_table() -> str:
    """Every attack: what it costs the thief, and how often he is found; those of both
    collections of models."""
    rows, head = load_rows("power", "thieves")
    if not rows:
        return head
    before, head_before = load_rows("power")
    main = of([*before, *rows], curve="", rule=ONCE)
    lines = []
    for family, part in sorted(by(main, "family").items(), key=lambda kv: (not kv[1][0]["taken"], kv[0])):
        thieves = list({r["thief"]: r for r in part}.values())
        asked = [r["asked"] for r in thieves]
        cost = f"{median(asked):,.0f} questions" if max(asked) else "the weights"
        recovery, agreement = (
            as_range([r[c] for r in thieves if r[c] is not None]) for c in ("recovery", "agreement")
        )
        cells = [shown(*found(of(part, questions=q, access=a))) for q, a in THIEVES_CELLS]
        lines.append([family, len(thieves), cost, recovery, agreement, *cells])
    columns = ["attack", "thieves", "cost", "recovery", "agreement", *(f"{q}, {a}" for q, a in THIEVES_CELLS)]
    return as_table(f"{head_before} {head} share called stolen at level .05 [95 % interval].", columns, lines)


GROUPS = {
    "weights, copied or changed a little": (
        "float16",
        "INT8",
        "last layer tuned",
        "new head",
        "weights averaged",
        "fine-tuned",
        "pruned",
        "pruned and fine-tuned",
        "fine-pruned",
    ),
    "weights, re-trained or distilled into another net": ("retrained", "distilled from the weights"),
    "weights, trained on the questions of an audit": ("has seen the questions",),
    "weights, likeness optimised away (RemovalNet)": ("removal, short", "removal, long"),
    "weights, moved to half of the classes": ("transferred to half of the classes",),
    "distillation with images of the task": (
        "distilled",
        "distilled-one-decimal",
        "distilled-top-3",
    ),
    "distillation with the victim's own training images": (
        "distilled-own-images",
        "distilled-own-images-hard",
    ),
    "ActiveThief": ("active-deepfool", "active-k-centre", "active-uncertainty"),
    "CloudLeak, JBDA": ("cloudleak", "jbda"),
    "Knockoff Nets, images of another domain": ("knockoff", "knockoff-adaptive"),
    "Copycat, images of another domain, labels": ("copycat",),
    "DFME, no data": ("data-free",),
    "DisGUIDE, no data": ("data-free, disagreement",),
    "a thief of the thief": ("second generation",),
    "few questions": ("weak extraction",),
}
"""Families of the README's table; those whose victim defended itself have a table of their own."""


def _attacks() -> tuple[list[Row], str, str]:
    """Rows of both collections of models, judged when all is asked, and where they come from."""
    rows, head = load_rows("power", "thieves")
    before, head_before = load_rows("power")
    return of([*before, *rows], curve="", rule=ONCE) if rows else [], head_before, head


def _line(name: str, part: Sequence[Row]) -> list[object]:
    thieves = list({r["thief"]: r for r in part}.values())
    asked = [r["asked"] for r in thieves]
    cost = f"{median(asked):,.0f} questions" if max(asked) else "the weights"
    recovery = as_range([r["recovery"] for r in thieves if r["recovery"] is not None])
    cells = [shown(*found(of(part, questions=q, access=a))) for q, a in THIEVES_CELLS]
    return [name, len(thieves), cost, recovery, *cells]


def thieves_short() -> str:
    """Attacks by group, for README.md."""
    rows, _, head = _attacks()
    if not rows:
        return head
    families = by(rows, "family")
    known = [family for group in GROUPS.values() for family in group]
    expected = {*known, *own_defence.DEFENCES}
    assert set(families) == expected, set(families) ^ expected
    lines = [_line(name, [row for f in group for row in families[f]]) for name, group in GROUPS.items()]
    columns = [
        "attack",
        "thieves",
        "cost",
        "accuracy kept",
        "by probabilities",
        "by labels",
        "with a query log",
    ]
    text = f"Share called stolen at level .05 [95 % interval], {SHOWN} questions; "
    return as_table(text + head.partition("`: ")[2], columns, lines)


def own_defence_table() -> str:
    """Thieves who asked a victim that defends itself, by whether the kit knows of the defence."""
    rows, head = load_rows("own-defence", "thieves")
    if not rows:
        return head
    lines = []
    for defence, part in by(rows, "defence").items():
        for who, mine in by(part, "who").items():
            for kit, judged in by(mine, "kit").items():
                cells = [
                    shown(*found(of(judged, questions=q, access=a)))
                    for q in (SHOWN, LOGGED)
                    for a in ("probabilities", "label")
                ]
                count = len({(r["owner"], r["suspect"]) for r in judged})
                lines.append([defence, who, f"defence {kit}", count, *cells])
    titles = [f"{q}, {a}" for q in (SHOWN, LOGGED) for a in ("probabilities", "label")]
    columns = ["victim's defence", "suspects", "kit", "n", *titles]
    return as_table(f"{head} share called stolen at level .05 [95 % interval].", columns, lines)
