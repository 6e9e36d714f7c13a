"""Leases: which job is building which model, so that two jobs on one store do not build it twice.

A job writes a pulse every few seconds and a claim for each model that it builds::

    pulses/<job>/<number> the job's last pulse; the number rises while the job lives claims/<name>/<round>
        {"job": ..., "lease_s": ...}; created once, so a round has one holder

A claim holds while its job's pulse continues. A job that finds a claim watches that pulse; if it has not
changed for ``lease_s`` seconds **of the watcher's own monotonic clock**, the watcher may open the next round.
No two clocks are compared, so clock skew and jumps do not matter, and time in which the store could not be
reached does not count. A job that only stalled may find its model built by another: models are created once,
so this costs a second training, but never gives a second or incomplete model.
"""

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from zooaudit.config import canonical_json
from zooaudit.errors import MissingArtifactError, StoreError
from zooaudit.storage.port import Store
from zooaudit.storage.settings import env_number

CLAIMS, PULSES = "claims", "pulses"
LEASE = "ZOOAUDIT_LEASE_SECONDS"
LEASE_S = 30.0
BEATS_A_LEASE = 6
BEAT_ENDS_S = 5.0
"""How long the end of a job waits for a pulse that is being written."""
GONE = float("inf")
LONGEST_STEP = 0.2
"""The largest share of a lease that counts between two looks. A watcher that was asleep, or cut off from the
store, has seen nothing."""


@dataclass(frozen=True)
class Job:
    """The holder of claims: one run of one command with all its workers."""

    id: str
    lease_s: float

    @staticmethod
    def new() -> "Job":
        """A new job; its lease lasts ``ZOOAUDIT_LEASE_SECONDS``, or 30 seconds."""
        return Job(uuid.uuid4().hex, env_number(LEASE, LEASE_S, "seconds, a positive number"))


@dataclass
class _Watched:
    """Another job: its last pulse, and for how long that has not changed."""

    seen: tuple[str, ...]
    at: float
    still_s: float = 0.0


class Leases:
    """One job's claims on a store.

    Args:
        store: shared by the jobs.
        job: the holder.
        clock: monotonic seconds; tests replace it.
    """

    def __init__(self, store: Store, job: Job, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self.job, self._clock = store, job, clock
        self._watched: dict[str, _Watched] = {}
        self._heard = True
        self._first = set[str]()
        """Names claimed by this object in their first round: releasing one deletes a single key."""

    def take(self, name: str) -> bool:
        """Claim ``name``. True if this job holds it now (or already did), False while another living job
        does."""
        if self._create(name, 0):
            self._first.add(name)
            return True
        rounds = sorted(self._store.keys(f"{CLAIMS}/{name}/"))
        holder = self._holder(rounds[-1]) if rounds else None
        if holder is None:  # released meanwhile, or the listing lags: try again later
            return False
        if holder.id == self.job.id:
            return True
        return self._dead(holder) and self._create(name, int(rounds[-1].rpartition("/")[2]) + 1)

    def _create(self, name: str, number: int) -> bool:
        mine = {"job": self.job.id, "lease_s": self.job.lease_s}
        return self._store.create(_claim_key(name, number), canonical_json(mine).encode())

    def release(self, name: str) -> None:
        """Release ``name``: its model is committed, or will not be."""
        if name in self._first:
            self._first.discard(name)
            self._store.delete(_claim_key(name, 0))
            return
        for key in sorted(self._store.keys(f"{CLAIMS}/{name}/"), reverse=True):
            self._store.delete(key)

    @contextlib.contextmanager
    def pulsing(self) -> Iterator[None]:
        """Keep the job's claims alive during the block; afterwards, nothing of the job is left."""
        stop = threading.Event()
        self._store.create(_pulse_key(self.job.id, 0), b"")
        thread = threading.Thread(target=self._pulse, args=(stop,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(BEAT_ENDS_S)
            # If the store is unavailable, the pulse stands still, which is as good as no pulse.
            if self._heard and not thread.is_alive():
                with contextlib.suppress(StoreError):
                    self._clear()

    def _pulse(self, stop: threading.Event) -> None:
        number = 0
        while not stop.wait(self.job.lease_s / BEATS_A_LEASE):
            self._heard = False
            # The workers use the same store and report the error; the next pulse may succeed.
            with contextlib.suppress(StoreError):
                self._store.create(_pulse_key(self.job.id, number + 1), b"")
                self._store.delete(_pulse_key(self.job.id, number))
                number += 1
                self._heard = True

    def _clear(self) -> None:
        last_rounds = {key.split("/")[1]: key for key in self._store.keys(f"{CLAIMS}/")}
        for name, key in last_rounds.items():
            holder = self._holder(key)
            if holder is not None and holder.id == self.job.id:
                self.release(name)
        for key in self._store.keys(f"{PULSES}/{self.job.id}/"):
            self._store.delete(key)

    def _holder(self, key: str) -> Job | None:
        try:
            stated = json.loads(self._store.read(key))
        except MissingArtifactError:
            return None
        return Job(stated["job"], stated["lease_s"])

    def _dead(self, holder: Job) -> bool:
        """Whether a job's pulse has stood still for the length of its lease, as far as this process has
        watched it."""
        now = self._clock()
        seen = tuple(self._store.keys(f"{PULSES}/{holder.id}/"))
        before = self._watched.get(holder.id)
        if before is None or before.seen != seen:
            self._watched[holder.id] = _Watched(seen, now)
            return False
        before.still_s += min(now - before.at, holder.lease_s * LONGEST_STEP)
        before.at = now
        return before.still_s >= holder.lease_s


def dead_leases(store: Store, grace_s: float) -> list[str]:
    """Keys that killed jobs left: pulses older than ``grace_s`` seconds, and claims of that age whose job has
    no younger pulse.

    Safe while jobs are running: a key that disappears during the check is not dead.
    """
    ages = {k: _age_s(store, k) for k in store.keys(f"{PULSES}/")}
    living = {k.split("/")[1] for k, age in ages.items() if age < grace_s}
    claims = [
        k
        for k in store.keys(f"{CLAIMS}/")
        if _age_s(store, k) >= grace_s and _job_of(store, k) not in {None, *living}
    ]
    return [*claims, *sorted(k for k, age in ages.items() if grace_s <= age < GONE)]


def _age_s(store: Store, key: str) -> float:
    try:
        return store.age_s(key)
    except MissingArtifactError:
        return GONE


def _job_of(store: Store, key: str) -> str | None:
    try:
        found: str = json.loads(store.read(key))["job"]
    except MissingArtifactError:
        return None
    return found


def _claim_key(name: str, number: int) -> str:
    return f"{CLAIMS}/{name}/{number:06d}"


def _pulse_key(job: str, number: int) -> str:
    return f"{PULSES}/{job}/{number:010d}"
