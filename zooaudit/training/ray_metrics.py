"""Our metrics through Ray: its agent on each node exports them for Prometheus, prefixed with ``ray_``."""

from functools import cache

import ray
from ray.util.metrics import Counter, Histogram

from zooaudit.telemetry.metrics import Metric


class RayCollector:
    """Sends measurements to this node's agent; drops them while the process is not connected to a cluster."""

    def record(self, metric: Metric, value: float, tags: dict[str, str]) -> None:
        if not ray.is_initialized():
            return
        if metric.buckets:
            _histogram(metric).observe(value, tags)
        elif value:
            _counter(metric).inc(value, tags)


@cache
def _counter(metric: Metric) -> Counter:
    return Counter(metric.name, metric.help, metric.tags)


@cache
def _histogram(metric: Metric) -> Histogram:
    return Histogram(metric.name, metric.help, list(metric.buckets), metric.tags)
