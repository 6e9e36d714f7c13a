"""Join the Ray cluster that RAY_ADDRESS names, or start a private one on this machine."""

import contextlib
import logging
import os
from collections.abc import Iterator

import ray

from zooaudit.errors import FarmError

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_DEDUP_LOGS": "1",
}
"""Set unless the user has set them: no telemetry, training at normal priority, no warnings about defaults. RAY_AUTH_MODE is left alone:
Ray turns token authentication on for a private cluster, and a value set after ``import ray`` is read by some of its parts only."""


@contextlib.contextmanager
def cluster(object_store_bytes: int) -> Iterator[None]:
    """A connection to Ray for the length of the block; one that was open already is used and left open."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if ray.is_initialized():
        yield
        return
    local = {} if os.environ.get("RAY_ADDRESS") else {
        "include_dashboard": False,
        "num_cpus": cores(),
        "object_store_memory": max(object_store_bytes, 100 * 2**20),
    }  # fmt: skip
    try:
        ray.init(logging_level=logging.ERROR, log_to_driver=False, configure_logging=True, **local)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise FarmError(f"Ray does not start: {str(error).splitlines()[0]}; see 'zooaudit doctor', or use --farm serial") from error
    try:
        yield
    finally:
        ray.shutdown()


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
