"""Which models are made: the victim and 19 twins, references, innocents, thieves."""

from collections.abc import Iterator
from functools import cache, partial

from benchmarks.checkpoint.data import AN_OWNERS, CLASSES, NAME
from benchmarks.checkpoint.nets import LITE, SHAPE
from benchmarks.foreign.data import derive
from benchmarks.foreign.jobs import Job
from zooaudit.config import ExtractConfig, Start, TrainConfig, ZooConfig
from zooaudit.zoo.planner import Planner
from zooaudit.zoo.shape import ModelShape
from zooaudit.zoo.spec import ModelSpec
from zooaudit.zoo.start import start_of

VICTIM, TWINS = "tin-lite", 19
STATISTICS = ((0.48, 0.45, 0.40), (0.27, 0.26, 0.28))
FROM_CHECKPOINT = (
    ("sgd", ""),
    ("head", ""),
    ("smoothed", VICTIM),
    ("half", ""),
    ("holed", ""),
    ("nadam", VICTIM),
    ("fast", ""),
    ("slow", ""),
    ("head", VICTIM),
    ("sgd", VICTIM),
)
"""Loops of others, and whose data: their own, or the victim's very images."""
SCRATCH = (
    ("shufflenet", "scratch"),
    ("mobilenet", "scratch"),
    ("drop", "scratch"),
    ("plain", "scratch-sgd"),
    ("hybrid", "scratch"),
    ("shufflenet", "scratch-sgd"),
)


def plan() -> list[Job]:
    """All jobs, parents before their children."""
    return [*owner(), *references(), *innocents(), *thieves()]


def owner() -> Iterator[Job]:
    make = partial(
        Job, dataset=NAME, set="report", maker="owner", victim=VICTIM, procedure="lite", architecture=LITE
    )
    yield make(f"{VICTIM}-victim", role="victim", family="victim", options={"part": VICTIM})
    for seed in range(1, TWINS + 1):
        yield make(
            f"{VICTIM}-twin-{seed:02d}", role="twin", family="twin", options={"part": VICTIM}, seed=seed
        )


@cache
def start() -> Start:
    return start_of("benchmarks.checkpoint.nets:checkpoint", SHAPE, CLASSES)


@cache
def specs() -> tuple[ModelSpec, ...]:
    """The references, as zooaudit plans them for a victim that began with the checkpoint;
    smaller than a recipe's."""
    attack = ExtractConfig(seed_size=4000, rounds=1, round_epochs=3, final_epochs=8, augment=True)
    zoo = ZooConfig(
        data_fraction=AN_OWNERS / 16_666,
        hidden=64,
        training=TrainConfig(epochs=10, mirror=True, shift=2),
        extraction=attack,
        second_attack=ExtractConfig("jbda", "soft", 2000, 1, 3, 8, augment=True),
        epochs=(("start", 3), ("B", 8)),
        accuracy_floor=0.12,
        recovery_floor=0.5,
        batch_sizes=(64,),
        start=start(),
    )
    shape = ModelShape(SHAPE, CLASSES, *STATISTICS, zoo.widths, zoo.hidden)
    return tuple(Planner(zoo, NAME, shape, derive("references", NAME)).references())


def references() -> Iterator[Job]:
    ids = {spec.id: f"tin-reference-{i:02d}-{spec.architecture}" for i, spec in enumerate(specs())}
    for i, spec in enumerate(specs()):
        attack, labels = (spec.extraction.attack, spec.extraction.labels) if spec.extraction else ("", "")
        yield Job(
            ids[spec.id],
            NAME,
            "both",
            "reference",
            "reference",
            "reference",
            options={"index": i},
            procedure="zooaudit",
            architecture=spec.architecture,
            parent=ids.get(spec.parent or "", ""),
            attack=attack,
            labels=labels,
            seed=spec.seed % 2**31,
        )


def innocents() -> Iterator[Job]:
    """Fine-tuned from the checkpoint by other code; the owner's own procedure on other data; from nothing;
    extracted from strangers."""
    make = partial(Job, dataset=NAME, set="report", role="innocent")
    for i, (loop, data) in enumerate(FROM_CHECKPOINT):
        family = f"same checkpoint, other code{', same data' if data else ''}"
        yield make(
            f"tin-checkpoint-{i}-{loop}",
            family=family,
            maker="others",
            options={"part": data or f"other-{i}", "loop": loop},
            victim=data,
            procedure=loop,
            architecture=LITE,
            seed=100 + i,
        )
    for i in range(2):
        yield make(
            f"tin-sibling-{i}",
            family="same checkpoint, same code, other data",
            maker="owner",
            options={"part": f"sibling-{i}"},
            victim=VICTIM,
            procedure="lite",
            architecture=LITE,
            seed=200 + i,
        )
    for i, (net, loop) in enumerate(SCRATCH):
        yield make(
            f"tin-scratch-{i}-{net}",
            family="from scratch",
            maker="others",
            options={"part": f"scratch-{i}", "loop": loop},
            procedure=loop,
            architecture=net,
            seed=300 + i,
        )
    for i, (labels, parent) in enumerate(
        (("soft", "tin-checkpoint-0-sgd"), ("hard", "tin-checkpoint-4-holed"))
    ):
        yield make(
            f"tin-extracted-{i}-{labels}",
            family="same checkpoint, extracted from a stranger",
            maker="imitated",
            options={"count": 5000, "loop": "sgd"},
            procedure="imitate",
            architecture=LITE,
            parent=parent,
            attack="distilled",
            labels=labels,
            seed=400 + i,
        )


def thieves() -> Iterator[Job]:
    parent = f"{VICTIM}-victim"
    make = partial(
        Job,
        dataset=NAME,
        set="report",
        role="thief",
        victim=VICTIM,
        procedure="thief",
        architecture=LITE,
        parent=parent,
    )
    taken = (
        ("finetuned-1", "fine-tuned", {"epochs": 1}),
        ("finetuned-5", "fine-tuned", {"epochs": 5}),
        ("new-head", "new head", {"epochs": 5, "head": True}),
        ("pruned-50-tuned", "pruned and fine-tuned", {"pruned": 0.5, "epochs": 2}),
        ("int8", "INT8", {"rounded": True}),
    )
    for i, (name, family, options) in enumerate(taken):
        yield make(
            f"{VICTIM}-thief-{name}", family=family, maker="taken", options=options, attack=name, seed=500 + i
        )
    yield make(
        f"{VICTIM}-thief-averaged-50",
        family="weights averaged",
        maker="mixed",
        options={"share": 0.5},
        attack="averaged-50",
        partner="tin-sibling-0",
        seed=550,
    )
    asked = (
        ("soft", LITE, "sgd", 5000),
        ("hard", LITE, "sgd", 5000),
        ("soft", "shufflenet", "scratch", 5000),
        ("soft", "hybrid", "scratch", 6000),
    )
    for i, (labels, net, loop, count) in enumerate(asked):
        yield make(
            f"{VICTIM}-thief-distilled-{labels}-{net}",
            family="distilled",
            maker="imitated",
            options={"count": count, "loop": loop},
            architecture=net,
            attack="distilled",
            labels=labels,
            seed=600 + i,
        )
