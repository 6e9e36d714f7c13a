"""A worker of the Ray farm: draws models from the queue, builds them, stores them."""

import math
import os
import sys
import time
from dataclasses import replace
from typing import Any

import ray
import torch

from zooaudit import errors
from zooaudit.compute import give_back_freed_memory, pick_device
from zooaudit.data.images import Dataset
from zooaudit.storage.opening import open_store
from zooaudit.telemetry.metrics import collect_with
from zooaudit.training.farm import (
    BUSY_ELSEWHERE_S,
    THREADS_PER_MODEL,
    build_and_commit,
    dismiss,
    follow,
    given_up,
    leading,
)
from zooaudit.training.ray_data import _unpacked
from zooaudit.training.ray_metrics import RayCollector
from zooaudit.training.stalled import Clock
from zooaudit.training.work_queue import FarmStatus
from zooaudit.zoo.build import Status
from zooaudit.zoo.ranks import ALONE, Ranks
from zooaudit.zoo.spec import ModelSpec

WAIT_FOR_PARENT_S = 0.2


def work(config: dict[str, Any]) -> None:
    """The function of each Ray Train worker: draw a spec, build it, store it, until nothing is left.

    Workers that train ``together`` are one to the queue: rank 0 draws and stores, the others only train.
    """
    context = ray.train.get_context()
    place = Ranks(context.get_world_rank(), context.get_world_size())
    drawer = not (config["together"] and place.rank)
    if drawer and not _joined(config["queue"], place):  # before anything that may end this process
        if config["together"]:
            dismiss(place)
        return
    torch.set_num_threads(THREADS_PER_MODEL)
    collect_with(RayCollector())
    if config["path"] not in sys.path:  # a module there may build the user's victim
        sys.path.insert(0, config["path"])
    if os.path.isdir(config["path"]):  # a job's working directory has the same path on all nodes
        # Ray Train starts elsewhere, and the user's training procedure may use paths relative to here.
        os.chdir(config["path"])
    specs = ray.get(config["specs"])
    # Ray shows a worker GPUs even if it was given none.
    device = pick_device() if config["gpu"] else torch.device("cpu")
    dataset = _unpacked(ray.get(config["data"])).to(device)
    if not config["together"]:
        _draw(config, specs, dataset, place.rank, ALONE)
    elif place.rank:
        follow(list(specs.values()), dataset, place)
    else:
        _draw(config, specs, dataset, 0, place)
        dismiss(place)


def _joined(queue: Any, place: Ranks) -> bool:
    """Register this worker with the queue, with its machine and the machines that there are; returns whether
    to go on."""
    alive = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    return bool(
        ray.get(queue.join.remote(place.rank, place.count, ray.get_runtime_context().get_node_id(), alive))
    )


def _draw(
    config: dict[str, Any], specs: dict[str, ModelSpec], dataset: Dataset, rank: int, ranks: Ranks
) -> None:
    """Build what the queue has for worker number ``rank`` of all that draw; ``ranks`` train each model
    together."""
    queue, clock = config["queue"], Clock(len(dataset.train))
    try:
        artifacts = open_store(config["store"])
        leases = artifacts.leases(config["job"])
        builder = leading(list(specs.values()), ranks)
        while not (drawn := ray.get(queue.draw.remote(rank))).over:
            if drawn.id is None:
                time.sleep(WAIT_FOR_PARENT_S)
                continue
            spec = specs[drawn.id]
            with clock.watching(spec):
                commit = build_and_commit(
                    spec, dataset, artifacts, leases, given_up(drawn.deaths) if drawn.deaths else builder
                )
            give_back_freed_memory()
            if commit is None:
                ray.get(queue.postpone.remote(rank, drawn.id))
                time.sleep(BUSY_ELSEWHERE_S)
                continue
            ray.get(queue.finish.remote(rank, drawn.id, commit.record.status is Status.FAILED, commit.ours))
    except errors.ZooauditError as error:
        ray.get(queue.abort.remote(type(error).__name__, str(error)))


def granted(share: float) -> float:
    """The GPU share that is requested from Ray for a worker: slightly less than ``share``, so that as many
    workers fit as should.

    Ray Train (2.60) counts places by ``//`` on sums over a machine: ``1.0 // 0.2`` is 4, and three GPUs would
    give 0.3 to ten workers, for which Ray then finds no place. So this is an equal part of a GPU, rounded
    down to a binary fraction, whose sums are exact.
    """
    return math.floor(1024 / math.floor(1 / share + 1e-9)) / 1024


def both(past: FarmStatus, now: FarmStatus) -> FarmStatus:
    """The progress of the whole: what is done and what is running."""
    return replace(
        now,
        done=past.done + now.done,
        total=past.total,
        failed=past.failed + now.failed,
        seconds=past.seconds + now.seconds,
    )


def raise_aborted(aborted: tuple[str, str] | None) -> None:
    if aborted:
        kind, message = aborted
        raise getattr(errors, kind, errors.FarmError)(message)
