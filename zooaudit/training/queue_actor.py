"""The work queue as a Ray actor. Kept free of torch, which would cost its process 300 MB."""

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from zooaudit.telemetry.events import event_line
from zooaudit.training.work_queue import FarmStatus, Task, WorkQueue

RESTARTS = 10
"""How often in a row the group may be restarted without a model having been finished in between: of 256
workers' models it takes eight to single out the one that kills them."""


@dataclass(frozen=True)
class Draw:
    """What a worker gets when it asks for work: the id of a model, or None for now, or the
    end; and how many workers the model has ended (see :meth:`WorkQueue.deadly`): it is not
    trained again, but marked as failed."""

    id: str | None
    over: bool
    deaths: int = 0


class QueueActor:
    """Hands out models to workers; sends them home when for ``patience`` draws running there was nothing but
    what other jobs are building, so that they do not keep the cluster from those very jobs. Restarted
    anywhere it begins anew, and workers skip what the store holds.
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
        """See :meth:`WorkQueue.join`. Returns whether there is any use in going on."""
        lost = self._queue.join(worker, workers, machine, alive)
        _note("joined", worker=worker, workers=workers, machine=machine)
        if lost:
            self._groups = 0
        # One of these is in each group; one that has grown, or lost a machine, was not ended by a model.
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
        """A model is in the store; ``ours`` if the worker put it there."""
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
        """Whether anything is left to do after the workers have gone; they may come and
        wait for other jobs again."""
        self._waited, self._groups = 0, 0
        return not (self._error or self._queue.empty)

    def abort(self, kind: str, message: str) -> None:
        """A worker met an error that a restart would not mend: everybody stops."""
        self._error = self._error or (kind, message)

    def error(self) -> tuple[str, str] | None:
        """Kind and message of the error that stopped everybody, if any."""
        return self._error

    def status(self) -> FarmStatus:
        """How far the farm is."""
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
    """Who drew and finished what, and when: in this actor's log on its node, and in Ray's dashboard."""
    print(event_line(event, **facts), flush=True)
