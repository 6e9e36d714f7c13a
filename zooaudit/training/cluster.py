"""Join the Ray cluster that RAY_ADDRESS names, or start a private one on this machine."""

import contextlib
import importlib.util
import logging
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from zooaudit.errors import FarmError, InputError, first_line
from zooaudit.machine import cores
from zooaudit.telemetry.metrics import collect_with
from zooaudit.training.ray_metrics import RayCollector
from zooaudit.training.token import guard_token

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "15",
    "RAY_DEDUP_LOGS": "1",
}
"""Set unless the user has set them: no telemetry, training at normal priority, no warnings about defaults,
and after a node is lost only 15 s of waiting (Ray: 60) for its resources. RAY_AUTH_MODE is not set: Ray
enables token authentication for a private cluster, and a value set after ``import ray`` is read by only some
of its parts."""

NEEDED = ("zooaudit", "boto3", "numba", "numpy", "pyarrow", "safetensors", "torch")
INSTALL = (
    "install zooaudit's packages in the Python of every node: pip install -c constraints.txt '.[cluster]'"
)
CHECK_S = 60.0


@contextlib.contextmanager
def cluster(object_store_bytes: int) -> Iterator[None]:
    """A connection to Ray for at least the length of the block.

    An existing connection is used and left open. One to the cluster in RAY_ADDRESS stays until the process
    ends: its agent also exports metrics of the suspects that are asked after the zoo is built.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    collect_with(RayCollector())
    if ray.is_initialized():
        yield
        return
    local = (
        {}
        if os.environ.get("RAY_ADDRESS")
        else {
            "include_dashboard": False,
            "num_cpus": cores(),
            "object_store_memory": max(object_store_bytes, 100 * 2**20),
        }
    )
    if local:
        guard_token()
    try:
        with own_sigterm():
            ray.init(logging_level=logging.ERROR, log_to_driver=False, configure_logging=True, **local)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise FarmError(
            f"Ray does not start: {str(error).splitlines()[0]}; see 'zooaudit doctor', or use --farm serial"
        ) from error
    try:
        if not local:
            check_nodes()
        yield
    finally:
        if local:
            ray.shutdown()


@contextlib.contextmanager
def own_sigterm() -> Iterator[None]:
    """Keep the program's own handler for SIGTERM, which ray.init replaces."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def check_nodes() -> None:
    """Ask every node whether it has what training imports: otherwise Ray Train would restart its workers
    forever.

    Raises:
        InputError: names the node and what is missing.
    """
    able = [n for n in ray.nodes() if n["Alive"] and (n["Resources"].get("CPU") or n["Resources"].get("GPU"))]
    lacking = missing_packages(NEEDED)  # e.g. boto3, which is optional
    here = [name for name in NEEDED if name not in lacking]
    asked = {_ask(n["NodeID"], here): n["NodeManagerAddress"] for n in able}
    answered, _ = ray.wait(list(asked), num_returns=len(asked), timeout=CHECK_S) if asked else ([], [])
    for answer in answered:
        try:
            missing = ray.get(answer)
        except (
            ray.exceptions.TaskUnschedulableError,
            ray.exceptions.NodeDiedError,
            ray.exceptions.WorkerCrashedError,
        ):
            continue  # the node has gone meanwhile: the farm works without it
        except ray.exceptions.RayError as error:
            raise InputError(
                f"node {asked[answer]} cannot run zooaudit:"
                f" {first_line(getattr(error, 'cause', None) or error)}; {INSTALL}"
            ) from error
        if missing:
            raise InputError(f"node {asked[answer]} lacks {', '.join(missing)}; {INSTALL}")


def _ask(node: str, packages: Sequence[str]) -> Any:
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(missing_packages).options(num_cpus=0, scheduling_strategy=there).remote(packages)


def missing_packages(packages: Sequence[str]) -> list[str]:
    """Which of the packages this Python lacks."""
    return [name for name in packages if importlib.util.find_spec(name) is None]
