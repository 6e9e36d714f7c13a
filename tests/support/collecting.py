"""A collector for tests."""

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from zooaudit.telemetry.metrics import METRICS, Metric, collect_with

Tags = frozenset[tuple[str, str]]


class Notebook:
    """Adds up what it is told: how often, and how much."""

    def __init__(self) -> None:
        self.times: Counter[tuple[str, Tags]] = Counter()
        self.amount: Counter[tuple[str, Tags]] = Counter()
        self._lock = threading.Lock()

    def record(self, metric: Metric, value: float, tags: dict[str, str]) -> None:
        assert metric in METRICS
        assert tags.keys() == set(metric.tags), "a collector would refuse other tags"
        key = metric.name, frozenset(tags.items())
        with self._lock:
            self.times[key] += 1
            self.amount[key] += value  # type: ignore[assignment]

    def as_json(self) -> list[list[Any]]:
        """One entry a counter."""
        return [
            [name, sorted(tags), self.times[name, tags], self.amount[name, tags]] for name, tags in self.times
        ]

    @classmethod
    def of(cls, entries: list[list[Any]]) -> "Notebook":
        """As ``as_json`` gave it."""
        made = cls()
        for name, tags, times, amount in entries:
            key = name, frozenset((k, v) for k, v in tags)
            made.times[key], made.amount[key] = times, amount
        return made


@pytest.fixture
def notebook() -> Iterator[Notebook]:
    made = Notebook()
    before = collect_with(made)
    yield made
    collect_with(before)


def key(metric: Metric, **tags: str) -> tuple[str, Tags]:
    return metric.name, frozenset(tags.items())
