"""What an owner gains by telling the kit of the defence behind which the victim was asked.

A thief who asks a defended victim learns what the defence shows. A kit that knows only the victim's own
answers then compares the thief with something that nobody saw. Here the same thieves and innocents are judged
by two kits: one that names no defence, and one that does (``twin_test.defence``).
"""

from collections.abc import Iterator, Sequence

from zooaudit.studies.collected_about import About
from zooaudit.studies.outcome import Finding, Outcome, unclaimed
from zooaudit.studies.owners import Owner
from zooaudit.studies.power import CURVE_ACCESSES, found
from zooaudit.studies.rates import shown
from zooaudit.studies.trials import ASKINGS, Defending, Trial, decided, last
from zooaudit.studies.validity import SHOWN, Row, by, of

LOGGED = "1,000 with the query log"
DEFENCES = {
    "distilled, reverse sigmoid": Defending("reverse-sigmoid"),
    "distilled, MAD": Defending("mad", 1.0),
}
"""By family of thieves: what the victim that they asked did to its answers."""
NAMED, UNNAMED = "named", "not named"
LEARNT, TAKEN, INNOCENT = "learnt behind it", "weights taken", "innocent"


def rows(owner: Owner) -> list[Row]:
    """One row a kit, a suspect and an access."""
    present = {a.family for a in owner.thieves}
    found: list[Row] = []
    for asking in (a for a in ASKINGS if a.name in (SHOWN, LOGGED)):
        plain = Trial.of(owner, asking)
        for family in present & set(DEFENCES):
            defending = DEFENCES[family]
            aware = Trial(owner, asking, owner.candidates, owner.references, defending)
            suspects = list(_suspects(owner, family))
            for kit, trial in ((UNNAMED, plain), (NAMED, aware)):
                about = {"owner": owner.name, "questions": asking.name, "defence": defending.name, "kit": kit}
                found += [about | row for row in _judged(trial, suspects)]
            aware.test.forget()
    return found


def _suspects(owner: Owner, family: str) -> Iterator[tuple[str, About]]:
    victim = owner.candidates[0]
    for thief in owner.thieves:
        if thief.family == family:
            yield LEARNT, thief
        elif thief.took_weights:
            yield TAKEN, thief
    for _, innocent in owner.innocents:
        if not owner.excluded(innocent, victim):
            yield INNOCENT, innocent


def _judged(trial: Trial, suspects: Sequence[tuple[str, About]]) -> Iterator[Row]:
    test = trial.test.single_look()
    for access in CURVE_ACCESSES:
        compared = trial.compared([about for _, about in suspects], access)
        for (who, about), one in zip(suspects, compared, strict=True):
            verdict = decided(test, last(one))
            yield {
                "access": access.name,
                "who": who,
                "suspect": about.id,
                "recovery": about.recovery,
                "decision": str(verdict.decision),
                "rank": verdict.rank,
                "p": verdict.p_value,
            }


def outcome(rows: Sequence[Row]) -> Outcome:
    """The table and findings of all owners' rows."""
    return Outcome(rows, list(_findings(rows)), {})


def _findings(rows: Sequence[Row]) -> Iterator[Finding]:
    for (defence, questions), part in _cells(rows):
        for access in CURVE_ACCESSES:
            ours = "; ".join(
                f"{who}: "
                + ", ".join(f"{kit} {shown(*found(of(mine, kit=kit)))}" for kit in (UNNAMED, NAMED))
                for who, mine in by(of(part, access=access.name), "who").items()
            )
            yield unclaimed(
                f"Thieves who learnt behind {defence} are found ({questions} questions, {access.name})",
                ours,
                f"{len({r['owner'] for r in part})} victims",
                f"at level .05; by kits that the defence was {UNNAMED} or {NAMED} to",
            )


def _cells(rows: Sequence[Row]) -> Iterator[tuple[tuple[str, str], list[Row]]]:
    for defence, part in by(rows, "defence").items():
        for questions, mine in by(part, "questions").items():
            yield (defence, questions), mine
