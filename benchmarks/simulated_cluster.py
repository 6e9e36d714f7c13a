"""10,000 models on a cluster of up to 256 workers, simulated: the farm's own queue, leases
and order of the work, in virtual time.

    python benchmarks/simulated_cluster.py [--models 10000] [--workers 1 4 16 64 256]

Models do not train, they sleep: as many seconds as measured.json says that such a model takes on a core. A
request to the store and a call of the queue take as long as the options say; a group of workers takes --start
seconds to start, and starts again whenever a machine is lost or comes back, as under Ray Train: what was in
its workers' hands is lost. With --lost, that share of the machines (of four workers each) goes away at random
times and comes back five minutes later.
"""

import argparse
import itertools
import json
import random
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from measure import RESULTS, save
from simulated_tables import draw

sys.path.insert(0, str(Path(__file__).parent.parent))

from virtual_time import Clock, Server, Thread

from zooaudit.data.images import Dataset, ImageSet
from zooaudit.planning.measured import DOMAINS, measured
from zooaudit.planning.sizing import planned, scaled
from zooaudit.recipes.named import get_recipe
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.leases import BEATS_A_LEASE, Job
from zooaudit.storage.memory import MemoryStore
from zooaudit.training import queue_actor
from zooaudit.training.farm import build_and_commit, ordered_tasks
from zooaudit.training.queue_actor import QueueActor
from zooaudit.training.ray_farm import GROW_EVERY_S, RayFarm
from zooaudit.training.ray_worker import WAIT_FOR_PARENT_S
from zooaudit.zoo.arch import build_architecture
from zooaudit.zoo.build import BuiltModel, ModelRecord, Parent, Status
from zooaudit.zoo.spec import ModelSpec

A_MACHINE = 4
AWAY_S = 300.0
LAST = 0.9
"""The share of models after which nobody has to be busy: the last ones are not enough for all."""


@dataclass
class Costs:
    """Seconds of a request to the store, of a call of the queue, of a group's start."""

    request: float
    call: float
    start: float


class SlowStore(MemoryStore):
    """Counts requests by operation, and each takes its time."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        super().__init__()
        self._clock, self._seconds, self.requests = clock, seconds, Counter[str]()

    def _asked(self, operation: str) -> None:
        self.requests[operation] += 1
        if self._clock.inside:
            self._clock.sleep(self._seconds)

    def create(self, key: str, content: bytes) -> bool:
        self._asked("create " + key.partition("/")[0])
        return super().create(key, content)

    def read(self, key: str, most: int | None = None) -> bytes:
        self._asked("read " + key.partition("/")[0])
        return super().read(key, most)

    def exists(self, key: str) -> bool:
        self._asked("exists " + key.partition("/")[0])
        return super().exists(key)

    def keys(self, prefix: str) -> Iterator[str]:
        self._asked("list " + prefix.partition("/")[0])
        return super().keys(prefix)

    def delete(self, key: str) -> None:
        self._asked("delete " + key.partition("/")[0])
        super().delete(key)


@dataclass
class Run:
    """One simulated farm."""

    specs: list[ModelSpec]
    seconds: dict[str, float]
    workers: int
    costs: Costs
    clock: Clock = field(default_factory=Clock)
    spans: list[tuple[float, float]] = field(default_factory=list)
    finished: list[float] = field(default_factory=list)
    restarts: list[float] = field(default_factory=list)
    lost_s: float = 0.0
    group: list[Thread] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = SlowStore(self.clock, self.costs.request)
        self.artifacts = Artifacts(self.store)
        self.job, self.server = Job("simulated", 30.0), Server(self.clock)
        self.alive = [f"machine-{i}" for i in range(-(-self.workers // A_MACHINE))]
        self.dataset, self.weights = nothing(self.specs[0]), weights_of(self.specs)
        self.by_id = {s.id: s for s in self.specs}
        self.queue = QueueActor(*ordered_tasks(self.specs, self.artifacts, 60_000), RayFarm().patience)

    def whole(self, losses: list[float], rng: random.Random) -> None:
        """Until every model is there; ``losses``: when a machine is lost."""
        self.clock.start(lambda: self.start_group(0.0))
        for at in losses:
            self.clock.start(lambda: self.lose(rng), at)
        self.clock.start(self.grow)
        self.clock.start(self.pulse)
        self.clock.run()
        assert len(self.finished) == len(self.specs), (len(self.finished), len(self.specs))

    @property
    def over(self) -> bool:
        return len(self.finished) == len(self.specs)

    def start_group(self, after: float) -> None:
        """End the workers that are, and begin with as many as there are machines for."""
        for thread in self.group:
            self.clock.kill(thread)
        count = min(self.workers, A_MACHINE * len(self.alive))
        machines = [m for m in self.alive for _ in range(A_MACHINE)][:count]
        self.group = [
            self.clock.start(partial(self.work, n, count, m, tuple(self.alive)), after + self.costs.start)
            for n, m in enumerate(machines)
        ]

    def lose(self, rng: random.Random) -> None:
        """A machine goes, and its workers with it: all start again. It is back later."""
        if self.over:
            return
        self.alive.remove(rng.choice(self.alive))
        self.restarts.append(self.clock.now)
        self.start_group(0.0)
        self.clock.sleep(AWAY_S)
        self.alive.append(f"machine-new-{len(self.restarts)}")

    def grow(self) -> None:
        """What Ray Train does now and then: take machines that have come, by a start of the whole group."""
        while not self.over:
            self.clock.sleep(GROW_EVERY_S)
            if not self.over and len(self.group) < min(self.workers, A_MACHINE * len(self.alive)):
                self.restarts.append(self.clock.now)
                self.start_group(0.0)

    def pulse(self) -> None:
        """The driver's sign of life."""
        for number in itertools.count():
            if self.over:
                return
            self.clock.sleep(self.job.lease_s / BEATS_A_LEASE)
            self.store.create(f"pulses/{self.job.id}/{number + 1:010d}", b"")
            self.store.delete(f"pulses/{self.job.id}/{number:010d}")

    def call(self, method: str, *args: Any) -> Any:
        self.server.serve(self.costs.call)
        return getattr(self.queue, method)(*args)

    def work(self, number: int, count: int, machine: str, alive: tuple[str, ...]) -> None:
        """What ``ray_farm.work`` does."""
        if not self.call("join", number, count, machine, alive):
            return
        leases = self.artifacts.leases(self.job)
        while not (drawn := self.call("draw", number)).over:
            if drawn.id is None:
                self.clock.sleep(WAIT_FOR_PARENT_S)
                continue
            commit = build_and_commit(self.by_id[drawn.id], self.dataset, self.artifacts, leases, self.train)
            assert commit is not None, "there is no other job"
            self.call("finish", number, drawn.id, False, commit.ours)
            self.finished.append(self.clock.now)

    def train(self, spec: ModelSpec, dataset: Dataset, parent: Parent | None) -> BuiltModel:
        begun = self.clock.now
        try:
            self.clock.sleep(self.seconds[spec.id])
        except BaseException:
            self.lost_s += self.clock.now - begun
            raise
        self.spans.append((begun, self.clock.now))
        record = ModelRecord(Status.LEARNT, 0.9, None, 0, self.clock.now - begun, 1, "float32", "")
        return BuiltModel(spec, self.weights[spec.architecture], record)

    def found(self) -> dict[str, Any]:
        """The figures of a run that is over."""
        enough = sorted(self.finished)[int(LAST * len(self.finished)) - 1]
        trained = sum(max(0.0, min(end, enough) - begin) for begin, end in self.spans)
        path = max(self.seconds[s.id] + (self.seconds[s.parent] if s.parent else 0.0) for s in self.specs)
        total = sum(self.seconds.values())
        asked = sum(n for name, n in self.store.requests.items() if not name.endswith("pulses"))
        return {
            "workers": self.workers,
            "models": len(self.specs),
            "hours": max(self.finished) / 3600,
            "least_hours": max(total / self.workers, path) / 3600,
            "busy_until_the_last_tenth": trained / (self.workers * enough),
            "requests_a_model": asked / len(self.specs),
            "requests_by_kind": {k: v / len(self.specs) for k, v in sorted(self.store.requests.items())},
            "pulses": self.store.requests["create pulses"],
            "queue_busy": self.server.busy / max(self.finished),
            "starts_of_the_group": 1 + len(self.restarts),
            "lost_share_of_training": self.lost_s / total,
        }


def nothing(spec: ModelSpec) -> Dataset:
    """One image."""
    one_image = ImageSet(
        torch.zeros(1, *spec.shape.image, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64)
    )
    return Dataset(
        "nothing", one_image, one_image, tuple(map(str, range(spec.shape.num_classes))), "simulated"
    )


def weights_of(specs: list[ModelSpec]) -> dict[str, Any]:
    """Some weights of each architecture: all models of one have the same."""
    shapes = {s.architecture: s.shape for s in specs}
    return {
        name: {k: v.contiguous() for k, v in build_architecture(name, shape).state_dict().items()}
        for name, shape in shapes.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=int, default=10_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4, 16, 64, 256])
    parser.add_argument(
        "--request-ms", type=float, default=20.0, help="of a request to the store (default %(default)s)"
    )
    parser.add_argument(
        "--call-ms", type=float, default=1.0, help="of a call of the queue (default %(default)s)"
    )
    parser.add_argument(
        "--start", type=float, default=20.0, help="seconds in which a group starts (default %(default)s)"
    )
    parser.add_argument(
        "--lost",
        type=float,
        default=0.1,
        help="share of the machines of the largest cluster (default %(default)s)",
    )
    parser.add_argument("--seeds", type=int, default=3, help="runs with losses (default %(default)s)")
    args = parser.parse_args()
    queue_actor._note = lambda *_, **__: None  # its log
    domain = DOMAINS["fashion-mnist"]
    recipe, _ = scaled(get_recipe("fmnist-paper"), args.models)
    specs = list(planned(recipe, domain).specs)
    seconds = {s.id: measured().seconds(s, domain) for s in specs}
    costs = Costs(args.request_ms / 1000, args.call_ms / 1000, args.start)
    rows = []
    for workers in args.workers:
        rows.append(one(Run(specs, seconds, workers, costs), 0.0, 0))
    for seed in range(args.seeds):
        rows.append(one(Run(specs, seconds, max(args.workers), costs), args.lost, seed))
    save(
        "simulated_cluster",
        {"costs_s": vars(costs), "model_seconds": sum(seconds.values()) / len(specs), "rows": rows},
    )
    draw(json.loads((RESULTS / "simulated_cluster.json").read_text()))


def one(run: Run, lost: float, seed: int) -> dict[str, Any]:
    rng, machines = random.Random(seed), -(-run.workers // A_MACHINE)
    span = sum(run.seconds.values()) / run.workers
    run.whole(sorted(rng.uniform(0, span) for _ in range(round(lost * machines))), rng)
    found = {"machines_lost": round(lost * machines), "seed": seed} | run.found()
    print(found, file=sys.stderr, flush=True)
    return found


if __name__ == "__main__":
    main()
