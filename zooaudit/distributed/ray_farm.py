"""The zoo's farm on Ray Train: one TorchTrainer whose workers draw model specs from a queue.

One trainer for all models, because starting one costs as much as training a small model (docs/decisions/0002). A worker commits each
finished model to the store at once; if any worker dies, Ray restarts the group and it goes on with what is not committed.
"""

import contextlib
import os
import shutil
import sys
import tempfile
import threading
import time
import warnings
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from zooaudit import errors
from zooaudit.compute import pick_device
from zooaudit.data.images import Dataset, ImageSet
from zooaudit.distributed import reservations
from zooaudit.distributed.cluster import cluster
from zooaudit.distributed.metrics import RayCollector
from zooaudit.distributed.queue_actor import QueueActor
from zooaudit.farm import BUSY_ELSEWHERE_S, THREADS_PER_MODEL, Watch, build_and_commit, ordered_tasks
from zooaudit.metrics import collect_with
from zooaudit.storage.artifacts import Artifacts, open_store
from zooaudit.storage.leases import Job
from zooaudit.zoo.build import Status
from zooaudit.zoo.spec import ModelSpec

POLL_S = 0.5
REST_S = 10.0
WAIT_FOR_PARENT_S = 0.2
MAX_GROUP_RESTARTS = 5
GROW_EVERY_S = 300.0
"""How often the group may grow onto new machines: growing restarts it, and models that are being trained begin anew."""
KEEP_FREED_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(2**31),
    "MALLOC_TOP_PAD_": str(64 * 2**20),
}
"""For glibc's malloc in a worker: a training step frees and asks for the same megabytes again, and fresh pages cost more than the sums."""


@dataclass(frozen=True)
class RayFarm:
    """Builds models on Ray Train workers.

    Attributes:
        workers: how many; None for one a core, or one a GPU share.
        gpus_per_worker: share of a GPU for each worker, 0 for CPU training; 0.25 packs four models on a GPU.
        patience: how often in a row workers may find nothing but models that other jobs are building, before they go for a while.
    """

    workers: int | None = None
    gpus_per_worker: float = 0.0
    patience: int = 120

    def build(self, specs: list[ModelSpec], dataset: Dataset, artifacts: Artifacts, watch: Watch) -> int:
        if artifacts.url == "memory:":
            raise errors.ConfigError("Ray workers cannot reach a store in this process's memory; use --farm serial or a folder")
        pixels = dataset.train.images.numel() + dataset.test.images.numel()
        folder = os.getcwd()  # before Ray unpacks the same working directory for another node on this machine
        with cluster(object_store_bytes=3 * pixels), _scratch() as scratch:
            tasks, ready = ordered_tasks(specs, artifacts, len(dataset.train))
            # on the driver's node: no worker node's end takes it along
            driver = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
            leases = artifacts.leases(Job.new())
            name = {"name": leases.job.id, "namespace": reservations.NAMESPACE}
            options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "scheduling_strategy": driver}
            queue = ray.remote(QueueActor).options(**name, **options).remote(tasks, ready, self.patience)
            reservations.give_back_of_the_dead()
            config = {
                "queue": queue,
                "job": leases.job,
                "store": artifacts.url,
                "specs": ray.put({s.id: s for s in specs}),
                "data": ray.put(_packed(dataset)),
                "path": folder,
            }
            with leases.pulsing():
                _run(self._trainer(config, scratch), queue, leases.job.id, watch)
                while ray.get(queue.rested.remote()):  # the rest is being built by another job, which may need this cluster to do it
                    time.sleep(REST_S)
                    _run(self._trainer(config, scratch), queue, leases.job.id, watch)
            _raise_aborted(ray.get(queue.error.remote()))
            built: int = ray.get(queue.built.remote())
            return built

    def _trainer(self, config: dict[str, Any], scratch: str) -> TorchTrainer:
        total = ray.cluster_resources()
        share = self.gpus_per_worker
        limit = total.get("GPU", 0) / share if share else total.get("CPU", 1) / THREADS_PER_MODEL
        resources = {"CPU": float(THREADS_PER_MODEL)} | ({"GPU": share} if share else {})
        return TorchTrainer(
            work,
            train_loop_config=config,
            torch_config=TorchConfig(backend="gloo"),
            scaling_config=ScalingConfig(
                num_workers=(1, self.workers or max(1, int(limit))),  # goes on with what a lost machine leaves
                elastic_resize_monitor_interval_s=GROW_EVERY_S,
                use_gpu=bool(share),
                resources_per_worker=resources,
            ),
            run_config=RunConfig(
                name="zoo",
                storage_path=scratch,
                failure_config=FailureConfig(max_failures=MAX_GROUP_RESTARTS),
                worker_runtime_env={"env_vars": KEEP_FREED_MEMORY},
            ),
        )


def work(config: dict[str, Any]) -> None:
    """What each Ray Train worker runs: draw a spec, build it, commit it, until nothing is left."""
    context = ray.train.get_context()
    rank = context.get_world_rank()
    queue = config["queue"]
    torch.set_num_threads(THREADS_PER_MODEL)
    collect_with(RayCollector())
    if config["path"] not in sys.path:  # the user's victim may be built by a module there
        sys.path.insert(0, config["path"])
    ray.get(queue.join.remote(rank, context.get_world_size()))
    try:
        artifacts = open_store(config["store"])
        leases = artifacts.leases(config["job"])
        specs = ray.get(config["specs"])
        dataset = _unpacked(ray.get(config["data"])).to(pick_device())
        while not (drawn := ray.get(queue.draw.remote(rank))).over:
            if drawn.id is None:
                time.sleep(WAIT_FOR_PARENT_S)
                continue
            commit = build_and_commit(specs[drawn.id], dataset, artifacts, leases)
            if commit is None:
                ray.get(queue.postpone.remote(rank, drawn.id))
                time.sleep(BUSY_ELSEWHERE_S)
                continue
            ray.get(queue.finish.remote(rank, drawn.id, commit.record.status is Status.FAILED, commit.ours))
    except errors.ZooauditError as error:
        ray.get(queue.abort.remote(type(error).__name__, str(error)))


def _run(trainer: TorchTrainer, queue: Any, name: str, watch: Watch) -> None:
    """Train in a thread of its own and watch the queue from this one, which hears Ctrl-C and SIGTERM at once.

    In the main thread Ray Train would take over Ctrl-C, and end the program with exit code 0.
    """
    training: Future[object] = Future()

    def fit() -> None:
        try:
            training.set_result(trainer.fit())
        except Exception as error:  # noqa: BLE001  raised again below
            training.set_exception(error)

    with reservations.held(trainer.train_run_context.run_id, name):
        threading.Thread(target=fit, daemon=True).start()
        while not wait([training], POLL_S).done:
            watch(ray.get(queue.status.remote()))
    watch(ray.get(queue.status.remote()))
    try:
        training.result()
    except ray.train.TrainingFailedError as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise errors.FarmError(
            f"Ray Train gave up after {MAX_GROUP_RESTARTS} restarts ({reason}); finished models are kept: run again to go on"
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


def _packed(dataset: Dataset) -> dict[str, Any]:
    """Arrays that all workers of a node share through Ray's object store, without a copy each."""
    parts = {"train": dataset.train.to("cpu"), "test": dataset.test.to("cpu")}
    arrays = {f"{name}_{what}": getattr(part, what).numpy() for name, part in parts.items() for what in ("images", "labels")}
    return arrays | {"name": dataset.name, "classes": dataset.classes, "source": dataset.source}


def _unpacked(packed: dict[str, Any]) -> Dataset:
    train, test = (ImageSet(_shared(packed[f"{p}_images"]), _shared(packed[f"{p}_labels"])) for p in ("train", "test"))
    return Dataset(packed["name"], train, test, packed["classes"], packed["source"])


def _shared(array: np.ndarray) -> torch.Tensor:
    with warnings.catch_warnings():  # the memory is read-only, and nobody writes to it
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)
