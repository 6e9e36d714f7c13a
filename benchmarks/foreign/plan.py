"""The ordered list of models to make: what shared ones, what for each victim."""

from collections.abc import Iterator
from functools import partial

from benchmarks.foreign.data import derive
from benchmarks.foreign.jobs import SET_OF, SHORT, Job
from benchmarks.foreign.models import INTERFACES
from benchmarks.foreign.owners import ARCHITECTURE, FROM_START
from benchmarks.foreign.plan_shared import references, shared
from benchmarks.foreign.plan_thieves import thieves

VICTIMS = {
    ("dev", "fashion-mnist"): ("P1", "P4"),
    ("dev", "cifar10"): ("P2",),
    ("report", "fashion-mnist"): ("P2", "P3", "P5"),
    ("report", "cifar10"): ("P1", "P3", "P4"),
    ("fresh", "fashion-mnist"): ("P6", "P7", "P8", "P9"),
    ("fresh", "cifar10"): ("P6", "P9"),
}
TWINS = 19
BEHIND = 10
"""Innocents of each part that also answer behind the interfaces."""


def plan(which: str) -> list[Job]:
    """All jobs of ``dev``, ``report`` or ``all``, in the order of the queue: parents before
    their children."""
    rounds = [r for r, set_ in SET_OF.items() if which in ("all", set_)]
    return [job for round_ in rounds for dataset in SHORT for job in part(round_, dataset)]


def part(round_: str, dataset: str) -> list[Job]:
    """One round of one data set; the references, which serve all, come with each."""
    procedures = VICTIMS[round_, dataset]
    owned = [job for p in procedures for job in owners(round_, dataset, p)]
    innocents = [
        *shared(round_, dataset, procedures),
        *(job for p in procedures for job in kin(round_, dataset, p)),
    ]
    stolen = [job for p in procedures for job in thieves(round_, dataset, p)]
    return [*owned, *references(dataset), *innocents, *stolen, *behind(innocents)]


def owners(round_: str, dataset: str, procedure: str) -> Iterator[Job]:
    """The victim, seed 0, and its twins: the same data, seeds 1 to 19."""
    victim = f"{SHORT[dataset]}-{procedure}"
    make = partial(
        Job,
        dataset=dataset,
        set=SET_OF[round_],
        maker="owner",
        victim=victim,
        procedure=procedure,
        architecture=ARCHITECTURE[procedure],
    )
    yield make(f"{victim}-victim", role="victim", family="victim", options={"part": victim})
    for seed in range(1, TWINS + 1):
        yield make(
            f"{victim}-twin-{seed:02d}", role="twin", family="twin", options={"part": victim}, seed=seed
        )


def kin(round_: str, dataset: str, procedure: str) -> Iterator[Job]:
    """Innocents that share the owner's code, data or both with the victim."""
    victim, many = f"{SHORT[dataset]}-{procedure}", round_ != "dev"
    base = partial(Job, dataset=dataset, set=SET_OF[round_], role="innocent", victim=victim)
    own = partial(base, maker="owner", procedure=procedure, architecture=ARCHITECTURE[procedure])
    for i in range(4 if many else 2):
        options = {"part": f"{victim}-other-{i}"}
        yield own(
            f"{victim}-sibling-other-data-{i}", family="sibling, other data", options=options, seed=100 + i
        )
    for i in range(4 if many else 2):
        yield own(
            f"{victim}-sibling-same-data-{i}",
            family="sibling, same data",
            options={"part": victim},
            seed=200 + i,
        )
    for i in range(2 if many else 1):
        options = {"part": f"{victim}-half-{i}", "shared_with": victim}
        yield own(
            f"{victim}-sibling-half-data-{i}",
            family="sibling, half of the data",
            options=options,
            seed=300 + i,
        )
    others = (
        ("group", "smooth", "adam"),
        ("dense", "noisy", "sgd"),
        (ARCHITECTURE[procedure], "smooth", "rmsprop"),
    )
    for i, (architecture, loop, optimiser) in enumerate(others[: 3 if many else 2]):
        options = {
            "part": victim,
            "loop": loop,
            "optimiser": optimiser,
            "epochs": 4 if dataset == "fashion-mnist" else 6,
        }
        make = partial(base, maker="independent", procedure=f"{loop}-{optimiser}", architecture=architecture)
        yield make(
            f"{victim}-other-loop-same-data-{i}",
            family="other loop, same data",
            options=options,
            seed=400 + i,
        )
    yield from from_kin(base, victim, procedure, many)


def from_kin(base: partial[Job], victim: str, procedure: str, many: bool) -> Iterator[Job]:
    """Innocents extracted from the victim's siblings, and one that the owner distilled from
    a sibling on the victim's own images."""
    epochs = 7 if victim.startswith("fmnist") else 11
    copy = partial(base, maker="imitated", procedure="imitate", architecture=ARCHITECTURE[procedure])
    start = procedure in FROM_START
    cases = [("other", 0, "soft"), ("same", 0, "soft"), ("same", 1, "hard")] + (
        [("other", 1, "hard")] if many else []
    )
    for i, (kind, sibling, labels) in enumerate(cases):
        options = {"count": 6000, "epochs": epochs, "loop": "adam", "from_start": start}
        yield copy(
            f"{victim}-from-sibling-{kind}-data-{labels}",
            family=f"extracted from sibling, {kind} data",
            options=options,
            parent=f"{victim}-sibling-{kind}-data-{sibling}",
            attack="distilled",
            labels=labels,
            seed=500 + i,
        )
    options = {"count": 6000, "epochs": epochs, "loop": "adam", "source": victim}
    parent = f"{victim}-sibling-same-data-0"
    yield copy(
        f"{victim}-in-house",
        family="distilled in-house",
        options=options,
        parent=parent,
        attack="distilled",
        labels="soft",
        seed=600,
    )


def behind(innocents: list[Job]) -> Iterator[Job]:
    """Some of the innocents, evenly picked, behind each interface."""
    able = [job for job in innocents if job.maker != "classical"]
    for job in able[:: max(1, len(able) // BEHIND)][:BEHIND]:
        for kind in INTERFACES:
            yield Job(
                f"{job.id}-behind-{kind}",
                job.dataset,
                job.set,
                "innocent",
                "interface",
                "interface",
                victim=job.victim,
                procedure=job.procedure,
                architecture=job.architecture,
                parent=job.id,
                attack=job.attack,
                labels=job.labels,
                interface=kind,
                seed=derive(job.id, kind) % 1000,
            )
