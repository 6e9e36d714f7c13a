"""Give back a farm's reservations in the cluster when its run is cut short.

Ray Train (2.60) does so only when a run ends normally. Otherwise the reservation expires after three minutes,
and the next run waits for that. So each run is recorded in Ray's key-value store with the name of its queue,
an actor that dies with its driver.
"""

import contextlib
from collections.abc import Iterator

import ray
from ray.experimental.internal_kv import (
    _internal_kv_del,
    _internal_kv_get,
    _internal_kv_list,
    _internal_kv_put,
)

NAMESPACE = "zooaudit"
RUN = "run/"
COORDINATOR = "AutoscalingCoordinator"
CANCEL_S = 1.0


@contextlib.contextmanager
def held(run_id: str, queue_name: str) -> Iterator[None]:
    """During the block, record that run ``run_id`` of Ray Train holds its reservations as long as the queue
    ``queue_name`` lives."""
    _internal_kv_put(RUN + run_id, queue_name, namespace=NAMESPACE)
    try:
        yield
    finally:
        _give_back(run_id)


def give_back_of_the_dead() -> None:
    """Give back what runs of killed drivers have left reserved."""
    for key in _internal_kv_list(RUN, namespace=NAMESPACE):
        queue_name = _internal_kv_get(key, namespace=NAMESPACE)
        if queue_name is not None and not _lives(queue_name.decode()):
            _give_back(key.decode().removeprefix(RUN))


def _lives(queue_name: str) -> bool:
    try:
        ray.get_actor(queue_name, namespace=NAMESPACE)
    except ValueError:
        return False
    return True


def _give_back(run_id: str) -> None:
    try:
        coordinator = ray.get_actor(COORDINATOR, namespace=COORDINATOR)
    except ValueError:
        cancelled = True  # nothing was reserved
    else:
        cancelled = bool(
            ray.wait([coordinator.cancel_request.remote(f"train-{run_id}")], timeout=CANCEL_S)[0]
        )
    if cancelled:
        _internal_kv_del(RUN + run_id, namespace=NAMESPACE)  # otherwise the next run will find it
