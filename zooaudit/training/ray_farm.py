"""The zoo's farm on Ray Train: one TorchTrainer whose workers draw model specs from a queue.

One trainer for all models, because starting one costs as much as training a small model
(docs/decisions/0002). A worker commits each finished model to the store at once; if any worker dies, Ray
restarts the group and it goes on with what is not committed.
"""

import contextlib
import itertools
import math
import os
import shutil
import sys
import tempfile
import threading
import time
import uuid
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from typing import Any

import ray
import torch
from ray.train import ControllerError, FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
from ray.train.torch import TorchConfig, TorchTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from zooaudit import errors
from zooaudit.compute import give_back_freed_memory, pick_device
from zooaudit.config import check
from zooaudit.data.images import Dataset
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.leases import Job
from zooaudit.storage.opening import open_store
from zooaudit.telemetry.metrics import collect_with
from zooaudit.training import reservations
from zooaudit.training.cluster import cluster
from zooaudit.training.farm import (
    BUSY_ELSEWHERE_S,
    THREADS_PER_MODEL,
    Watch,
    build_and_commit,
    dismiss,
    follow,
    given_up,
    leading,
    ordered_tasks,
)
from zooaudit.training.queue_actor import QueueActor
from zooaudit.training.ray_data import _packed, _unpacked
from zooaudit.training.ray_metrics import RayCollector
from zooaudit.training.stalled import Clock
from zooaudit.training.work_queue import FarmStatus, Task
from zooaudit.zoo.build import Status
from zooaudit.zoo.ranks import ALONE, Ranks
from zooaudit.zoo.spec import ModelSpec, Role

POLL_S = 0.5
POLLS_A_LOOK = 20
REST_S = 10.0
WAIT_FOR_PARENT_S = 0.2
GROW_EVERY_S = 300.0
"""How often the group may grow onto new machines: growing restarts it, and models that are
being trained begin anew."""
KEEP_FREED_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_TOP_PAD_": str(64 * 2**20),
}
"""For glibc's malloc in a worker: a training step frees and asks for the same megabytes again, and fresh
pages cost more than the sums."""


@dataclass(frozen=True)
class RayFarm:
    """Builds models on Ray Train workers.

    Attributes:
        workers: how many; None for one a core, or one a GPU share.
        gpus_per_worker: share of a GPU for each worker, 0 for CPU training; 0.25 packs four
            models on a GPU, 0.3 three.
        victim_workers: how many share each batch of a victim, the zoo's own and the strangers'; 1 to train
            victims as all other models. Each has a thread, or with ``gpus_per_worker`` a whole GPU. Fewer go
            on together where a machine is lost.
        patience: how often in a row workers may find nothing but models that other jobs are
            building, before they go for a while.

    Raises:
        ConfigError: a number out of range.
    """

    workers: int | None = None
    gpus_per_worker: float = 0.0
    victim_workers: int = 1
    patience: int = 120

    def __post_init__(self) -> None:
        share = self.gpus_per_worker
        check(self.workers is None or self.workers >= 1, self, "workers", "at least 1")
        check(
            share == 0 or 0.01 <= share <= 1,
            self,
            "gpus_per_worker",
            "0 for none, or a share of one GPU in [0.01, 1]",
        )
        check(self.victim_workers >= 1, self, "victim_workers", "at least 1")

    def build(self, specs: list[ModelSpec], dataset: Dataset, artifacts: Artifacts, watch: Watch) -> int:
        if artifacts.url == "memory:":
            raise errors.ConfigError(
                "Ray workers cannot reach a store in this process's memory; use --farm serial or a folder"
            )
        pixels = sum(
            part.images.numel()
            for part in (dataset.train, dataset.test)
            if isinstance(part.images, torch.Tensor)
        )
        folder = os.getcwd()  # before Ray unpacks the same working directory for another node on this machine
        shared = [s for s in specs if self.victim_workers > 1 and s.role in (Role.VICTIM, Role.OTHER_VICTIM)]
        rest = [s for s in specs if s.id not in {s.id for s in shared}]
        with cluster(object_store_bytes=3 * pixels), _scratch() as scratch:
            leases = artifacts.leases(Job.new())
            config = {
                "job": leases.job,
                "store": artifacts.url,
                "data": ray.put(_packed(dataset)),
                "gpu": bool(self.gpus_per_worker),
                "path": folder,
                "scratch": scratch,
            }
            built, past = 0, FarmStatus(0, len(specs), 0, 0.0)
            with leases.pulsing():
                for part, together in ((shared, True), (rest, False)):
                    if part:
                        tasks = ordered_tasks(part, artifacts, len(dataset.train))
                        queue = self._work_off(
                            tasks,
                            config | {"specs": ray.put({s.id: s for s in part}), "together": together},
                            past,
                            watch,
                        )
                        built, past = (
                            built + ray.get(queue.built.remote()),
                            _both(past, ray.get(queue.status.remote())),
                        )
            return built

    def _work_off(
        self, tasks: tuple[list[Task], set[str]], config: dict[str, Any], past: FarmStatus, watch: Watch
    ) -> Any:
        """Have workers build all ``tasks``; returns the queue that they drew from. ``watch`` hears of it as
        going on from ``past``."""
        # on the driver's node: no worker node's end takes it along
        driver = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "scheduling_strategy": driver}
        name = uuid.uuid4().hex
        queue = (
            ray.remote(QueueActor)
            .options(name=name, namespace=reservations.NAMESPACE, **options)
            .remote(*tasks, self.patience)
        )
        config = config | {"queue": queue}

        def watch_all(now: FarmStatus) -> None:
            watch(_both(past, now))

        _run(self._trainer(config), queue, name, watch_all)
        while ray.get(
            queue.rested.remote()
        ):  # the rest is being built by another job, which may need this cluster to do it
            time.sleep(REST_S)
            _run(self._trainer(config), queue, name, watch_all)
        _raise_aborted(ray.get(queue.error.remote()))
        return queue

    def _trainer(self, config: dict[str, Any]) -> TorchTrainer:
        total = ray.cluster_resources()
        together = config["together"]
        share = 1.0 if together and self.gpus_per_worker else self.gpus_per_worker
        resources = {"CPU": float(THREADS_PER_MODEL)} | ({"GPU": granted(share)} if share else {})
        limit = total.get("GPU", 0) // granted(share) if share else total.get("CPU", 1) / THREADS_PER_MODEL
        _check_room(
            resources | ({"GPU": share} if share else {}),
            may_grow="RAY_ADDRESS" in os.environ and bool(self.workers or not share),
        )
        most = self.victim_workers if together else self.workers or max(1, int(limit))
        return TorchTrainer(
            work,
            train_loop_config=config,
            torch_config=TorchConfig(backend="nccl" if together and share else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=(1, most),  # goes on with what a lost machine leaves
                elastic_resize_monitor_interval_s=GROW_EVERY_S,
                use_gpu=bool(share),
                resources_per_worker=resources,
            ),
            run_config=RunConfig(
                name="zoo",
                storage_path=config["scratch"],
                # restarted as often as it takes: the queue counts, and knows which of them got on
                failure_config=FailureConfig(max_failures=-1),
                worker_runtime_env={"env_vars": KEEP_FREED_MEMORY},
            ),
        )


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
        os.chdir(
            config["path"]
        )  # Ray Train starts elsewhere, and the user's training procedure may name files by the way from here
    specs = ray.get(config["specs"])
    device = (
        pick_device() if config["gpu"] else torch.device("cpu")
    )  # Ray lets a worker see GPUs that it was given nothing of
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


def _both(past: FarmStatus, now: FarmStatus) -> FarmStatus:
    """How far the whole is: what is over and what goes on now."""
    return replace(
        now,
        done=past.done + now.done,
        total=past.total,
        failed=past.failed + now.failed,
        seconds=past.seconds + now.seconds,
    )


def _check_room(resources: dict[str, float], may_grow: bool) -> None:
    """Refuse what no machine of the cluster has room for: Ray would wait for one for ever.

    Raises:
        InputError: says what a worker needs and what there is.
    """
    nodes = [n["Resources"] for n in ray.nodes() if n["Alive"]]
    if may_grow or any(all(n.get(k, 0) >= v for k, v in resources.items()) for n in nodes):
        return
    needed = " and ".join(f"{v:g} {k}" for k, v in resources.items())
    there = ", ".join(" and ".join(f"{n.get(k, 0):g} {k}" for k in resources) for n in nodes)
    raise errors.InputError(
        f"each worker needs {needed} of one machine; found {there}. Without --gpus-per-worker models are"
        " trained on CPUs; on a cluster that can grow, --workers says how many to ask for"
    )


def _run(trainer: TorchTrainer, queue: Any, name: str, watch: Watch) -> None:
    """Train in a thread of its own and watch the queue from this one, which hears Ctrl-C and SIGTERM at once.

    In the main thread Ray Train would take over Ctrl-C, and end the program with exit code 0.

    Raises:
        FarmError: workers kept dying, or one died while its group was starting.
    """
    training: Future[object] = Future()

    def fit() -> None:
        try:
            training.set_result(trainer.fit())
        except Exception as error:  # noqa: BLE001  raised again below
            training.set_exception(error)

    with reservations.held(trainer.train_run_context.run_id, name):
        threading.Thread(target=fit, daemon=True).start()
        for poll in itertools.count():
            if wait([training], POLL_S).done:
                break
            watch(ray.get(queue.status.remote()))
            if poll % POLLS_A_LOOK == 0:
                reservations.give_back_of_the_dead()  # of jobs killed just now, too
    watch(ray.get(queue.status.remote()))
    try:
        training.result()
    except (
        ControllerError
    ) as error:  # not tried again: the dead group's room stays taken until this job has ended
        raise errors.FarmError(
            "a worker died while its group was starting; finished models are kept: run again to go on"
        ) from error
    except TrainingFailedError as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise errors.FarmError(
            f"Ray Train gave up ({reason}); finished models are kept: run again to go on"
        ) from error


def _raise_aborted(aborted: tuple[str, str] | None) -> None:
    if aborted:
        kind, message = aborted
        raise getattr(errors, kind, errors.FarmError)(message)


@contextlib.contextmanager
def _scratch() -> Any:
    """A folder for what Ray Train itself writes; nothing of ours depends on it."""
    folder = tempfile.mkdtemp(prefix="zooaudit-train-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
