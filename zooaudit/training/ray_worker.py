"""A worker of the Ray farm: draws models from the queue, fits them, commits them."""

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
    """What each Ray Train worker runs: draw a spec, build it, commit it, until nothing is left.

    Workers that train ``together`` are one to the queue: rank 0 draws and commits, the others train along.
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
    if config["path"] not in sys.path:  # the user's victim may be built by a module there
        sys.path.insert(0, config["path"])
    if os.path.isdir(config["path"]):  # a job's working directory has one path on all nodes
        # Ray Train starts elsewhere, and the user's training procedure may name files by the way from here.
        os.chdir(config["path"])
    specs = ray.get(config["specs"])
    # Ray lets a worker see GPUs that it was given nothing of.
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
    """Tell the queue that this worker starts, where, and which machines there are; returns
    whether there is any use in going on."""
    alive = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    return bool(
        ray.get(queue.join.remote(place.rank, place.count, ray.get_runtime_context().get_node_id(), alive))
    )


def _draw(
    config: dict[str, Any], specs: dict[str, ModelSpec], dataset: Dataset, rank: int, ranks: Ranks
) -> None:
    """Build what the queue has for the worker number ``rank``, of all that draw; ``ranks``
    train each model together."""
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
    """What of a GPU Ray is told that a worker holds, so that as many get a place as have
    room: not quite the share itself.

    Ray Train (2.60) counts places by ``//`` on sums over a machine: ``1.0 // 0.2`` is 4, and three GPUs would
    give 0.3 to ten workers, for whom Ray then finds no place. So: an equal part of a GPU, rounded down to a
    binary fraction, whose sums are exact.
    """
    return math.floor(1024 / math.floor(1 / share + 1e-9)) / 1024


def both(past: FarmStatus, now: FarmStatus) -> FarmStatus:
    """How far the whole is: what is over and what goes on now."""
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
