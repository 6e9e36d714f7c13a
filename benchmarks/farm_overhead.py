"""What the farm costs beside training: seconds a model for many tiny models, on a local
folder and on S3, and the driver's memory.

    python benchmarks/farm_overhead.py [--models 1000] [--memory 100 1000 10000]

Overhead a model is (workers x seconds from the first draw to the last commit - seconds of training) / models.
The S3 server is SeaweedFS on this machine, which takes its share of the same cores. Memory is the driver's
resident size at its peak during a farm run over so many specs, in a process of its own.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from measure import save, spread

sys.path.insert(0, str(Path(__file__).parent.parent))

from cluster.seaweed import Seaweed, make_bucket
from zooaudit.cli.terminal import TimedFarm
from zooaudit.config import TrainConfig
from zooaudit.data.images import Dataset, ImageSet
from zooaudit.data.resolve import load_digits
from zooaudit.machine import cores
from zooaudit.storage.models import KIND, load_record
from zooaudit.storage.opening import open_store
from zooaudit.training.ray_farm import RayFarm
from zooaudit.zoo.shape import ModelShape
from zooaudit.zoo.spec import Group, ModelSpec, Role

IMAGES = 64


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", type=int, nargs="*", default=[100, 1000, 10000])
    parser.add_argument("--one", nargs=2, metavar=("MODELS", "STORE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(run(int(args.one[0]), args.one[1])))
        return
    places: dict[str, list[dict[str, Any]]] = {"local folder": [], "SeaweedFS": []}
    body: dict[str, Any] = {"models": args.models}
    with tempfile.TemporaryDirectory(prefix="zooaudit-benchmark-") as scratch:
        server = Seaweed(Path(scratch) / "weed").start()
        make_bucket(server, "zoo")
        os.environ |= server.environment
        try:
            for number in range(args.repeats):
                places["local folder"].append(apart(args.models, f"{scratch}/{number}"))
                places["SeaweedFS"].append(apart(args.models, f"s3://zoo/{number}"))
                body["overhead_ms_a_model"] = {
                    p: spread([r["overhead_ms"] for r in rows]) for p, rows in places.items()
                }
                body["training_ms_a_model"] = {
                    p: spread([r["training_ms"] for r in rows]) for p, rows in places.items()
                }
                save("farm_overhead", body)
        finally:
            server.kill()
        body["driver_mib_by_specs"] = {}
        for models in args.memory:
            body["driver_mib_by_specs"][str(models)] = round(
                apart(models, f"{scratch}/memory-{models}")["driver_mib"], 1
            )
            save("farm_overhead", body)


def apart(models: int, store: str) -> dict[str, Any]:
    """``run`` in a process of its own."""
    command = [sys.executable, __file__, "--one", str(models), store]
    found: dict[str, Any] = json.loads(
        subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1]
    )
    print(f"{models} models, {store}: {found}", file=sys.stderr)
    return found


def run(models: int, store: str) -> dict[str, Any]:
    """Have the Ray farm build so many tiny models."""
    whole = load_digits()
    few = ImageSet(whole.train.images[:IMAGES], whole.train.labels[:IMAGES])
    dataset = Dataset("few", few, few, whole.classes, "scikit-learn")
    specs = tiny_specs(dataset, models)
    artifacts, farm = open_store(store), TimedFarm(RayFarm())
    started = time.perf_counter()
    farm.build(specs, dataset, artifacts, lambda _: None)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    trained = sum(load_record(artifacts, s.id).seconds for s in specs)
    assert len(artifacts.ids(KIND)) == models, "models are missing"
    return {
        "overhead_ms": 1000 * (cores() * farm.phases["training"] - trained) / models,
        "training_ms": 1000 * trained / models,
        "wall_s": time.perf_counter() - started,
        "driver_mib": peak,
    }


def tiny_specs(dataset: Dataset, models: int) -> list[ModelSpec]:
    mean, std = dataset.channel_stats
    shape = ModelShape(dataset.image_shape, dataset.num_classes, mean, std, (4, 8), 16)
    first = ModelSpec(
        Role.HOMOLOGOUS,
        Group.SUSPECT,
        "C",
        "sgd",
        32,
        dataset.digest,
        0.5,
        0,
        TrainConfig(epochs=1, precision="float32"),
        shape,
        0.0,
    )
    return [replace(first, seed=seed) for seed in range(models)]


if __name__ == "__main__":
    main()
