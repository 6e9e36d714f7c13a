"""Models an hour: zooaudit's farm against the plain way (benchmarks/plain_zoo.py), and where the farm's time goes.

    python benchmarks/zoo_build.py farm  --repeats 3     build the whole fmnist-quick zoo on Ray, each time into a new store
    python benchmarks/zoo_build.py plain --loaders 0     one model of each kind the plain way
    python benchmarks/zoo_build.py plain --loaders 2
    python benchmarks/zoo_build.py table                 put them together

The plain way would take about an hour for all 45 models, so one model of each kind (architecture, role, attack) is built whole and its time
counts for all of its kind. Every measurement is written at once; a run that was cut off goes on where it stopped.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import ray
import torch
from measure import RESULTS, context, save, spread

from zooaudit import steps
from zooaudit.data.images import Dataset
from zooaudit.data.resolve import default_cache, resolve
from zooaudit.distributed.cluster import cluster
from zooaudit.distributed.ray_farm import RayFarm
from zooaudit.pipeline import build_zoo
from zooaudit.recipes import get_recipe
from zooaudit.storage.artifacts import open_store
from zooaudit.storage.models import load_module
from zooaudit.workqueue import FarmStatus
from zooaudit.zoo.fit import accuracy
from zooaudit.zoo.spec import ModelSpec

RECIPE = get_recipe("fmnist-quick")
ROWS = RESULTS / "zoo_build_rows.jsonl"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("farm", "plain", "table"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--loaders", type=int, default=0)
    parser.add_argument("--store", help="plain: a store with the victims of fmnist-quick")
    args = parser.parse_args()
    if args.what == "farm":
        for _ in range(args.repeats):
            record({"way": "farm"} | farm())
    elif args.what == "plain":
        plain(args.loaders, args.store)
    else:
        table()


def rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []


def record(row: dict[str, Any]) -> None:
    where = context()
    ROWS.parent.mkdir(exist_ok=True)
    with ROWS.open("a") as file:
        file.write(json.dumps(row | {"commit": where["commit"], "date": where["date"]}) + "\n")
    print({k: v for k, v in row.items() if k != "models"}, file=sys.stderr)


def farm() -> dict[str, Any]:
    """One build of the whole zoo, and the seconds of its phases."""
    store = tempfile.mkdtemp(prefix="zooaudit-benchmark-")
    started = time.perf_counter()
    dataset = resolve(RECIPE.dataset)
    data = time.perf_counter() - started
    with cluster(200 * 2**20):
        ray_start = time.perf_counter() - started - data
    idle = time.perf_counter()
    with cluster(200 * 2**20):
        pass
    ray_both = time.perf_counter() - idle

    marks: dict[str, float] = {}

    def watch(status: FarmStatus) -> None:
        now = time.perf_counter()
        if status.training:
            marks.setdefault("first", now)
        if status.done == status.total:
            marks.setdefault("last", now)

    begun = time.perf_counter()
    zoo = build_zoo(RECIPE, dataset, open_store(store), RayFarm(), watch)
    wall = time.perf_counter() - begun
    records = [zoo.records[s.id] for s in zoo.plan.specs]
    result = {
        "wall_s": wall,
        "models_an_hour": 3600 * len(records) / wall,
        "data_s": data,
        "ray_start_s": ray_start,
        "ray_start_and_stop_s": ray_both,
        "to_first_model_s": marks["first"] - begun,
        "training_s": marks["last"] - marks["first"],
        "teardown_s": begun + wall - marks["last"],
        "worker_busy_s": sum(r.seconds for r in records),
        "evaluation_s_per_model": evaluation_seconds(zoo.plan.specs[0], store, dataset),
        "failed": len(zoo.failed),
        "workers": 2,
    }
    shutil.rmtree(store)
    return result


def evaluation_seconds(spec: ModelSpec, store: str, dataset: Dataset) -> float:
    torch.set_num_threads(1)
    module = load_module(open_store(store), spec.id)
    started = time.perf_counter()
    accuracy(module, dataset.test)
    return time.perf_counter() - started


def kind(spec: ModelSpec) -> str:
    return f"{spec.architecture} {spec.extraction.attack if spec.extraction else 'trained'} {spec.training.epochs}"


def planned() -> tuple[Dataset, tuple[ModelSpec, ...]]:
    dataset = resolve(RECIPE.dataset)
    return dataset, steps.plan(RECIPE, dataset, open_store("memory:"), None).specs


def plain(loaders: int, store: str | None) -> None:
    """One model of each kind the plain way; parents come from ``store``, so that both ways extract from the same victims."""
    from plain_zoo import Plain

    ray.shutdown()
    _, specs = planned()
    done = {r["kind"] for r in rows() if r["way"] == f"plain-{loaders}"}
    builder = Plain(torchvision_root(), loaders)
    for spec in {kind(s): s for s in reversed(specs)}.values():
        if kind(spec) in done:
            continue
        parent = load_module(open_store(store or "store"), spec.parent) if spec.parent else None
        started = time.perf_counter()
        _, reached = builder.build(spec, parent)
        seconds = time.perf_counter() - started
        record({"way": f"plain-{loaders}", "kind": kind(spec), "model": spec.id, "seconds": seconds, "accuracy": reached})


def torchvision_root() -> str:
    """A folder laid out as torchvision has it, linked to the cached files."""
    root = Path(tempfile.mkdtemp(prefix="zooaudit-torchvision-"))
    raw = root / "FashionMNIST" / "raw"
    raw.parent.mkdir()
    shutil.copytree(default_cache() / "fashion-mnist", raw)
    for packed in raw.glob("*.gz"):
        import gzip

        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    return str(root)


def table() -> None:
    """Both ways together: seconds for the 45 models, models an hour, how many times as many."""
    _, specs = planned()
    counts = Counter(kind(s) for s in specs)
    measured = rows()
    body: dict[str, Any] = {"models": len(specs), "kinds": dict(counts)}
    for way in ("plain-0", "plain-2"):
        seconds = {r["kind"]: r["seconds"] for r in measured if r["way"] == way}
        if missing := counts.keys() - seconds.keys():
            raise SystemExit(f"{way} lacks {sorted(missing)}: run 'plain' first")
        total = sum(seconds[k] * n for k, n in counts.items())
        body[way] = {"seconds_by_kind": seconds, "seconds": total, "models_an_hour": 3600 * len(specs) / total}
    farms = [r for r in measured if r["way"] == "farm"]
    body["farm"] = {k: spread([r[k] for r in farms]) for k, v in farms[0].items() if isinstance(v, float | int)}
    fastest = max(body[w]["models_an_hour"] for w in ("plain-0", "plain-2"))
    body["times_as_many_models"] = spread([r["models_an_hour"] / fastest for r in farms])
    body["orchestration_share"] = spread([1 - r["training_s"] / r["wall_s"] for r in farms])
    save("zoo_build", body)


if __name__ == "__main__":
    main()
