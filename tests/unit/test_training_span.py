"""How long a training takes on several devices: its bounds against arithmetic and the real work queue."""

import heapq
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zooaudit.planning.sizing import training_span
from zooaudit.training.work_queue import Task, WorkQueue

SECONDS = st.floats(0.01, 1e4)


@given(SECONDS, st.floats(0.01, 1.0), st.integers(1, 500))
def test_no_schedule_beats_the_path_or_an_even_share_and_more_devices_are_never_slower(
    work: float, share: float, devices: int
) -> None:
    path = work * share
    low, high = training_span(work, path, devices)
    assert path <= low <= high * (1 + 1e-9)
    assert low * devices >= work * (1 - 1e-9)
    fewer = training_span(work, path, max(1, devices - 1))
    assert low <= fewer[0] and high <= fewer[1]
    assert training_span(work, path, 1) == pytest.approx((work, work))


FAMILIES = st.lists(st.tuples(SECONDS, st.lists(SECONDS, max_size=5)), min_size=1, max_size=8)
"""Seconds of each victim, and of the models extracted from it."""


@settings(max_examples=200)
@given(FAMILIES, st.integers(1, 6), st.randoms(use_true_random=False))
def test_the_real_queue_keeps_within_the_span(
    families: list[tuple[float, list[float]]], devices: int, random: Any
) -> None:
    """In any order at all: the bounds do not rest on longest-path-first."""
    seconds: dict[str, float] = {}
    tasks: list[Task] = []
    for i, (victim, children) in enumerate(families):
        seconds[f"v{i}"] = victim
        tasks.append(Task(f"v{i}", None))
        for j, child in enumerate(children):
            seconds[f"v{i}c{j}"] = child
            tasks.append(Task(f"v{i}c{j}", f"v{i}"))
    random.shuffle(tasks)
    path = max(victim + max(children, default=0.0) for victim, children in families)
    low, high = training_span(sum(seconds.values()), path, devices)
    assert low * (1 - 1e-9) <= makespan(WorkQueue(tasks, set()), seconds, devices) <= high * (1 + 1e-9)


def makespan(queue: WorkQueue, seconds: dict[str, float], devices: int) -> float:
    """When the last model is finished, if each takes its seconds."""
    now, idle = 0.0, list(range(devices))
    running: list[tuple[float, int, str]] = []
    while not queue.empty or running:
        for worker in list(idle):
            if task := queue.draw(worker):
                idle.remove(worker)
                heapq.heappush(running, (now + seconds[task.id], worker, task.id))
        now, worker, done = heapq.heappop(running)
        queue.finish(worker, done)
        idle.append(worker)
    return now
