"""Tables of thieves: every attack, what thieves change on the way, victims that defend themselves."""

from collections.abc import Sequence
from statistics import median

from table_parts import Row, as_range, as_table, load_rows
from twin_tables import OF_USE

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


def _attacks() -> tuple[list[Row], list[Row], str, str]:
    """Rows of both collections of models, judged when all is asked: of thieves who learnt, and of the others;
    and where they come from."""
    rows, head = load_rows("power", "thieves")
    before, head_before = load_rows("power")
    main = of([*before, *rows], curve="", rule=ONCE) if rows else []
    learnt = [r for r in main if r["recovery"] >= OF_USE]
    return learnt, [r for r in main if r["recovery"] < OF_USE], head_before, head


def _line(name: str, part: Sequence[Row], agreement: bool = True) -> list[object]:
    thieves = list({r["thief"]: r for r in part}.values())
    asked = [r["asked"] for r in thieves]
    cost = f"{median(asked):,.0f} questions" if max(asked) else "the weights"
    ranges = [
        as_range([r[c] for r in thieves if r[c] is not None])
        for c in ("recovery", "agreement")[: 1 + agreement]
    ]
    cells = [shown(*found(of(part, questions=q, access=a))) for q, a in THIEVES_CELLS]
    return [name, len(thieves), cost, *ranges, *cells]


def thieves_table() -> str:
    """Every attack: what it costs the thief, and how often he is found."""
    rows, poor, head_before, head = _attacks()
    if not rows:
        return head
    families = sorted(by(rows, "family").items(), key=lambda kv: (not kv[1][0]["taken"], kv[0]))
    lines = [_line(family, part) for family, part in families]
    lines += [
        _line(f"in no row above: {family}", part) for family, part in sorted(by(poor, "family").items())
    ]
    columns = ["attack", "thieves", "cost", "recovery", "agreement", *(f"{q}, {a}" for q, a in THIEVES_CELLS)]
    return as_table(f"{head_before} {head} share called stolen at level .05 [95 % interval].", columns, lines)


GROUPS = {
    "weights: copied, tuned, pruned, averaged, re-trained, distilled": (
        "float16",
        "INT8",
        "last layer tuned",
        "new head",
        "weights averaged",
        "fine-tuned",
        "pruned",
        "pruned and fine-tuned",
        "fine-pruned",
        "retrained",
        "distilled from the weights",
        "has seen the questions",
    ),
    "weights: likeness trained away (RemovalNet)": ("removal, short", "removal, long"),
    "weights: moved to half of the classes": ("transferred to half of the classes",),
    "distillation, ActiveThief, CloudLeak, JBDA": (
        "distilled",
        "distilled-one-decimal",
        "distilled-top-3",
        "distilled-own-images",
        "distilled-own-images-hard",
        "active-deepfool",
        "active-k-centre",
        "active-uncertainty",
        "cloudleak",
        "jbda",
    ),
    "another domain's images: Knockoff Nets": ("knockoff", "knockoff-adaptive"),
    "another domain's images, labels: Copycat": ("copycat",),
    "no data: DFME, DisGUIDE": ("data-free", "data-free, disagreement"),
    "a thief of the thief": ("second generation",),
    "few questions": ("weak extraction",),
}
"""Families of the README's table; those whose victim defended itself have a table of their own."""


def thieves_short() -> str:
    """Attacks by group, for README.md."""
    rows, _, _, head = _attacks()
    if not rows:
        return head
    families = by(rows, "family")
    known = [family for group in GROUPS.values() for family in group]
    expected = {*known, *own_defence.DEFENCES}
    assert set(families) == expected, set(families) ^ expected
    lines = [
        _line(name, [row for f in group for row in families[f]], False) for name, group in GROUPS.items()
    ]
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
