"""Jobs of more kinds of thieves, on the victims of the last report; and innocents whom the
same was done to with a stranger's model.

The verdict was chosen and frozen before any of them was made.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

from benchmarks.foreign.jobs import SHORT, Job
from benchmarks.foreign.owners import ARCHITECTURE
from benchmarks.foreign.plan import VICTIMS, owners
from benchmarks.foreign.plan_shared import references, shared

ROUND = "fresh"
COPIES = 2
"""Thieves of each kind and victim: eight of a kind on four victims of Fashion-MNIST, four
on two of CIFAR-10."""
SLOW = ("dfme", "disguide")
"""Without data: minutes each, so that there are fewer, and they are made last."""
SLOW_COPIES = {"fashion-mnist": 2, "cifar10": 1}
CHOSEN = {"seed_size": 600, "rounds": 4, "round_epochs": 4}
ASKED: tuple[tuple[str, str, str, str, dict[str, Any]], ...] = (
    ("knockoff-adaptive", "knockoff", "soft", "foreign", {"seed_size": 2000, "rounds": 2, "round_epochs": 4}),
    ("copycat", "knockoff", "hard", "foreign", {"seed_size": 6000, "rounds": 0}),
    ("distilled-own-images", "distill", "soft", "own", {"seed_size": 6000}),
    ("distilled-own-images-hard", "distill", "hard", "own", {"seed_size": 6000}),
    ("distilled-top-3", "distill", "top-3", "attacker", {"seed_size": 6000}),
    ("distilled-one-decimal", "distill", "rounded-1", "attacker", {"seed_size": 6000}),
    ("active-uncertainty", "activethief", "soft", "attacker", CHOSEN | {"choice": "uncertainty"}),
    ("active-k-centre", "activethief", "hard", "attacker", CHOSEN | {"choice": "k-centre"}),
    ("active-deepfool", "activethief", "soft", "attacker", CHOSEN | {"choice": "deepfool"}),
    ("data-free", "dfme", "soft", "none", {"queries": 300_000}),
    ("data-free, disagreement", "disguide", "hard", "none", {"queries": 40_000}),
    (
        "distilled, reverse sigmoid",
        "distill",
        "soft",
        "attacker",
        {"seed_size": 6000, "defence": "reverse-sigmoid"},
    ),
    (
        "distilled, MAD",
        "distill",
        "soft",
        "attacker",
        {"seed_size": 6000, "defence": "mad", "defence_budget": 1.0},
    ),
)
"""Family, attack, labels, whose images, and what else the attack is told."""
CHANGED: tuple[tuple[str, str, float, dict[str, Any]], ...] = (
    ("last layer tuned", "last-layer", 5, {}),
    ("new head", "new-head", 10, {"lr": 0.05}),
    ("retrained", "retrain", 10, {"lr": 0.05}),
    ("fine-pruned", "prune-tune", 0.7, {}),
    ("float16", "float16", 16, {}),
    ("distilled from the weights", "distil", 30, {"batch_size": 64}),
    ("removal, short", "removal", 200, {"lr": 0.02}),
    ("removal, long", "removal", 1000, {"lr": 0.02}),
    ("transferred to half of the classes", "transfer", 10, {"lr": 0.05}),
)
"""Family, modification, strength, and how else it is done."""


def plan(dataset: str) -> list[Job]:
    """Everything that the study of one data set needs, what is there already first."""
    return [
        *(job for p in VICTIMS[ROUND, dataset] for job in owners(ROUND, dataset, p)),
        *references(dataset),
        *more(dataset),
    ]


def more(dataset: str) -> Iterator[Job]:
    """The new ones, and the strangers."""
    for procedure in VICTIMS[ROUND, dataset]:
        victim = f"{SHORT[dataset]}-{procedure}"
        base = partial(
            Job,
            dataset=dataset,
            set="report",
            role="thief",
            victim=victim,
            parent=f"{victim}-victim",
            procedure="thief",
        )
        yield from done_to(base, f"{victim}-thief", victim, ARCHITECTURE[procedure], COPIES)
    strangers = [job for job in shared(ROUND, dataset, VICTIMS[ROUND, dataset]) if job.family == "stranger"]
    yield from strangers
    for job in strangers:
        base = partial(Job, dataset=dataset, set="report", role="innocent", parent=job.id, procedure="thief")
        yield from done_to(base, f"{job.id}-robbed", job.id, job.architecture, 1)


def done_to(base: "partial[Job]", name: str, part: str, architecture: str, copies: int) -> Iterator[Job]:
    """All attacks on one model; ``part`` names its owner's training images. Every other
    thief does not know the architecture."""
    other = "gelu" if architecture == "group" else "group"
    for i in range(copies):
        for k, (family, attack, labels, source, options) in enumerate(ASKED):
            if attack in SLOW and i >= SLOW_COPIES[base.keywords["dataset"]]:
                continue
            yield base(
                f"{name}-{_word(family)}-{i}",
                family=_family(base, family),
                maker="attacked",
                attack=attack,
                labels=labels,
                seed=5000 + 100 * k + i,
                architecture=other if i % 2 else architecture,
                options={"source": source, "part": part, "config": options},
            )
        for k, (family, kind, strength, options) in enumerate(CHANGED):
            if i == 0 or kind != "float16":
                yield base(
                    f"{name}-{_word(family)}-{i}",
                    family=_family(base, family),
                    maker="changed",
                    attack=kind,
                    seed=7000 + 100 * k + i,
                    architecture=architecture,
                    options={"strength": strength, "how": options},
                )

        yield base(
            f"{name}-forewarned-{i}",
            family=_family(base, "has seen the questions"),
            maker="forewarned",
            attack="forewarned",
            seed=9000 + i,
            architecture=architecture,
            options={"epochs": 8},
        )


def _word(family: str) -> str:
    """For ids."""
    return family.replace(", ", "-").replace(" ", "-")


def _family(base: "partial[Job]", family: str) -> str:
    return family if base.keywords["role"] == "thief" else f"of a stranger: {family}"
