"""From a job to a finished model in the layout of ``zooaudit/studies/collected.py``."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmarks.checkpoint import data as stored
from benchmarks.checkpoint.data import ASKED, CLASSES, NAME, Data
from benchmarks.checkpoint.loops import LOOPS, owners, trained
from benchmarks.checkpoint.nets import build
from benchmarks.checkpoint.plan import specs
from benchmarks.foreign import models, weights
from benchmarks.foreign.data import shuffled
from benchmarks.foreign.jobs import Job
from zooaudit.data.images import Dataset, ImageSet
from zooaudit.storage.models import skeleton
from zooaudit.suspects.defences import TREATMENTS
from zooaudit.zoo.build import Parent, Status
from zooaudit.zoo.build import build as build_reference

BATCH = 250
FIELDS = (
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


@dataclass(eq=False)
class Made:
    """A finished model, and which of the attackers' images its parent was asked."""

    model: nn.Module
    pool: Tensor


NOTHING = torch.empty(0, dtype=torch.int64)


@dataclass(frozen=True, eq=False)
class Bench:
    """What a maker works with."""

    out: Path
    job: Job
    data: Data

    @property
    def folder(self) -> Path:
        return self.out / NAME / "models"

    def loaded(self, id_: str) -> nn.Sequential:
        """A finished model, in evaluation mode."""
        about = models.about_of(self.folder, id_)
        weights = load_file(self.folder / id_ / "weights.safetensors")
        model = (
            skeleton(specs()[about["index"]], weights)
            if about["role"] == "reference"
            else build(about["architecture"], CLASSES)
        )
        model.load_state_dict(weights)
        return model.eval()  # type: ignore[return-value]

    def fresh(self) -> nn.Sequential:
        torch.manual_seed(self.job.seed)
        return build(self.job.architecture, CLASSES)


def owner(bench: Bench, part: str) -> Made:
    return Made(owners(*bench.data.part(part), bench.job.seed, CLASSES), NOTHING)


def others(bench: Bench, part: str, loop: str) -> Made:
    return Made(trained(bench.fresh(), *bench.data.part(part), LOOPS[loop]), NOTHING)


def taken(
    bench: Bench, epochs: int = 0, head: bool = False, pruned: float = 0.0, rounded: bool = False
) -> Made:
    """The parent's weights, changed."""
    model = bench.loaded(bench.job.parent)
    torch.manual_seed(bench.job.seed)
    if head:
        weights.new_head(model)
    mask = weights.prune(model, pruned) if pruned else None
    if epochs:
        weights.tune(model, bench.data.own, bench.data.own_labels, epochs, mask=mask)
    if rounded:
        weights.int8(model)
    return Made(model.eval(), NOTHING)


def mixed(bench: Bench, share: float) -> Made:
    first, second = bench.loaded(bench.job.parent), bench.loaded(bench.job.partner)
    return Made(weights.averaged(first, second, share, bench.data.own), NOTHING)


def imitated(bench: Bench, count: int, loop: str) -> Made:
    """Fitted to the parent's answers to ``count`` of the attackers' images."""
    pool = torch.from_numpy(shuffled(len(bench.data.attacker), bench.job.id)[:count])
    images = bench.data.attacker[pool]
    result = answers(bench.loaded(bench.job.parent), images)
    return Made(
        trained(
            bench.fresh(), images, result.argmax(1) if bench.job.labels == "hard" else result, LOOPS[loop]
        ),
        pool,
    )


def reference(bench: Bench, index: int) -> Made:
    """By zooaudit's own code.

    Raises:
        ArithmeticError: it did not learn.
    """
    spec, data = specs()[index], bench.data
    names = tuple(map(str, range(CLASSES)))
    train, test = ImageSet(data.images, data.labels), ImageSet(data.natural, data.natural_labels)
    parent = (
        Parent(bench.loaded(bench.job.parent), models.about_of(bench.folder, bench.job.parent)["accuracy"])
        if spec.parent
        else None
    )
    built = build_reference(spec, Dataset(NAME, train, test, names, "benchmarks.checkpoint"), parent)
    if built.record.status is Status.FAILED:
        raise ArithmeticError(f"{spec.id} did not learn: {built.record.reason}")
    model = skeleton(spec, built.weights)
    model.load_state_dict(built.weights)
    return Made(model.eval(), NOTHING)


MAKERS: dict[str, Callable[..., Made]] = {
    f.__name__: f for f in (owner, others, taken, mixed, imitated, reference)
}


@torch.no_grad()
def answers(model: nn.Module, images: Tensor) -> Tensor:
    """Probabilities float32 ``[n, K]`` for images uint8, or float in [0, 1]."""
    parts = (part if part.is_floating_point() else part.float() / 255 for part in images.split(BATCH))
    return torch.cat([model(x).float().softmax(1) for x in parts])


def make(out: Path, job: Job) -> dict[str, Any]:
    """Make the job's model and commit it; gives what ``about.json`` holds."""
    started = time.perf_counter()
    bench = Bench(out, job, stored.load(out))
    made = MAKERS[job.maker](bench, **job.options)
    trained_s = time.perf_counter() - started
    data = {name: answers(made.model, images) for name, images in bench.data.pools.items()}
    behind = _behind(made.model, bench.data) if job.role in ("victim", "twin", "reference") else None
    about = _about(bench, made, data["natural"]) | {"seconds": round(trained_s, 2)}
    models.commit(bench.folder, about, data, made.model, behind)
    return about


def _behind(model: nn.Module, data: Data) -> dict[str, np.ndarray]:
    """Its answers to every pool behind each of zooaudit's treatments."""
    pools = {name: images.float() / 255 for name, images in data.pools.items()}
    return {
        name: np.stack([answers(model, t.questions(x)).numpy() for t in TREATMENTS])
        for name, x in pools.items()
    }


def _about(bench: Bench, made: Made, natural: Tensor) -> dict[str, Any]:
    job, labels = bench.job, natural.argmax(1)
    accuracy = float((labels == bench.data.natural_labels).float().mean())
    about: dict[str, Any] = {f: getattr(job, f) for f in FIELDS} | {
        "queries": len(made.pool),
        "accuracy": round(accuracy, 4),
    }
    about |= {"agreement": None, "recovery": None, "asked_attacker": [], "index": job.options.get("index")}
    if job.role == "thief":
        with np.load(bench.folder / job.parent / "answers.npz") as file:
            theirs = torch.from_numpy(file["natural"]).argmax(1)
        about["agreement"] = round(float((labels == theirs).float().mean()), 4)
        about["asked_attacker"] = sorted(int(i) for i in made.pool if i < ASKED)
    if job.parent:
        about["recovery"] = round(accuracy / models.about_of(bench.folder, job.parent)["accuracy"], 4)
    return about
