"""Jobs of one victim's thieves: its weights taken and changed, or its answers learnt."""

from collections.abc import Iterator
from functools import partial

from benchmarks.foreign.jobs import SET_OF, SHORT, Job
from benchmarks.foreign.owners import ARCHITECTURE, FROM_START
from benchmarks.foreign.plan_shared import how

OTHER = {
    "P1": "plain",
    "P2": "gelu",
    "P3": "gelu",
    "P4": "gelu",
    "P5": "plain",
    "P6": "plain",
    "P7": "gelu",
    "P8": "drop",
    "P9": "hybrid",
}
"""The architecture of thieves who do not know the victim's."""
THIRD = "dense"


def thieves(round_: str, dataset: str, procedure: str) -> Iterator[Job]:
    """All thieves of the victim of ``procedure``."""
    victim = f"{SHORT[dataset]}-{procedure}"
    base = partial(
        Job,
        dataset=dataset,
        set=SET_OF[round_],
        role="thief",
        victim=victim,
        parent=f"{victim}-victim",
        procedure="thief",
    )
    yield from takers(base, victim, procedure)
    yield from askers(base, victim, procedure, dataset == "cifar10")


def takers(base: partial[Job], victim: str, procedure: str) -> Iterator[Job]:
    """Thieves who have the weights."""
    cases = [
        ("finetuned-1", "fine-tuned", {"epochs": 1}),
        ("finetuned-5", "fine-tuned", {"epochs": 5}),
        ("finetuned-20", "fine-tuned", {"epochs": 20}),
        ("new-head", "new head", {"epochs": 5, "head": True}),
        ("pruned-50", "pruned", {"pruned": 0.5}),
        ("pruned-70-tuned", "pruned and fine-tuned", {"pruned": 0.7, "epochs": 3}),
        ("int8", "INT8", {"rounded": True}),
    ]
    own = partial(base, architecture=ARCHITECTURE[procedure])
    for i, (name, family, options) in enumerate(cases):
        yield own(
            f"{victim}-thief-{name}",
            family=family,
            maker="taken",
            options=options,
            attack=name,
            seed=2000 + i,
        )
    options = {"share": 0.5, "epochs": 4}
    yield own(
        f"{victim}-thief-averaged-50",
        family="weights averaged",
        maker="mixed",
        options=options,
        attack="averaged-50",
        seed=2100,
    )
    partner, options = (
        (f"{victim}-sibling-other-data-0", {"share": 0.7})
        if procedure in FROM_START
        else ("", {"share": 0.7, "epochs": 8})
    )
    yield own(
        f"{victim}-thief-averaged-70",
        family="weights averaged",
        maker="mixed",
        options=options,
        attack="averaged-70",
        partner=partner,
        seed=2101,
    )


def askers(base: partial[Job], victim: str, procedure: str, colour: bool) -> Iterator[Job]:
    """Thieves who have the answers only."""
    same, other = ARCHITECTURE[procedure], OTHER[procedure]
    for attack in ("distilled", "cloudleak", "jbda", "knockoff"):
        for i, labels in enumerate(
            ("soft", "soft", "hard", "hard") if attack == "distilled" else ("soft", "hard")
        ):
            labels = "soft" if attack == "knockoff" else labels
            maker, options = how(attack, colour)
            if attack == "distilled":
                options |= {"epochs": 12 if colour else 8, "loop": "sgd" if i == 3 else "adam"}
            known = i % 2 == 0
            start = {"from_start": True} if known and procedure in FROM_START else {}
            stranger = ("gelu" if same == "group" else "group") if attack == "knockoff" else other
            yield base(
                f"{victim}-thief-{attack}-{labels}-{'same' if known else 'other'}-net",
                family=attack,
                maker=maker,
                options=options | start,
                architecture=same if known else stranger,
                attack=attack,
                labels=labels,
                seed=2200 + i,
            )
    for i, (labels, architecture) in enumerate(
        (("soft", same), ("soft", other), ("soft", THIRD), ("hard", same), ("hard", other))
    ):
        options = {
            "count": 2500 if colour else 1500,
            "epochs": (12 if colour else 7) + i % 3,
            "loop": "sgd" if i == 1 else "adam",
        }
        yield base(
            f"{victim}-thief-weak-{labels}-{architecture}",
            family="weak extraction",
            maker="imitated",
            options=options,
            architecture=architecture,
            attack="distilled-weakly",
            labels=labels,
            seed=2300 + i,
        )
    again = partial(base, family="second generation", attack="second-generation")
    for i, (labels, architecture) in enumerate((("soft", other), ("hard", THIRD))):
        maker, options = how("distilled", colour)
        yield again(
            f"{victim}-thief-second-{labels}",
            maker=maker,
            options=options,
            architecture=architecture,
            labels=labels,
            parent=f"{victim}-thief-distilled-soft-same-net",
            seed=2400 + i,
        )
