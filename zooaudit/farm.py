"""The farm port: who builds the models. Here the port, the step that every farm repeats, and the in-process farm."""

import time
from collections.abc import Callable
from typing import Protocol

from zooaudit.compute import threads
from zooaudit.data.images import Dataset
from zooaudit.errors import FarmError
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.models import KIND, load_module, load_record, save_built
from zooaudit.workqueue import FarmStatus, Task, WorkQueue
from zooaudit.zoo.build import BuiltModel, ModelRecord, Parent, Status, build
from zooaudit.zoo.schedule import by_longest_path
from zooaudit.zoo.spec import ModelSpec

THREADS_PER_MODEL = 1
"""Small models train best on one CPU thread each, many at a time; the same count on every farm keeps their numbers equal."""


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
        queue = WorkQueue(*ordered_tasks(specs, artifacts, len(dataset.train)))
        by_id = {s.id: s for s in specs}
        started, done, failed = time.perf_counter(), 0, 0
        queue.join(0)
        with threads(THREADS_PER_MODEL):
            while task := queue.draw(0):
                watch(FarmStatus(done, len(specs), failed, time.perf_counter() - started, queue.claimed))
                record = build_and_commit(by_id[task.id], dataset, artifacts)
                queue.finish(0, task.id)
                done, failed = done + 1, failed + (record.status is Status.FAILED)
        watch(FarmStatus(done, len(specs), failed, time.perf_counter() - started))


def ordered_tasks(specs: list[ModelSpec], artifacts: Artifacts, train_size: int) -> tuple[list[Task], set[str]]:
    """A work queue's beginning: tasks, longest path first, and the parents that are in the store already.

    Raises:
        FarmError: a parent is nowhere, so that its children would wait for ever.
    """
    ready = {s.parent for s in specs if s.parent and artifacts.has(KIND, s.parent)}
    planned = {s.id for s in specs}
    for spec in specs:
        if spec.parent and spec.parent not in ready | planned:
            raise FarmError(f"{spec.id} is extracted from {spec.parent}, which is neither planned nor in the store; plan it too")
    return [Task(s.id, s.parent) for s in by_longest_path(tuple(specs), train_size)], ready


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
