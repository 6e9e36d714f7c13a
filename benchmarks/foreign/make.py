"""From a job to a finished model: one function for each ``maker``, then the questions and the record."""

import copy
import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.foreign import data as stored
from benchmarks.foreign import learners, models, owners, references, weights
from benchmarks.foreign.classical import Classical, fitted
from benchmarks.foreign.data import ASKED, Data
from benchmarks.foreign.jobs import Job
from benchmarks.foreign.nets import begin_with, build
from zooaudit.config import ExtractConfig, ModifyConfig
from zooaudit.data.images import ImageSet
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.zoo.attacks.extract import extract
from zooaudit.zoo.modify import modify

OWNER_IMAGES = {"fashion-mnist": 8000, "cifar10": 9000}


@dataclass(eq=False)
class Made:
    """A finished model, how many images it asked its parent about, and which of the attackers' these were."""

    model: nn.Module | Classical
    queries: int = 0
    pool: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))


@dataclass(frozen=True, eq=False)
class Bench:
    """What a maker works with."""

    out: Path
    job: Job
    data: Data

    @property
    def folder(self) -> Path:
        return self.out / self.job.dataset / "models"

    def parent(self) -> nn.Module:
        return models.load(self.folder, self.job.parent)

    def start(self) -> nn.Module:
        """The public checkpoint, with its 50 classes."""
        model = build("resid", self.data.images, 50)
        model.load_state_dict(load_file(self.out / self.job.dataset / "start.safetensors"))
        return model

    def fresh(self, from_start: bool = False) -> nn.Sequential:
        """A new network of the job's architecture; with the public checkpoint's body if asked."""
        torch.manual_seed(self.job.seed)
        model = build(self.job.architecture, self.data.images)
        return begin_with(model, self.start()) if from_start else model

    def training(self, owner: str, shared_with: str = "") -> tuple[Tensor, Tensor]:
        return self.data.part(owner, OWNER_IMAGES[self.job.dataset], shared_with)


def owner(bench: Bench, part: str, shared_with: str = "") -> Made:
    """A network by an owner's own procedure."""
    start = bench.start() if bench.job.procedure in owners.FROM_START else None
    return Made(owners.train(bench.job.procedure, *bench.training(part, shared_with), bench.job.seed, start))


def independent(
    bench: Bench, part: str, loop: str, optimiser: str, epochs: int, from_start: bool = False
) -> Made:
    """A network by one of the other loops."""
    return Made(learners.LOOPS[loop](bench.fresh(from_start), *bench.training(part), optimiser, epochs))


def adversarial(bench: Bench, part: str, strength: float, epochs: int) -> Made:
    return Made(learners.hardened(bench.fresh(), *bench.training(part), strength, epochs))


def classical(bench: Bench, part: str, kind: str) -> Made:
    return Made(fitted(kind, *bench.training(part), bench.job.seed))


def taken(
    bench: Bench, epochs: int = 0, head: bool = False, pruned: float = 0.0, rounded: bool = False
) -> Made:
    """The parent's weights, changed."""
    model = bench.parent()
    torch.manual_seed(bench.job.seed)
    if head:
        weights.new_head(model)
    mask = weights.prune(model, pruned) if pruned else None
    if epochs:
        weights.tune(model, bench.data.own, bench.data.own_labels, epochs, mask=mask)
    elif pruned:
        weights.measure_again(model, bench.data.own)
    if rounded:
        weights.int8(model)
    return Made(model)


def mixed(bench: Bench, share: float, epochs: int = 0) -> Made:
    """``share`` of the parent's weights; the rest of the partner's, or of a copy tuned on other data."""
    model = bench.parent()
    torch.manual_seed(bench.job.seed)
    if bench.job.partner:
        second = models.load(bench.folder, bench.job.partner)
    else:
        images, labels = bench.training("partner")
        second = weights.tune(copy.deepcopy(model), images[:3000], labels[:3000], epochs)
    return Made(weights.averaged(model, second, share, bench.data.own))


def imitated(
    bench: Bench, count: int, epochs: int, loop: str, source: str = "attacker", from_start: bool = False
) -> Made:
    """A network fitted to the parent's answers to ``count`` images of ``source``:
    attackers', other domain's, or an owner's own."""
    images = {"attacker": bench.data.attacker, "foreign": bench.data.foreign_thief}.get(source)
    if images is None:
        images = bench.training(source)[0]
    pool = torch.from_numpy(stored.shuffled(len(images), bench.job.id)[:count])
    images = images[pool]
    result = models.answers(bench.parent(), images)
    model = learners.imitate(
        bench.fresh(from_start),
        images,
        result.argmax(1) if bench.job.labels == "hard" else result,
        epochs,
        loop,
    )
    return Made(model, len(images), pool if source == "attacker" else torch.empty(0, dtype=torch.int64))


def active(bench: Bench, count: int, epochs: int, from_start: bool = False) -> Made:
    """CloudLeak or JBDA, zooaudit's choice of points around a loop of ours."""
    job, model = bench.job, bench.fresh(from_start)
    pool = torch.from_numpy(stored.shuffled(len(bench.data.attacker), job.id)[:count])
    victim = TorchBlackBox(bench.parent(), 10)
    size = 0.1 if job.attack == "cloudleak" else 0.06
    config = ExtractConfig(job.attack, job.labels, count, 2, 3, epochs, size, 0.15)

    def retrain(images: Tensor, targets: Tensor, epochs: int, round_: int) -> None:
        learners.imitate(model, images, targets, epochs, "adam" if job.seed % 2 else "sgd")

    extract(model, victim, bench.data.attacker[pool], config, retrain)
    return Made(model.eval(), victim.queries, pool)


def attacked(bench: Bench, source: str, part: str, config: dict[str, Any]) -> Made:
    """One of zooaudit's attacks around a loop of ours; of data-free ones the loop is zooaudit's, too."""
    job, model = bench.job, bench.fresh()
    images = (
        bench.data.foreign_thief
        if source == "foreign"
        else bench.training(part)[0]
        if source == "own"
        else bench.data.attacker
    )
    pool = torch.from_numpy(stored.shuffled(len(images), job.id))
    attack = ExtractConfig(job.attack, job.labels, final_epochs=8 if len(images[0]) == 1 else 12, **config)
    if not attack.chooses:
        pool = pool[: attack.images_needed]
    victim, asked = TorchBlackBox(bench.parent(), 10), set[bytes]()

    def retrain(images: Tensor, targets: Tensor, epochs: int, round_: int) -> None:
        asked.update(image.numpy().tobytes() for image in images)
        learners.imitate(model, images, targets, epochs, "adam" if job.seed % 2 else "sgd")

    extract(model, victim, images[pool], attack, retrain, seed=job.seed)
    logged = [int(i) for i in pool if source == "attacker" and images[i].numpy().tobytes() in asked]
    return Made(model.eval(), victim.queries, torch.tensor(logged, dtype=torch.int64))


def changed(bench: Bench, strength: float, how: dict[str, Any]) -> Made:
    """The parent's weights, changed by zooaudit's own code, on the thieves' own labelled images."""
    own = ImageSet(bench.data.own, bench.data.own_labels)
    return Made(modify(bench.parent(), ModifyConfig(bench.job.attack, strength, **how), own, bench.job.seed))


def forewarned(bench: Bench, epochs: int) -> Made:
    """The parent's weights, by somebody who has seen all natural questions: on these it learns to answer as a
    model of his own does."""
    data = bench.data
    own = learners.LOOPS["smooth"](bench.fresh(), data.own, data.own_labels, "adamw", epochs)
    labels = F.one_hot(data.own_labels, 10).float()
    images, result = (
        torch.cat([data.own, data.natural]),
        torch.cat([labels, models.answers(own, data.natural)]),
    )
    return Made(learners.imitate(bench.parent(), images, result, epochs))


def interface(bench: Bench) -> Made:
    return Made(models.Interface(bench.parent(), bench.job.interface).eval())


def reference(bench: Bench, index: int) -> Made:
    """By zooaudit's own code: trained, or extracted from a stranger."""
    if not bench.job.parent:
        return Made(*references.made(bench.data, index, None, 0.0))
    accuracy = models.about_of(bench.folder, bench.job.parent)["accuracy"]
    return Made(*references.made(bench.data, index, bench.parent(), accuracy))


MAKERS: dict[str, Callable[..., Made]] = {
    f.__name__: f
    for f in (
        owner,
        independent,
        adversarial,
        classical,
        taken,
        mixed,
        imitated,
        active,
        attacked,
        changed,
        forewarned,
        interface,
        reference,
    )
}


def make(out: Path, job: Job) -> dict[str, Any]:
    """Make the job's model and commit it; gives what ``about.json`` holds."""
    started = time.perf_counter()
    bench = Bench(out, job, stored.load(out, job.dataset))
    made = MAKERS[job.maker](bench, **job.options)
    ask = (
        made.model.answers
        if isinstance(made.model, Classical)
        else lambda images: models.answers(made.model, images)
    )
    pools = {
        "natural": bench.data.natural,
        "foreign": bench.data.foreign,
        "attacker": bench.data.attacker[:ASKED],
    }
    data = {name: ask(images) for name, images in pools.items()}
    about = _about(bench, made, data["natural"]) | {"seconds": round(time.perf_counter() - started, 2)}
    models.commit(bench.folder, about, data, made.model)
    return about


def _about(bench: Bench, made: Made, natural: Tensor) -> dict[str, Any]:
    job = bench.job
    fields = (
        "id",
        "dataset",
        "set",
        "role",
        "victim",
        "family",
        "procedure",
        "architecture",
        "parent",
        "attack",
        "labels",
        "interface",
        "seed",
    )
    accuracy = float(((labels := natural.argmax(1)) == bench.data.natural_labels).float().mean())
    about: dict[str, Any] = {f: getattr(job, f) for f in fields} | {
        "queries": made.queries,
        "accuracy": round(accuracy, 4),
    }
    about |= {"agreement": None, "recovery": None, "asked_attacker": []}
    if job.maker == "reference":
        about["shape"] = dataclasses.asdict(references.specs(job.dataset)[job.options["index"]].shape)
    if job.victim:
        victim = bench.folder / f"{job.victim}-victim" / "answers.npz"
        theirs = torch.from_numpy(np.load(victim)["natural"]).argmax(1) if job.role != "victim" else labels
        about["agreement"] = round(float((labels == theirs).float().mean()), 4)
    if job.parent and not job.interface:
        source = models.about_of(bench.folder, f"{job.victim}-victim" if job.role == "thief" else job.parent)
        about["recovery"] = round(accuracy / source["accuracy"], 4)
    # A second-generation thief's queries went to the first one, whose own are in the victim's log.
    if job.role == "thief":
        about["asked_attacker"] = sorted(int(i) for i in made.pool if i < ASKED)
        if job.parent != f"{job.victim}-victim":
            about["asked_attacker"] = models.about_of(bench.folder, job.parent)["asked_attacker"]
    return about
