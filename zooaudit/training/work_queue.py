"""The queue of models to build, and its progress. Imports nothing heavy, so that its process stays small."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

DEATHS = 2
"""A model that was in training, finally alone, when this many workers died is considered to be the cause."""


@dataclass(frozen=True)
class Task:
    """A model to build: its id, and its parent's if it waits for one."""

    id: str
    parent: str | None


@dataclass(frozen=True)
class FarmStatus:
    """A farm's progress, for a progress bar."""

    done: int
    total: int
    failed: int
    seconds: float
    training: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    """Models that another job on the same store is building."""


@dataclass(frozen=True)
class Claim:
    """A task that a worker has drawn: how many workers there were then, whether it must be the only one in
    training, and which machines had been lost by then."""

    task: Task
    workers: int
    alone: bool
    lost: frozenset[str]


class WorkQueue:
    """Tasks to do and the claims on them. Not thread-safe.

    Ray ends all workers when one dies, so it is unknown which of their models was the cause. All of these are
    suspected: they are drawn after all others, and together with ever fewer others (half of the workers, a
    quarter, one), until the one that kills workers does so alone.

    Args:
        ordered: tasks in the order in which they should be drawn.
        ready: ids of parents that exist already.
    """

    def __init__(self, ordered: Iterable[Task], ready: Iterable[str]) -> None:
        self._pending = {t.id: t for t in ordered}
        self._claims: dict[int, Claim] = {}
        self._ready = set(ready)
        self._postponed: set[str] = set()
        self._workers = 1
        self._machines: set[str] = set()
        self._lost: frozenset[str] = frozenset()
        self._deaths: Counter[str] = Counter()
        self._died_alone: set[str] = set()

    def join(self, worker: int, workers: int, machine: str = "", alive: Collection[str] = ("",)) -> bool:
        """Worker number ``worker`` of ``workers`` starts or restarts; its dead predecessor's claim is put
        back.

        So are the claims of worker numbers that no longer exist. A smaller group has lost a machine, a larger
        one has grown, and one of the same size may have a new machine for a lost one: then no model is to
        blame, and the claimed ones are done first.

        Args:
            machine: the worker's, by Ray's id of the node.
            alive: the machines that still exist.

        Returns:
            Whether a machine was lost since a worker last joined.
        """
        self._workers = workers
        self._machines.add(machine)
        before, self._lost = self._lost, frozenset(self._machines.difference(alive))
        for number in [n for n in self._claims if n == worker or n >= workers]:
            claim = self._claims.pop(number)
            if claim.workers == workers and claim.lost == self._lost:
                self._deaths[claim.task.id] += 1
                if claim.alone:
                    self._died_alone.add(claim.task.id)
                self._pending[claim.task.id] = claim.task
            else:
                self._pending = {claim.task.id: claim.task, **self._pending}
        return self._lost != before

    def draw(self, worker: int) -> Task | None:
        """Claim the next task whose parent is finished; None if there is none now (see ``empty``)."""
        for task in self._pending.values():
            if (task.parent is None or task.parent in self._ready) and self._has_room(task):
                del self._pending[task.id]
                self._claims[worker] = Claim(task, self._workers, self._most_beside(task) == 1, self._lost)
                return task
        return None

    def _has_room(self, task: Task) -> bool:
        """Whether one more model, and this one, may be trained now."""
        held = [claim.task for claim in self._claims.values()]
        return len(held) < min(self._most_beside(t) for t in (task, *held))

    def _most_beside(self, task: Task) -> int:
        """How many models may be trained at the same time as ``task``, including it."""
        deaths = self._deaths[task.id]
        return max(1, self._workers >> deaths) if deaths else max(self._workers, len(self._claims) + 1)

    def deadly(self, id_: str) -> int:
        """How many workers died while they trained a model, if it is considered to be the cause; else 0."""
        deaths = self._deaths[id_]
        return deaths if deaths >= DEATHS and id_ in self._died_alone else 0

    def postpone(self, worker: int, id_: str) -> None:
        """Note that another job is building model ``id_``: worker ``worker`` draws it again after all
        others."""
        claim = self._claims.get(worker)
        if claim is not None and claim.task.id == id_:
            del self._claims[worker]
            self._pending[id_] = claim.task
            self._postponed.add(id_)

    def finish(self, worker: int, id_: str) -> None:
        """Worker ``worker`` has stored model ``id_``. A restarted queue may not know that it had drawn
        it."""
        # A worker that was thought dead may be late: its successor's claim stays.
        if worker in self._claims and self._claims[worker].task.id == id_:
            del self._claims[worker]
        self._pending.pop(id_, None)
        self._postponed.discard(id_)
        self._ready.add(id_)

    @property
    def claimed(self) -> tuple[str, ...]:
        """Ids of the models being built."""
        return tuple(claim.task.id for claim in self._claims.values())

    @property
    def elsewhere(self) -> tuple[str, ...]:
        """Ids of the models that another job was last seen building."""
        return tuple(sorted(self._postponed))

    @property
    def empty(self) -> bool:
        """Nothing is left to draw, now or later."""
        return not self._pending
