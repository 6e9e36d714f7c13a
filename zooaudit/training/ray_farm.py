"""The zoo's farm on Ray Train: one TorchTrainer whose workers draw model specs from a queue.

A single trainer builds all models, because starting one costs as much as training a small model
(docs/decisions/0002). A worker stores each finished model immediately; if a worker dies, Ray restarts the
group and it continues with what is not stored.
"""

import contextlib
import itertools
import os
import shutil
import tempfile
import threading
import time
import uuid
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any

import ray
import torch
from ray.train import ControllerError, FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
from ray.train.torch import TorchConfig, TorchTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from zooaudit import errors
from zooaudit.config import check
from zooaudit.data.images import Dataset
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.leases import Job
from zooaudit.training import reservations
from zooaudit.training.cluster import cluster
from zooaudit.training.farm import (
    THREADS_PER_MODEL,
    Watch,
    ordered_tasks,
)
from zooaudit.training.queue_actor import QueueActor
from zooaudit.training.ray_data import _packed
from zooaudit.training.ray_worker import both, granted, raise_aborted, work
from zooaudit.training.work_queue import FarmStatus, Task
from zooaudit.zoo.spec import ModelSpec, Role

POLL_S = 0.5
POLLS_A_LOOK = 20
REST_S = 10.0
GROW_EVERY_S = 300.0
"""How often the group may grow onto new machines: growing restarts it, and models in training start again."""
KEEP_FREED_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_TOP_PAD_": str(64 * 2**20),
}
"""Settings of glibc's malloc in a worker: a training step frees and allocates the same memory again and
again, and fresh pages cost more than the computation."""


@dataclass(frozen=True)
class RayFarm:
    """Builds models on Ray Train workers.

    Attributes:
        workers: how many; None for one for each core, or GPU share.
        gpus_per_worker: share of a GPU for each worker, 0 for CPU training; 0.25 packs four models on a GPU,
            0.3 three.
        victim_workers: how many share each batch of a victim, the zoo's own and the strangers'; 1 trains
            victims like all other models. Each has a thread, or with ``gpus_per_worker`` a whole GPU. If a
            machine is lost, the remaining ones continue.
        patience: how often in a row workers may find only models that other jobs are building, before they
            leave for a while.

    Raises:
        ConfigError: a number is out of range.
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
                            both(past, ray.get(queue.status.remote())),
                        )
            return built

    def _work_off(
        self, tasks: tuple[list[Task], set[str]], config: dict[str, Any], past: FarmStatus, watch: Watch
    ) -> Any:
        """Have workers build all ``tasks``; returns the queue. ``watch`` is called with the progress since
        ``past``."""
        # On the driver's node, so that it survives any worker node.
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
            watch(both(past, now))

        _run(self._trainer(config), queue, name, watch_all)
        # Another job is building the rest, and may need this cluster for it.
        while ray.get(queue.rested.remote()):
            time.sleep(REST_S)
            _run(self._trainer(config), queue, name, watch_all)
        raise_aborted(ray.get(queue.error.remote()))
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
                num_workers=(1, most),  # continues with what a lost machine leaves
                elastic_resize_monitor_interval_s=GROW_EVERY_S,
                use_gpu=bool(share),
                resources_per_worker=resources,
            ),
            run_config=RunConfig(
                name="zoo",
                storage_path=config["scratch"],
                # No limit of restarts here: the queue counts those without progress
                failure_config=FailureConfig(max_failures=-1),
                worker_runtime_env={"env_vars": KEEP_FREED_MEMORY},
            ),
        )


def _check_room(resources: dict[str, float], may_grow: bool) -> None:
    """Refuse what no machine of the cluster can provide: Ray would wait for it forever.

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
    """Train in a separate thread and watch the queue from this one, which receives Ctrl-C and SIGTERM.

    In the main thread Ray Train would handle Ctrl-C itself, and end the program with exit code 0.

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
                reservations.give_back_of_the_dead()  # also those of jobs that were just killed
    watch(ray.get(queue.status.remote()))
    try:
        training.result()
    except ControllerError as error:  # no retry: the dead group's resources stay reserved until this job ends
        raise errors.FarmError(
            "a worker died while its group was starting; finished models are kept: run again to go on"
        ) from error
    except TrainingFailedError as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise errors.FarmError(
            f"Ray Train gave up ({reason}); finished models are kept: run again to go on"
        ) from error


@contextlib.contextmanager
def _scratch() -> Any:
    """A folder for Ray Train's own files; nothing of ours depends on it."""
    folder = tempfile.mkdtemp(prefix="zooaudit-train-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
