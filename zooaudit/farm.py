"""The farm port: who builds the models. Here the port, the step that every farm repeats, and the in-process farm."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from zooaudit.compute import threads
from zooaudit.data.images import Dataset
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.models import KIND, load_module, load_record, save_built
from zooaudit.zoo.build import BuiltModel, ModelRecord, Parent, Status, build
from zooaudit.zoo.schedule import WorkQueue, by_longest_path
from zooaudit.zoo.spec import ModelSpec

THREADS_PER_MODEL = 1
"""Small models train best on one CPU thread each, many at a time; the same count on every farm keeps their numbers equal."""


@dataclass(frozen=True)
class FarmStatus:
    """How far a farm is, for a progress bar."""

    done: int
    total: int
    failed: int
    seconds: float
    training: tuple[str, ...] = ()


Watch = Callable[[FarmStatus], None]


class Farm(Protocol):
    """Builds models and commits each to the store as soon as it is finished."""

    def build(self, specs: list[ModelSpec], dataset: Dataset, artifacts: Artifacts, watch: Watch) -> None:
        """Build every spec that the store does not hold; parents that are not among ``specs`` must be in the store.

        Raises:
            StoreError: the store cannot be written.
            FarmError: workers kept dying.
        """
        ...


class SerialFarm:
    """One model after another in this process, without Ray; the same numbers as any other farm."""

    def build(self, specs: list[ModelSpec], dataset: Dataset, artifacts: Artifacts, watch: Watch) -> None:
        queue = make_queue(specs, artifacts, len(dataset.train))
        started, done, failed = time.perf_counter(), 0, 0
        queue.join(0)
        with threads(THREADS_PER_MODEL):
            while spec := queue.draw(0):
                watch(FarmStatus(done, len(specs), failed, time.perf_counter() - started, (spec.id,)))
                record = build_and_commit(spec, dataset, artifacts)
                queue.finish(0, spec.id)
                done, failed = done + 1, failed + (record.status is Status.FAILED)
        watch(FarmStatus(done, len(specs), failed, time.perf_counter() - started))


def make_queue(specs: list[ModelSpec], artifacts: Artifacts, train_size: int) -> WorkQueue:
    """A work queue over specs, longest path first; parents already in the store are ready."""
    ready = {s.parent for s in specs if s.parent and artifacts.has(KIND, s.parent)}
    return WorkQueue(by_longest_path(tuple(specs), train_size), ready)


def build_and_commit(spec: ModelSpec, dataset: Dataset, artifacts: Artifacts) -> ModelRecord:
    """Build one model unless the store holds it, commit it, and return its record.

    A model whose parent did not learn is marked failed without training.
    """
    if artifacts.has(KIND, spec.id):
        return load_record(artifacts, spec.id)
    parent = None
    if spec.parent is not None:
        record = load_record(artifacts, spec.parent)
        if record.status is Status.FAILED:
            orphan = ModelRecord(Status.FAILED, 0.0, 0.0, 0, 0.0, 0, "none", f"its parent {spec.parent} did not learn")
            save_built(artifacts, BuiltModel(spec, {}, orphan))
            return orphan
        parent = Parent(load_module(artifacts, spec.parent).to(dataset.train.images.device), record.accuracy)
    built = build(spec, dataset, parent)
    save_built(artifacts, built)
    return built.record
