"""Who builds which model next, and how far it all is. Imports nothing heavy, so that the process that holds it stays small."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """A model to build: its id, and its parent's if it waits for one."""

    id: str
    parent: str | None


@dataclass(frozen=True)
class FarmStatus:
    """How far a farm is, for a progress bar."""

    done: int
    total: int
    failed: int
    seconds: float
    training: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    """Models that another job on the same store is building."""


class WorkQueue:
    """Tasks to do and who has claimed which. Not for several threads at once.

    Args:
        ordered: tasks in the order in which they should be drawn.
        ready: ids of parents that exist already.
    """

    def __init__(self, ordered: Iterable[Task], ready: Iterable[str]) -> None:
        self._pending = {t.id: t for t in ordered}
        self._claims: dict[int, Task] = {}
        self._ready = set(ready)
        self._postponed: set[str] = set()

    def join(self, worker: int, workers: int) -> None:
        """Worker number ``worker`` of ``workers`` starts or restarts: what its dead predecessor had claimed is to be done again.

        So are the claims of numbers that no longer are: a group that has lost a machine comes back smaller.
        """
        for number in [n for n in self._claims if n == worker or n >= workers]:
            task = self._claims.pop(number)
            self._pending = {task.id: task, **self._pending}

    def draw(self, worker: int) -> Task | None:
        """Claim the next task whose parent is there; None if there is none now (see ``empty``)."""
        for task in self._pending.values():
            if task.parent is None or task.parent in self._ready:
                del self._pending[task.id]
                self._claims[worker] = task
                return task
        return None

    def postpone(self, worker: int, id_: str) -> None:
        """Worker ``worker`` found model ``id_`` being built by another job: it comes up again after all others."""
        task = self._claims.get(worker)
        if task is not None and task.id == id_:
            del self._claims[worker]
            self._pending[id_] = task
            self._postponed.add(id_)

    def finish(self, worker: int, id_: str) -> None:
        """Worker ``worker`` has committed model ``id_`` (which a queue made anew may not know that it had drawn)."""
        if worker in self._claims and self._claims[worker].id == id_:  # a worker thought dead may be late: its heir's claim stays
            del self._claims[worker]
        self._pending.pop(id_, None)
        self._postponed.discard(id_)
        self._ready.add(id_)

    @property
    def claimed(self) -> tuple[str, ...]:
        """Ids of the models being built."""
        return tuple(t.id for t in self._claims.values())

    @property
    def elsewhere(self) -> tuple[str, ...]:
        """Ids of the models that another job was last seen building."""
        return tuple(sorted(self._postponed))

    @property
    def empty(self) -> bool:
        """Nothing is left to draw, now or later."""
        return not self._pending
