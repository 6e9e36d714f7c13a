"""How often the twin test accuses models that were made without the victim, by who made them and by victim.

Every innocent is judged against the victim of each owner, and then against each of its twins as if that were
the victim: candidates are alike, so this shows how far one candidate's rate may lie from the next one's.
(Over all candidates of an owner the mean share of innocents that put one first is 1 in so many whatever the
statistic: only the rates of single candidates and of true victims tell anything.)
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from zooaudit.studies.collected_about import About
from zooaudit.studies.outcome import Finding, Outcome, unclaimed
from zooaudit.studies.owners import Owner
from zooaudit.studies.pictures import panels
from zooaudit.studies.rates import leaning, luck, shown, worst
from zooaudit.studies.trials import ACCESSES, ASKINGS, LEVEL, Asking, Trial, last
from zooaudit.suspects.access import Access
from zooaudit.verdict.decision import Decision
from zooaudit.verdict.examined import Compared
from zooaudit.verdict.exchangeable import spoken
from zooaudit.verdict.ranking import ranked
from zooaudit.verdict.twin_test import TwinTest

Row = dict[str, Any]
ONCE, EARLY = RULES = ("once", "early")
"""Looking once, when all is asked, or at each look, to stop early."""
SHOWN = "1,000"
"""The questions that pictures and findings are about."""


def rows(owner: Owner) -> list[Row]:
    """One row a candidate as the victim, a kind of questions, an access, a rule, and a
    family and a source of innocents."""
    return [row for asking in ASKINGS for row in _of_asking(owner, asking)]


def _of_asking(owner: Owner, asking: Asking) -> Iterator[Row]:
    trial = Trial.of(owner, asking)
    models = [about for _, about in owner.innocents]
    found = {}
    for access in ACCESSES:
        found[access.name] = trial.compared(models, access)
        _prepare(trial.test, access, found[access.name])
    tests = {ONCE: trial.test.single_look(), EARLY: trial.test}
    for index, candidate in enumerate(owner.candidates):
        order = [index, *(i for i in range(len(owner.candidates)) if i != index)]
        for rule, test in tests.items():
            turned = test.ordered(order)
            kit = {
                "owner": owner.name,
                "victim": candidate.id,
                "true": index == 0,
                "questions": asking.name,
                "rule": rule,
            }
            kit |= _checked(turned)
            for access in ACCESSES:
                hub = turned.hub(access)
                result = kit | {
                    "access": access.name,
                    "hub": hub.is_one,
                    "hub_p_first": hub.p_first,
                    "hub_p_mean": hub.p_mean,
                }
                for (family, source), counts in _counted(
                    owner, candidate, order, turned, found[access.name]
                ).items():
                    yield result | {"family": family, "source": source} | counts


def _prepare(test: TwinTest, access: Access, compared: Sequence[Compared]) -> None:
    """Judge the references once, for all orders of the candidates."""
    for seen, by_columns in {(c.access, c.by_columns) for c in compared} | {(access, True)}:
        for look in test.looks:
            test.hub(seen, by_columns, look)
    test.forget()


def _checked(test: TwinTest) -> Row:
    refused, cautions = spoken(test.exchangeability)
    off = [c.name for c in test.exchangeability if c.cautioned]
    return {
        "refused": bool(refused),
        "cautions": len(cautions),
        "off": "; ".join(off),
        "text": "\n".join(c.line for c in test.exchangeability),
    }


def _counted(
    owner: Owner, candidate: About, order: list[int], test: TwinTest, compared: Sequence[Compared]
) -> dict[tuple[str, str], Row]:
    """What becomes of the innocents of each family and source, those made from the candidate left out."""
    found: dict[tuple[str, str], Row] = {}
    for (family, about), one in zip(owner.innocents, compared, strict=True):
        if owner.excluded(about, candidate):
            continue
        one = one.ordered(order)
        if len(test.looks) == 1:
            one = last(one)
        counts = found.setdefault(
            (family, owner.source(about)),
            {"n": 0, "first": 0, "stolen": 0, "cannot_tell": 0, "ranks": [0] * len(order)},
        )
        decision, rank = test.decide(one, aside=False).decision, ranked(one.looks, len(test.looks)).rank
        counts["n"] += 1
        counts["first"] += rank == 1
        counts["stolen"] += decision is Decision.STOLEN
        counts["cannot_tell"] += decision is Decision.CANNOT_TELL
        counts["ranks"][rank - 1] += 1
    return found


def outcome(found: Sequence[Row]) -> Outcome:
    """Tables, pictures and findings of all owners' rows."""
    return Outcome(found, [*_rates(found), *_kits(found)], {"validity.svg": _picture(found)})


def of(found: Sequence[Row], **fields: Any) -> list[Row]:
    """Rows with these values."""
    return [r for r in found if all(r[k] == v for k, v in fields.items())]


def total(found: Sequence[Row], what: str) -> tuple[int, int]:
    return sum(r[what] for r in found), sum(r["n"] for r in found)


def by(found: Sequence[Row], key: str | Callable[[Row], Any]) -> dict[Any, list[Row]]:
    """Rows by a column, or by what a function makes of them."""
    groups: dict[Any, list[Row]] = {}
    for row in found:
        groups.setdefault(row[key] if isinstance(key, str) else key(row), []).append(row)
    return groups


def worst_of(found: Sequence[Row], what: str) -> tuple[str, tuple[int, int], float]:
    """Of the victims in these rows: whose count is least likely at the level, the count, and the chance of
    one such among so many."""
    groups = by(found, "victim")
    counts = [total(g, what) for g in groups.values()]
    where, p = worst(counts, LEVEL)
    return list(groups)[where], counts[where], p


def leaning_of(found: Sequence[Row]) -> tuple[float, float]:
    """Of the candidate that most independent sources of innocents put first: their share, each source counted
    once however many models are of it; and the chance of one so large, see
    :func:`~zooaudit.studies.rates.leaning`."""
    return leaning([_shares(part) for part in by(found, "owner").values()])


def luck_of(found: Sequence[Row]) -> float:
    """The chance that the true victims have as many innocents called stolen, or more, were
    each any one of its owner's candidates: alone this tells of the level, since innocents
    are not independent of each other."""
    counts = [
        np.array([total(g, "stolen")[0] for g in by(part, "victim").values()])
        for part in by(found, "owner").values()
    ]
    return luck(counts, total(of(found, true=True), "stolen")[0])


def _shares(found: Sequence[Row]) -> np.ndarray:
    """Of one owner's rows: the share of each source's innocents that put each candidate first,
    ``[sources, candidates]``."""
    cells = by(found, lambda r: (r["source"], r["victim"]))
    sources, victims = (sorted(by(found, key)) for key in ("source", "victim"))
    counts = [[total(cells.get((s, v), []), "first") for v in victims] for s in sources]
    return np.array([[k / n if n else 0.0 for k, n in row] for row in counts])


def _rates(found: Sequence[Row]) -> Iterator[Finding]:
    for rule in RULES:
        for access in (a.name for a in ACCESSES):
            part = of(found, questions=SHOWN, rule=rule, access=access)
            true = of(part, true=True)
            (k, n), (first, _) = total(true, "stolen"), total(true, "first")
            _, (worst_k, worst_n), p = worst_of(part, "stolen")
            share, chance = leaning_of(part)
            of_worst = f"worst candidate as the victim {worst_k} of {worst_n} (p of one so bad {p:.2g})"
            yield unclaimed(
                f"At level {LEVEL:g} innocents are called stolen at most that often ({SHOWN} questions,"
                f" {access}, looked at {rule})",
                f"{k} of {n}, {shown(k, n)} (p of so many, were each victim any of its candidates,"
                f" {luck_of(part):.2g}); first {first}; {of_worst}; by source, one is first for {share:.2f}"
                f" (p {chance:.2g})",
                f"{n} judgements of {len(by(true, 'victim'))} victims, {len(by(part, 'victim'))} candidates"
                " in turn",
                "intervals are Clopper and Pearson's, of 95 %, and take innocents for independent, which"
                " those of one source are not",
            )


def _kits(found: Sequence[Row]) -> Iterator[Finding]:
    part = of(found, questions=SHOWN, rule=ONCE, access="probabilities")
    kits = [rows[0] for rows in by(part, "victim").values()]
    counts = ", ".join(
        f"{sum(map(bool, (k[c] for k in kits)))} {result}"
        for c, result in (("hub", "hubs"), ("refused", "refuse"), ("cautions", "caution"))
    )
    yield unclaimed(
        "Kits that accuse less or nobody",
        counts,
        f"{len(kits)} candidates in turn as the victim",
        "no suspect is needed for that",
    )
    for kit in kits:
        if kit["true"]:
            yield unclaimed(
                f"{kit['victim']} looks like a draw of its procedure",
                kit["off"] or "it does",
                "1 victim",
                kit["text"],
            )


def _picture(found: Sequence[Row]) -> bytes:
    names = [a.name for a in ACCESSES]

    def paint(axes: Any, title: str) -> None:
        access, what = title.split(": ")
        part = of(found, questions=SHOWN, rule=ONCE, access=access)
        if what == "p of innocents":
            _quantiles(axes, of(part, true=True))
        else:
            _candidates(axes, part)

    return panels([f"{a}: {what}" for what in ("p of innocents", "share first") for a in names[:3]], paint)


def _quantiles(axes: Any, found: Sequence[Row]) -> None:
    """Q-Q plot: how many p are at most a value, by owner and of all."""
    axes.plot([0, 1], [0, 1], ":", color="#777777", linewidth=1.2)
    for name, part in [*by(found, "owner").items(), ("all owners", list(found))]:
        ranks = np.sum([r["ranks"] for r in part], axis=0)
        at = np.arange(1, len(ranks) + 1) / len(ranks)
        bold = (
            {"color": "#000000", "linewidth": 2.0, "label": name}
            if name == "all owners"
            else {"linewidth": 0.9, "alpha": 0.7}
        )
        axes.step(at, ranks.cumsum() / ranks.sum(), where="post", **bold)
    axes.set(xlabel="p", ylabel="share of innocents with at most that", xlim=(0, 1), ylim=(0, 1))


def _candidates(axes: Any, found: Sequence[Row]) -> None:
    """Each candidate as the victim: its share of innocents that put it first, sorted; true
    victims are marked."""
    for number, part in enumerate(by(found, "owner").values()):
        groups = sorted(by(part, "victim").values(), key=lambda g: total(g, "first")[0])
        shares = [k / n for k, n in (total(g, "first") for g in groups)]
        axes.plot(range(len(shares)), shares, "-", linewidth=0.9, alpha=0.7)
        mine = next(i for i, g in enumerate(groups) if g[0]["true"])
        axes.plot(
            [mine],
            [shares[mine]],
            "*",
            color="#000000",
            markersize=8,
            label=None if number else "the true victim",
        )
    axes.axhline(LEVEL, linestyle=":", color="#777777")
    axes.set(xlabel="candidates, sorted", ylabel="innocents that put it first", ylim=(0, None))
