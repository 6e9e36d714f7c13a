"""Claims of several jobs on one store."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zooaudit.errors import InputError, MissingArtifactError, StoreError
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.leases import Job, Leases, dead_leases
from zooaudit.storage.local import LocalStore
from zooaudit.storage.memory import MemoryStore
from zooaudit.storage.opening import open_store
from zooaudit.storage.port import Store

A, B, C = Job("a", 30.0), Job("b", 30.0), Job("c", 30.0)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def keys(store: Store) -> list[str]:
    return [*store.keys("claims/"), *store.keys("pulses/")]


def beat(store: Store, job: Job, number: int) -> None:
    store.create(f"pulses/{job.id}/{number:010d}", b"")
    store.delete(f"pulses/{job.id}/{number - 1:010d}")


def watch(leases: Leases, clock: Clock, seconds: float, step: float = 1.0) -> bool:
    """Look every ``step`` seconds; whether the claim came to us."""
    for _ in range(int(seconds / step)):
        clock.now += step
        if leases.take("m"):
            return True
    return False


def test_one_holder_at_a_time(artifacts: Artifacts) -> None:
    ours, theirs = artifacts.leases(A), artifacts.leases(B)
    assert ours.take("m") and not theirs.take("m")
    assert ours.take("m"), "a restarted worker of the same job goes on"
    assert theirs.take("other")
    ours.release("m")
    assert theirs.take("m") and not ours.take("m")


def test_a_race_has_one_winner(artifacts: Artifacts) -> None:
    jobs = [artifacts.leases(Job(f"j{i}", 30.0)) for i in range(8)]
    start, won = threading.Barrier(len(jobs)), []

    def claim(leases: Leases) -> None:
        start.wait()
        if leases.take("m"):
            won.append(leases.job.id)

    threads = [threading.Thread(target=claim, args=(j,)) for j in jobs]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(won) == 1


def test_a_dead_jobs_claim_is_taken_over_after_its_lease_and_no_sooner() -> None:
    store, clock = MemoryStore(), Clock()
    beat(store, A, 0)
    assert Leases(store, A).take("m")
    heir = Leases(store, B, clock)
    assert not heir.take("m")
    assert not watch(heir, clock, 29)
    assert watch(heir, clock, 2)
    assert not Leases(store, C, Clock()).take("m"), "two heirs"
    assert Leases(store, B).take("m")


def test_a_living_job_keeps_its_claim_for_ever() -> None:
    store, clock = MemoryStore(), Clock()
    beat(store, A, 0)
    assert Leases(store, A).take("m")
    other = Leases(store, B, clock)
    for number in range(1, 100):
        beat(store, A, number)
        assert not watch(other, clock, 25)


def test_time_in_which_nobody_looked_does_not_count() -> None:
    """A watcher that slept, was suspended or cut off from the store must not take its own
    absence for the other's death."""
    store, clock = MemoryStore(), Clock()
    beat(store, A, 0)
    assert Leases(store, A).take("m")
    other = Leases(store, B, clock)
    assert not other.take("m")
    clock.now += 1e6
    assert not other.take("m")
    assert watch(other, clock, 31)


def test_the_holder_says_how_long_its_lease_is() -> None:
    store, clock = MemoryStore(), Clock()
    assert Leases(store, Job("slow", 300.0)).take("m")
    other = Leases(store, Job("fast", 3.0), clock)
    assert not watch(other, clock, 295)
    assert watch(other, clock, 10)


class Lagging(MemoryStore):
    """Its listings show nothing new."""

    def keys(self, prefix: str) -> Iterator[str]:
        return iter([])


def test_a_listing_that_lags_leaves_the_claim_with_its_holder() -> None:
    store = Lagging()
    assert Leases(store, A).take("m")
    assert not Leases(store, B).take("m")


@pytest.mark.parametrize("jump", [-1e6, 1e6])
def test_a_clock_that_jumps_changes_nothing(
    jump: float, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine's clock is set back or forth across a lease: the holder keeps it, and a
    dead holder's goes no sooner."""
    ours, theirs = artifacts.leases(Job("a", 1.0)), artifacts.leases(Job("b", 1.0))
    right = time.time
    with ours.pulsing():
        assert ours.take("m") and not theirs.take("m")
        monkeypatch.setattr(time, "time", lambda: right() + jump)
        for _ in range(20):
            assert not theirs.take("m")
            time.sleep(0.1)
    assert theirs.take("m"), "released at the end of the holder's job"


@given(st.lists(st.sampled_from(["a", "b", "c", "a dies", "b dies", "tick"]), max_size=40))
def test_never_two_living_holders(steps: list[str]) -> None:
    """Whatever the order of claims and deaths: among jobs whose pulse goes on, one holds the name at most."""
    store, clocks = MemoryStore(), {j.id: Clock() for j in (A, B, C)}
    leases = {j.id: Leases(store, j, clocks[j.id]) for j in (A, B, C)}
    alive, holds = {"a", "b", "c"}, set[str]()
    for number, step in enumerate(steps, 1):
        for job in (A, B, C):
            if job.id in alive:
                beat(store, job, number)
        if step == "tick":
            for clock in clocks.values():
                clock.now += 7.0
        elif step.endswith("dies"):
            alive.discard(step[0])
            holds.discard(step[0])
        elif step in alive and leases[step].take("m"):
            holds.add(step)
        assert len(holds) <= 1


def test_a_later_round_outlives_the_first_holders_end() -> None:
    """A stalled job that comes back clears what is its own, and not the claim of the one that took over."""
    store, clock = MemoryStore(), Clock()
    first = Leases(store, A)
    with first.pulsing():
        assert first.take("m")
        heir = Leases(store, B, clock)
        store.delete("pulses/a/0000000000")
        store.create("pulses/a/0000000000", b"")
        assert not heir.take("m") and watch(heir, clock, 40)
    assert not Leases(store, C).take("m"), "the heir's claim went with the first holder's"
    heir.release("m")
    assert keys(store) == []


def test_a_pulse_goes_on_while_the_block_lasts_and_leaves_nothing(artifacts: Artifacts) -> None:
    job = Job("a", 0.6)
    leases = artifacts.leases(job)
    store = leases._store
    with leases.pulsing():
        assert leases.take("m") and leases.take("n")
        leases.release("n")
        seen, moved = set[str](), threading.Event()
        for _ in range(100):
            seen |= set(store.keys("pulses/a/"))
            if len(seen) > 3:
                break
            moved.wait(0.05)
        assert len(seen) > 3, "the pulse stands still"
    assert keys(store) == []


class Broken(MemoryStore):
    broken = False

    def create(self, key: str, content: bytes) -> bool:
        if self.broken and key.startswith("pulses/"):
            raise StoreError("away")
        return super().create(key, content)


def test_a_pulse_survives_an_outage_of_the_store() -> None:
    store = Broken()
    with Leases(store, Job("a", 0.3)).pulsing():
        store.broken = True
        threading.Event().wait(0.3)
        store.broken = False
        before = list(store.keys("pulses/"))
        threading.Event().wait(0.3)
        assert list(store.keys("pulses/")) != before


def test_the_age_of_leases_is_known_on_every_store(artifacts: Artifacts) -> None:
    leases = artifacts.leases(A)
    with leases.pulsing():
        assert leases.take("m")
        assert artifacts.dead_leases(3600) == []
        assert set(artifacts.dead_leases(0)) == {"claims/m/000000", "pulses/a/0000000000"}


class Vanishing(MemoryStore):
    """What is listed is gone when it is looked at, as beside a living job."""

    def age_s(self, key: str) -> float:
        raise MissingArtifactError(key)

    def read(self, key: str, most: int | None = None) -> bytes:
        raise MissingArtifactError(key)


def test_what_goes_while_gc_looks_is_left_alone() -> None:
    store = Vanishing()
    beat(store, A, 0)
    assert Leases(store, A).take("m")
    assert dead_leases(store, 0) == []


def test_one_look_at_a_dead_job_counts_for_all_its_claims() -> None:
    store, clock = MemoryStore(), Clock()
    dead, heir = Leases(store, A), Leases(store, B, clock)
    names = [f"m{i}" for i in range(100)]
    assert all(dead.take(n) for n in names)
    for name in names[:40]:
        clock.now += 1
        heir.take(name)
    assert all(heir.take(n) for n in names), "each claim was waited for anew"


def test_gc_finds_what_killed_jobs_left(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    for job in (A, B):
        beat(store, job, 0)
        assert Leases(store, job).take(f"of-{job.id}")
    assert dead_leases(store, 3600) == []
    store.delete("pulses/a/0000000000")
    assert dead_leases(store, 0) == ["claims/of-a/000000", "claims/of-b/000000", "pulses/b/0000000000"]
    artifacts = open_store(str(tmp_path))
    artifacts.drop_leases(artifacts.dead_leases(0))
    assert keys(store) == []


@pytest.mark.parametrize("value", ["0", "-1", "soon", "inf", "nan"])
def test_a_lease_of_no_length_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOOAUDIT_LEASE_SECONDS", value)
    with pytest.raises(
        InputError, match=r"ZOOAUDIT_LEASE_SECONDS is '.*'; expected seconds, a positive number"
    ):
        Job.new()


def test_jobs_are_told_apart() -> None:
    assert Job.new() != Job.new()
    assert Job.new().lease_s == 30.0
