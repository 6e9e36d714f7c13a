"""The work queue as a Ray actor. Kept free of torch, which would cost its process 300 MB."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from zooaudit.events import event_line
from zooaudit.workqueue import FarmStatus, Task, WorkQueue


@dataclass(frozen=True)
class Draw:
    """What a worker gets when it asks for work: the id of a model, or None for now, or the end."""

    id: str | None
    over: bool


class QueueActor:
    """Hands out models to workers; sends them home when for ``patience`` draws running there was nothing but what other jobs are building,
    so that they do not keep the cluster from those very jobs. Restarted anywhere it begins anew, and workers skip what the store holds."""

    def __init__(self, tasks: list[Task], ready: Iterable[str], patience: int) -> None:
        self._patience, self._waited = patience, 0
        self._queue = WorkQueue(tasks, ready)
        self._total, self._finished, self._failed, self._built = len(tasks), set[str](), set[str](), set[str]()
        self._error: tuple[str, str] | None = None
        self._started = time.perf_counter()
        self._joined = False

    def join(self, worker: int, workers: int) -> None:
        """See :meth:`WorkQueue.join`."""
        self._queue.join(worker, workers)
        self._joined = True
        _note("joined", worker=worker, workers=workers)

    def joined(self) -> bool:
        """Whether any worker has ever come."""
        return self._joined

    def draw(self, worker: int) -> Draw:
        """The next model for a worker."""
        tired = self._waited >= self._patience and not self._queue.claimed
        if self._error or self._queue.empty or tired:
            return Draw(None, over=True)
        task = self._queue.draw(worker)
        if task:
            _note("drawn", worker=worker, model=task.id)
        return Draw(task.id if task else None, over=False)

    def postpone(self, worker: int, id_: str) -> None:
        """See :meth:`WorkQueue.postpone`."""
        self._queue.postpone(worker, id_)
        self._waited += 1

    def finish(self, worker: int, id_: str, failed: bool, ours: bool) -> None:
        """A model is in the store; ``ours`` if the worker put it there."""
        self._queue.finish(worker, id_)
        self._waited = 0
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
        """Whether anything is left to do after the workers have gone; they may come and wait for other jobs again."""
        self._waited = 0
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
        return FarmStatus(len(self._finished), self._total, len(self._failed), elapsed, self._queue.claimed, self._queue.elsewhere)


def _note(event: str, **facts: object) -> None:
    """Who drew and finished what, and when: in this actor's log on its node, and in Ray's dashboard."""
    print(event_line(event, **facts), flush=True)
