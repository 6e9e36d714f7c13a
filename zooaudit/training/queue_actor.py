"""The work queue as a Ray actor. It does not import torch, which would take 300 MB."""

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from zooaudit.telemetry.events import event_line
from zooaudit.training.work_queue import FarmStatus, Task, WorkQueue

RESTARTS = 10
"""How often in a row the group may be restarted without a finished model in between: among 256 workers'
models it takes eight restarts to find the one that kills them."""


@dataclass(frozen=True)
class Draw:
    """The reply to a worker that asks for work: the id of a model, or None for now, or the end; and how many
    workers the model has ended (see :meth:`WorkQueue.deadly`): then it is not trained again, but marked as
    failed."""

    id: str | None
    over: bool
    deaths: int = 0


class QueueActor:
    """Gives models to workers. If ``patience`` draws in a row find only models that other jobs are building,
    it sends the workers away, so that they do not occupy the cluster that those jobs need. After a restart it
    begins again, and workers skip what the store holds.
    """

    def __init__(self, tasks: list[Task], ready: Iterable[str], patience: int) -> None:
        self._patience, self._waited = patience, 0
        self._queue = WorkQueue(tasks, ready)
        self._total, self._finished, self._failed, self._built = (
            len(tasks),
            set[str](),
            set[str](),
            set[str](),
        )
        self._error: tuple[str, str] | None = None
        self._started = time.perf_counter()
        self._groups, self._workers = 0, 0

    def join(self, worker: int, workers: int, machine: str = "", alive: Collection[str] = ("",)) -> bool:
        """See :meth:`WorkQueue.join`. Returns whether it makes sense to go on."""
        lost = self._queue.join(worker, workers, machine, alive)
        _note("joined", worker=worker, workers=workers, machine=machine)
        if lost:
            self._groups = 0
        # One draw is in each group; a group that has grown, or lost a machine, was not ended by a model.
        if worker == 0:
            self._groups = self._groups + 1 if workers == self._workers else 1
            self._workers = workers
        if self._groups > 1 + RESTARTS:
            died = (
                f"workers died {RESTARTS + 1} times in a row, and no model was finished in between; Ray's"
                " logs of the workers say more"
            )
            self.abort("FarmError", f"{died}. Finished models are kept: run again to go on")
        return self._error is None

    def draw(self, worker: int) -> Draw:
        """The next model for a worker."""
        tired = self._waited >= self._patience and not self._queue.claimed
        if self._error or self._queue.empty or tired:
            return Draw(None, over=True)
        task = self._queue.draw(worker)
        if task:
            _note("drawn", worker=worker, model=task.id)
        return (
            Draw(task.id, over=False, deaths=self._queue.deadly(task.id)) if task else Draw(None, over=False)
        )

    def postpone(self, worker: int, id_: str) -> None:
        """See :meth:`WorkQueue.postpone`."""
        self._queue.postpone(worker, id_)
        self._waited += 1

    def finish(self, worker: int, id_: str, failed: bool, ours: bool) -> None:
        """Note that a model is in the store; ``ours`` if this worker built it."""
        self._queue.finish(worker, id_)
        self._waited, self._groups = 0, 1
        self._finished.add(id_)
        if failed:
            self._failed.add(id_)
        if ours:
            self._built.add(id_)
        _note("finished", worker=worker, model=id_, failed=failed, ours=ours)

    def built(self) -> int:
        """How many models this farm's own workers have built."""
        return len(self._built)

    def rested(self) -> bool:
        """Whether work is left after the workers were sent away; they may return and wait for other jobs
        again."""
        self._waited, self._groups = 0, 0
        return not (self._error or self._queue.empty)

    def abort(self, kind: str, message: str) -> None:
        """Stop all workers, because of an error that a restart would not fix."""
        self._error = self._error or (kind, message)

    def error(self) -> tuple[str, str] | None:
        """Kind and message of the error that stopped all workers, if any."""
        return self._error

    def status(self) -> FarmStatus:
        """The farm's progress."""
        elapsed = time.perf_counter() - self._started
        return FarmStatus(
            len(self._finished),
            self._total,
            len(self._failed),
            elapsed,
            self._queue.claimed,
            self._queue.elsewhere,
        )


def _note(event: str, **facts: object) -> None:
    """Log which worker drew and finished what: in this actor's log on its node, and in Ray's dashboard."""
    print(event_line(event, **facts), flush=True)
