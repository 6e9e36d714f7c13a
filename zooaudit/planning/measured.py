"""Measured training times (measured.json), and the data sets that a plan knows without reading them.

Seconds are scaled by the work of :mod:`zooaudit.zoo.schedule`.
"""

import itertools
import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from zooaudit.zoo.schedule import relative_cost
from zooaudit.zoo.spec import ModelSpec


@dataclass(frozen=True)
class Domain:
    """What a plan needs to know of a data set."""

    name: str
    train_size: int
    test_size: int
    image: tuple[int, int, int]
    num_classes: int


DOMAINS = {
    d.name: d
    for d in (
        Domain("digits", 1347, 450, (1, 8, 8), 10),
        Domain("fashion-mnist", 60_000, 10_000, (1, 28, 28), 10),
        Domain("cifar10", 50_000, 10_000, (3, 32, 32), 10),
        Domain("tiny-imagenet", 100_000, 10_000, (3, 64, 64), 200),
        Domain("tiny-imagenet-50", 25_000, 2_500, (3, 64, 64), 50),
    )
}
"""The recipes' data sets, so that a plan downloads nothing."""


@dataclass(frozen=True)
class Measured:
    """The contents of measured.json, which benchmarks/model_seconds.py writes."""

    commit: str
    date: str
    hardware: str
    recipe: str
    dataset: str
    audits: int
    models: int
    """In each of these audits."""
    zoos: dict[str, dict[str, Any]]
    """By dataset: the zoo of another recipe whose models were measured, with commit, date and hardware."""
    seconds_per_1e12_work: dict[str, dict[str, float]]
    """By dataset and kind of model."""
    fixed_s: float
    after_zoo_us_per_query: float
    report_bytes_per_model: float

    def rates(self, dataset: str) -> dict[str, float]:
        """Seconds per unit of work, by kind of model. A kind that was not measured on this data set takes its
        rate from the data set on which whole audits were measured, or else its slowest rate on any; but never
        a faster one than this data set's slowest kind."""
        every, own = list(self.seconds_per_1e12_work.values()), self.seconds_per_1e12_work.get(dataset, {})
        anywhere = {kind: max(rates.get(kind, 0.0) for rates in every) for kind in itertools.chain(*every)}
        slowest = max(own.values(), default=0.0)
        return {
            k: max(rate, slowest) for k, rate in (anywhere | self.seconds_per_1e12_work[self.dataset]).items()
        } | own

    def seconds(self, spec: ModelSpec, domain: Domain) -> float:
        """Core seconds for one model; a kind that was never measured takes the slowest measured rate."""
        rates = self.rates(domain.name)
        return relative_cost(spec, domain.train_size) * rates.get(kind(spec), max(rates.values())) / 1e12


@cache
def measured() -> Measured:
    """The measurements that come with this version."""
    return Measured(**json.loads(resources.files("zooaudit.planning").joinpath("measured.json").read_text()))


def kind(spec: ModelSpec) -> str:
    """What a model's time depends on besides its work: for example ``C cloudleak``, ``A trained`` or ``A
    fine-tune``."""
    if spec.modification is not None:
        return f"{spec.architecture} {spec.modification.kind}"
    return f"{spec.architecture} {spec.extraction.attack if spec.extraction else 'trained'}"
