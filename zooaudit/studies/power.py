"""How often the twin test finds what was stolen: by how, by what is told and asked, by how
many references and twins there are."""

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from zooaudit.studies.collected_about import About
from zooaudit.studies.outcome import Finding, Outcome, spread, unclaimed
from zooaudit.studies.owners import Owner
from zooaudit.studies.pictures import panels
from zooaudit.studies.rates import shown
from zooaudit.studies.trials import ACCESSES, ASKINGS, LEVEL, Asking, Trial, decided, draws, last
from zooaudit.studies.validity import EARLY, ONCE, SHOWN, Row, by, of
from zooaudit.suspects.access import Access
from zooaudit.verdict.decision import Decision
from zooaudit.verdict.ranking import smallest_p
from zooaudit.zoo.planner import shares
from zooaudit.zoo.reference_nets import REFERENCE_NETS

CURVE_ACCESSES = (Access(), Access("label"))
COUNTS = (125, 250, 500, 1000, 2000, 4000)
REFERENCES = (0, 4, 8, 16, 32)
TWINS = 9
LEVELS = (0.05, 0.1)
TIMES = 3
"""Random choices of some of the references or twins."""
LINES = {"extracted": "--", "convolutional": ":", "other kinds": "-."}


def rows_of(owner: Owner) -> list[Row]:
    """One row a thief, kit, access and rule."""
    return [*_main(owner), *_by_questions(owner), *_by_references(owner), *_by_twins(owner)]


def _main(owner: Owner) -> Iterator[Row]:
    for asking in ASKINGS:
        trial = Trial.of(owner, asking)
        for rule in (ONCE, EARLY):
            yield from _judged(trial, "", rule, ACCESSES)


def _by_questions(owner: Owner) -> Iterator[Row]:
    for count in COUNTS:
        yield from _judged(Trial.of(owner, Asking(f"{count:,}", (count,))), "questions", ONCE, CURVE_ACCESSES)


def _by_references(owner: Owner) -> Iterator[Row]:
    """Of one kind only, or of all kinds in the shares that an audit has."""
    extracted = [a for a in owner.references if a.attack]
    others = [a for a in owner.references if a.architecture in REFERENCE_NETS]
    trained = [a for a in owner.references if a not in extracted and a not in others]
    kinds = {"convolutional": trained, "extracted": extracted, "nets of other kinds": others}
    for count in REFERENCES:
        alone = {kind: {kind: count} for kind in kinds if count}
        for name, counts in {**alone, "all kinds": dict(zip(kinds, shares(count), strict=True))}.items():
            if all(n <= len(kinds[kind]) for kind, n in counts.items()):
                drawn = [draws(kinds[kind], n, TIMES) for kind, n in counts.items()]
                for turn in range(max(map(len, drawn))):
                    models = [a for part in drawn for a in part[turn % len(part)]]
                    trial = Trial(owner, _asking(SHOWN), owner.candidates, models)
                    yield from _judged(trial, f"references, {name}", ONCE, CURVE_ACCESSES)


def _by_twins(owner: Owner) -> Iterator[Row]:
    """At each level that so many twins allow."""
    victim, *twins = owner.candidates
    for count in sorted({min(TWINS, len(twins)), len(twins)}):
        for chosen in draws(twins, count, TIMES):
            trial = Trial(owner, _asking(SHOWN), (victim, *chosen), owner.references)
            for level in (level for level in LEVELS if smallest_p(count) <= level):
                yield from _judged(trial, "twins", ONCE, CURVE_ACCESSES, level)


def _asking(name: str) -> Asking:
    return next(a for a in ASKINGS if a.name == name)


def _judged(
    trial: Trial, curve: str, rule: str, accesses: Sequence[Access], level: float = LEVEL
) -> Iterator[Row]:
    thieves = trial.owner.thieves
    test = trial.test.single_look() if rule == ONCE else trial.test
    kit = {
        "owner": trial.owner.name,
        "questions": trial.asking.name,
        "budget": test.budget,
        "rule": rule,
        "curve": curve,
        "level": level,
    }
    kit |= {"references": len(trial.references), "twins": test.twins}
    for access in accesses:
        for thief, compared in zip(thieves, trial.compared(thieves, access), strict=True):
            verdict = decided(test, last(compared) if rule == ONCE else compared, level)
            data = {
                "decision": str(verdict.decision),
                "p": verdict.p_value,
                "rank": verdict.rank,
                "queries": verdict.queries,
            }
            lead = verdict.statistics[0] - max(verdict.statistics[1:]) if verdict.statistics else None
            yield kit | {"access": access.name} | _of(thief) | data | {"lead": lead}


def _of(thief: About) -> Row:
    return {
        "thief": thief.id,
        "family": thief.family,
        "taken": thief.took_weights,
        "labels": thief.labels,
        "asked": thief.queries,
        "recovery": thief.recovery,
        "agreement": thief.agreement,
    }


def found(part: Sequence[Row]) -> tuple[int, int]:
    """How many were found, of how many."""
    return sum(r["decision"] == Decision.STOLEN for r in part), len(part)


def outcome(rows: Sequence[Row]) -> Outcome:
    """Tables, pictures and findings of all owners' rows."""
    return Outcome(rows, list(_findings(rows)), {"power.svg": _picture(rows)})


def _findings(rows: Sequence[Row]) -> Iterator[Finding]:
    for asking in ASKINGS:
        for access in ("probabilities", "label"):
            part = of(rows, curve="", rule=ONCE, questions=asking.name, access=access)
            early = of(rows, curve="", rule=EARLY, questions=asking.name, access=access)
            for taken, who in ((True, "who took weights"), (False, "who asked")):
                mine = of(part, taken=taken)
                queries = [r["queries"] for r in of(early, taken=taken) if r["decision"] == Decision.STOLEN]
                stopping = (
                    f"; stopping early {shown(*found(of(early, taken=taken)))}, median {median(queries):g}"
                    " queries"
                    if queries
                    else ""
                )
                recovered = spread(
                    [r["recovery"] for r in mine if r["recovery"] is not None] or [float("nan")], "{:.2f}"
                )
                yield unclaimed(
                    f"Thieves {who} are found at level {LEVEL:g} ({asking.name} questions, {access})",
                    f"{found(mine)[0]} of {len(mine)}, {shown(*found(mine))}{stopping}",
                    f"{len(mine)} thieves of {len(by(mine, 'owner'))} victims",
                    f"recovery {recovered}",
                )


def _picture(rows: Sequence[Row]) -> bytes:
    def paint(axes: Any, title: str) -> None:
        curve, access = title.split(", ")
        column = {"questions": "budget", "references": "references", "twins": "twins"}[curve]
        part = [r for r in rows if r["curve"].startswith(curve) and r["access"] == access]
        for (kind, taken), group in by(part, lambda r: (r["curve"], r["taken"])).items():
            points = {x: found(g) for x, g in sorted(by(group, column).items())}
            shares = [k / n for k, n in points.values()]
            label = f"{'weights taken' if taken else 'answers learnt'}{kind.removeprefix(curve)}"
            line = next((line for word, line in LINES.items() if word in kind), "-")
            style = {"color": "#d55e00" if taken else "#0072b2", "linestyle": line}
            axes.plot(list(points), shares, marker="o", markersize=4, label=label, **style)
        if curve == "questions":
            axes.set_xscale("log")
            asked = [count for count in COUNTS if count <= max(r["budget"] for r in part)]
            axes.set_xticks(asked, [f"{count:,}" for count in asked])
            axes.minorticks_off()
        axes.set(xlabel=curve, ylabel="share found", ylim=(-0.02, 1.03))

    return panels(
        [f"{curve}, {access.name}" for curve in ("questions", "references") for access in CURVE_ACCESSES],
        paint,
    )
