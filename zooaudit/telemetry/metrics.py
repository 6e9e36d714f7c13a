"""What is counted and timed while an audit runs. A collector registers with this module; without Ray there is
none.

The metrics are declared here, once: names, tags and buckets are what a dashboard relies on.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Metric:
    """A counter, or a histogram if it has ``buckets`` (upper bounds)."""

    name: str
    help: str
    tags: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


MODELS = Metric("zooaudit_models", "Models built and committed, by status: learnt or failed.", ("status",))
MODEL_SECONDS = Metric(
    "zooaudit_model_seconds",
    "Seconds that training and measuring one model took.",
    ("architecture", "role"),
    (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0),
)
QUERIES = Metric(
    "zooaudit_queries",
    "Images asked of models that can only be asked: by an attacker (extraction) or by the auditor.",
    ("asker",),
)
STORE_SECONDS = Metric(
    "zooaudit_store_seconds",
    "Seconds that one operation of the store took, its retries included: create, read, exists, list or"
    " delete.",
    ("operation",),
    (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0),
)
STORE_RETRIES = Metric("zooaudit_store_retries", "Requests to the store that were sent again.")
SCORES = Metric(
    "zooaudit_scores", "Verdicts that the service gave, by method and decision.", ("method", "decision")
)
SCORE_SECONDS = Metric(
    "zooaudit_score_seconds",
    "Seconds from a whole body to its verdict, waiting for other scores included, by method.",
    ("method",),
    (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
)
KIT_SECONDS = Metric(
    "zooaudit_kit_seconds",
    "Seconds that loading a kit which was not in memory took.",
    (),
    (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0),
)
SERVICE_AUDITS = Metric(
    "zooaudit_service_audits", "Audits of the service that came to an end, by state.", ("state",)
)
METRICS = (
    MODELS,
    MODEL_SECONDS,
    QUERIES,
    STORE_SECONDS,
    STORE_RETRIES,
    SCORES,
    SCORE_SECONDS,
    KIT_SECONDS,
    SERVICE_AUDITS,
)


class Collector(Protocol):
    """A destination for measurements; must neither fail nor block."""

    def record(self, metric: Metric, value: float, tags: dict[str, str]) -> None: ...


class Nobody:
    """Collects nothing."""

    def record(self, metric: Metric, value: float, tags: dict[str, str]) -> None:
        pass


_collector: Collector = Nobody()


def collect_with(collector: Collector) -> Collector:
    """Send this process's measurements to ``collector`` from now on; returns the previous one."""
    global _collector
    before, _collector = _collector, collector
    return before


def record(metric: Metric, value: float = 1.0, **tags: str) -> None:
    """Add ``value`` to a counter, or to a histogram."""
    _collector.record(metric, value, tags)
