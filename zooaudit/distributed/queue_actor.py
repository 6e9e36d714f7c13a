"""The work queue as a Ray actor. Kept free of torch, which would cost its process 300 MB."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from zooaudit.workqueue import FarmStatus, Task, WorkQueue


@dataclass(frozen=True)
class Draw:
    """What a worker gets when it asks for work: the id of a model, or None for now, or the end."""

    id: str | None
    over: bool


class QueueActor:
    """Hands out models to workers. Restarted anywhere it begins anew, and workers skip what the store holds."""

    def __init__(self, tasks: list[Task], ready: Iterable[str]) -> None:
        self._queue = WorkQueue(tasks, ready)
        self._total, self._finished, self._failed = len(tasks), set[str](), set[str]()
        self._error: tuple[str, str] | None = None
        self._started = time.perf_counter()

    def join(self, worker: int) -> None:
        """See :meth:`WorkQueue.join`."""
        self._queue.join(worker)

    def draw(self, worker: int) -> Draw:
        """The next model for a worker."""
        if self._error or self._queue.empty:
            return Draw(None, over=True)
        task = self._queue.draw(worker)
        return Draw(task.id if task else None, over=False)

    def finish(self, worker: int, id_: str, failed: bool) -> None:
        """A worker has committed a model."""
        self._queue.finish(worker, id_)
        self._finished.add(id_)
        if failed:
            self._failed.add(id_)

    def abort(self, kind: str, message: str) -> None:
        """A worker met an error that a restart would not mend: everybody stops."""
        self._error = self._error or (kind, message)

    def error(self) -> tuple[str, str] | None:
        """Kind and message of the error that stopped everybody, if any."""
        return self._error

    def status(self) -> FarmStatus:
        """How far the farm is."""
        elapsed = time.perf_counter() - self._started
        return FarmStatus(len(self._finished), self._total, len(self._failed), elapsed, self._queue.claimed)
