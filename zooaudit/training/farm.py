"""The farm's interface, for building models; the step that every farm repeats; and the in-process farm."""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from zooaudit.compute import threads
from zooaudit.data.images import Dataset
from zooaudit.errors import FarmError, ZooauditError
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.leases import Job, Leases
from zooaudit.storage.models import KIND, load_record, module_of, record_of, save_built
from zooaudit.telemetry import metrics
from zooaudit.training.work_queue import FarmStatus, Task, WorkQueue
from zooaudit.zoo.build import BuiltModel, ModelRecord, Parent, Status, build
from zooaudit.zoo.ranks import Ranks
from zooaudit.zoo.schedule import by_longest_path
from zooaudit.zoo.spec import ModelSpec

THREADS_PER_MODEL = 1
"""Small models train best on one CPU thread each, many at a time; the same count on every farm gives the same
numbers."""
BUSY_ELSEWHERE_S = 1.0
"""How long a worker waits if the model that it drew is being built by another job."""

OVER = -1

Watch = Callable[[FarmStatus], None]
Build = Callable[[ModelSpec, Dataset, Parent | None], BuiltModel]


class Farm(Protocol):
    """Builds models and stores each as soon as it is finished."""

    def build(self, specs: list[ModelSpec], dataset: Dataset, artifacts: Artifacts, watch: Watch) -> int:
        """Build every spec that the store does not hold; parents that are not among ``specs`` must be in the
        store.

        Returns how many it built: fewer than ``specs`` if another job on the same store built the rest.

        Raises:
            StoreError: the store cannot be written.
            FarmError: workers kept dying.
        """
        ...


class SerialFarm:
    """One model after another in this process, without Ray; the same numbers as any other farm."""

    def build(self, specs: list[ModelSpec], dataset: Dataset, artifacts: Artifacts, watch: Watch) -> int:
        queue = WorkQueue(*ordered_tasks(specs, artifacts, len(dataset.train)))
        by_id = {s.id: s for s in specs}
        started, done, failed, built = time.perf_counter(), 0, 0, 0
        queue.join(0, 1)
        leases = artifacts.leases(Job.new())
        with threads(THREADS_PER_MODEL), leases.pulsing():
            while task := queue.draw(0):
                watch(
                    FarmStatus(
                        done,
                        len(specs),
                        failed,
                        time.perf_counter() - started,
                        queue.claimed,
                        queue.elsewhere,
                    )
                )
                commit = build_and_commit(by_id[task.id], dataset, artifacts, leases)
                if commit is None:
                    queue.postpone(0, task.id)
                    time.sleep(BUSY_ELSEWHERE_S)
                    continue
                queue.finish(0, task.id)
                done, failed, built = (
                    done + 1,
                    failed + (commit.record.status is Status.FAILED),
                    built + commit.ours,
                )
        watch(FarmStatus(done, len(specs), failed, time.perf_counter() - started))
        return built


def ordered_tasks(
    specs: list[ModelSpec], artifacts: Artifacts, train_size: int
) -> tuple[list[Task], set[str]]:
    """The initial work queue: tasks, longest path first, and the parents that are already in the store.

    Raises:
        FarmError: a parent is nowhere, so its children would wait forever.
    """
    ready = {parent for parent in {s.parent for s in specs if s.parent} if artifacts.has(KIND, parent)}
    planned = {s.id for s in specs}
    for spec in specs:
        if spec.parent and spec.parent not in ready | planned:
            raise FarmError(
                f"{spec.id} is made from {spec.parent}, which is neither planned nor in the store; plan"
                " it too"
            )
    return [Task(s.id, s.parent) for s in by_longest_path(tuple(specs), train_size)], ready


@dataclass(frozen=True)
class Commit:
    """A model that is in the store."""

    record: ModelRecord
    ours: bool
    """Whether this job built it; False if it was there before."""


def build_and_commit(
    spec: ModelSpec, dataset: Dataset, artifacts: Artifacts, leases: Leases, builder: Build = build
) -> Commit | None:
    """Build one model unless the store holds it, and store it; None while another job is building it.

    A model whose parent did not learn is marked failed without training.
    """
    if not leases.take(spec.id):
        return None
    # Checked after claiming it: another job may have stored it just before.
    ours = not artifacts.has(KIND, spec.id)
    record = _build(spec, dataset, artifacts, builder) if ours else load_record(artifacts, spec.id)
    leases.release(spec.id)
    return Commit(record, ours)


def leading(specs: Sequence[ModelSpec], ranks: Ranks) -> Build:
    """The build function of rank 0: it tells the other ranks, which :func:`follow`, which of ``specs`` comes
    next, and all train it together.

    Only rank 0 uses the store and its claims. Whatever it decides, the others wait for the next number.
    """
    numbers = {s.id: n for n, s in enumerate(specs)}

    def together(spec: ModelSpec, dataset: Dataset, parent: Parent | None) -> BuiltModel:
        ranks.agreed(numbers[spec.id])
        return build(spec, dataset, parent, ranks)

    return together


def given_up(deaths: int) -> Build:
    """The build function for a model whose training ended this many workers: it fails without training."""

    def failed(spec: ModelSpec, dataset: Dataset, parent: Parent | None) -> BuiltModel:
        reason = (
            f"its training ended {deaths} worker processes, the last while it was trained alone: out of"
            " memory, or a fault in its code"
        )
        return BuiltModel(spec, {}, ModelRecord(Status.FAILED, 0.0, None, 0, 0.0, deaths, "none", reason))

    return failed


def follow(specs: Sequence[ModelSpec], dataset: Dataset, ranks: Ranks) -> None:
    """The loop of the other ranks: train what rank 0 names, until it calls :func:`dismiss`. ``specs`` must
    have the same order on every rank."""
    while (number := int(ranks.agreed(OVER))) != OVER:
        with contextlib.suppress(ZooauditError):  # rank 0 gets the same error, and reports it
            build(specs[number], dataset, None, ranks)


def dismiss(ranks: Ranks) -> None:
    """Tell the other ranks that there is nothing left to train."""
    ranks.agreed(OVER)


def _build(spec: ModelSpec, dataset: Dataset, artifacts: Artifacts, builder: Build) -> ModelRecord:
    parent = None
    if spec.parent is not None:
        stored = artifacts.load(KIND, spec.parent)
        record = record_of(stored)
        if record.status is Status.FAILED:
            orphan = ModelRecord(
                Status.FAILED, 0.0, 0.0, 0, 0.0, 0, "none", f"its parent {spec.parent} did not learn"
            )
            save_built(artifacts, BuiltModel(spec, {}, orphan), absent=True)
            metrics.record(metrics.MODELS, status=orphan.status)
            return orphan
        parent = Parent(module_of(stored).to(dataset.train.images.device), record.accuracy)
    built = builder(spec, dataset, parent)
    save_built(artifacts, built, absent=True)
    _measure(built)
    return built.record


def _measure(built: BuiltModel) -> None:
    spec, record = built.spec, built.record
    metrics.record(metrics.MODELS, status=record.status)
    metrics.record(metrics.MODEL_SECONDS, record.seconds, architecture=spec.architecture, role=spec.role)
    metrics.record(metrics.QUERIES, record.queries, asker="attacker")
