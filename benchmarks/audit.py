"""The audit as a user runs it: time, memory, accuracies, AUC, errors; each seed in a new store, then once
more on the finished store.

    python benchmarks/audit.py --recipe fmnist-quick --seeds 4 5 6

Every run is a process of its own. Results are written after each seed, and seeds that are there for this
recipe's digest are skipped.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import Any

import pyarrow.parquet as pq
import torch
from measure import RESULTS, context, save, spread

from zooaudit.data.resolve import resolve
from zooaudit.recipes.named import get_recipe
from zooaudit.storage.models import load_module
from zooaudit.storage.opening import open_store
from zooaudit.zoo.fit import accuracy


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", default="fmnist-quick")
    parser.add_argument("--seeds", type=int, nargs="+", default=[4, 5, 6])
    parser.add_argument("--keep", help="folder to keep the stores and reports in")
    args = parser.parse_args()
    digest = get_recipe(args.recipe).digest
    kept = RESULTS / f"audit_{args.recipe}.json"
    before = json.loads(kept.read_text()) if kept.exists() else {}
    rows = before.get("rows", []) if before.get("recipe_digest") == digest else []
    for seed in args.seeds:
        if seed not in {r["seed"] for r in rows}:
            rows.append(one(args.recipe, seed, Path(args.keep) if args.keep else None))
            save(f"audit_{args.recipe}", {"recipe_digest": digest, "rows": rows, "summary": summary(rows)})


def one(recipe: str, seed: int, keep: Path | None) -> dict[str, Any]:
    folder = (keep or Path(tempfile.mkdtemp(prefix="zooaudit-benchmark-"))) / f"seed-{seed}"
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "zooaudit", "audit", "--recipe", recipe, "--seed", str(seed), "--json"]
    command += ["--store", str(folder / "store"), "--out", str(folder / "report")]
    first, wall = timed(command)
    again, rerun = timed(command)
    assert again["models"]["trained"] == 0 and again["verdicts"] == first["verdicts"], (
        "a rerun trained models or changed verdicts"
    )
    detail = json.loads((folder / "report" / "audit.json").read_text())
    row = {
        "seed": seed,
        "commit": context()["commit"],
        "wall_s": wall,
        "rerun_s": rerun,
        "peak_gib": first["peak_rss_bytes"] / 2**30,
        "phases_s": audit_phases(folder / "store", detail, recipe),
        **{k: first[k] for k in ("models", "victim", "uap", "auc")},
        **of_models(pq.read_table(folder / "report" / "models.parquet").to_pylist()),
        "level": first["level"],
        "victim_itself": first["victim_itself"]["decision"],
        "called_stolen": first["called_stolen"],
        "called_piracy": called(first["verdicts"]),
        "evaluation_s_per_model": evaluation(folder / "store", recipe),
    }
    if keep is None:
        shutil.rmtree(folder.parent)
    return row


def audit_phases(store: Path, detail: dict[str, Any], recipe: str) -> dict[str, float]:
    """The phases of the first run, which wrote the report that the store keeps."""
    artifacts = open_store(str(store))
    return json.loads(artifacts.load("report", detail["run"]).read("audit.json"))["phases"]


def timed(command: list[str]) -> tuple[dict[str, Any], float]:
    started = time.perf_counter()
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    seconds = time.perf_counter() - started
    print(f"{seconds:.1f} s: {' '.join(command[1:])}", file=sys.stderr)
    return json.loads(ended.stdout), seconds


def of_models(models: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean accuracy by architecture and way of training, and how many extracted models recovered .95."""
    cells = defaultdict(list)
    for m in models:
        if m["status"] == "learnt":
            cells[f"{m['architecture']} {'extracted' if m['parent'] else 'normal'}"].append(m["accuracy"])
    recovered = [
        m["recovery_rate"] for m in models if m["role"] == "piracy" and m["recovery_rate"] is not None
    ]
    return {
        "accuracy": {k: mean(v) for k, v in sorted(cells.items())},
        "recovery_rate_of_piracy": spread(recovered),
        "share_of_piracy_recovering_95": mean(r >= 0.95 for r in recovered),
    }


def called(verdicts: list[dict[str, Any]]) -> dict[str, list[int]]:
    """By role: how many were called piracy, of how many."""
    roles = {v["role"] for v in verdicts}
    return {
        r: [
            sum(v["role"] == r and v["decision"] == "piracy" for v in verdicts),
            sum(v["role"] == r for v in verdicts),
        ]
        for r in sorted(roles)
    }


def evaluation(store: Path, recipe: str) -> float:
    """Seconds that measuring one model's accuracy takes, on one thread: mean over one model
    of each architecture."""
    torch.set_num_threads(1)
    artifacts, dataset = open_store(str(store)), resolve(get_recipe(recipe).dataset)
    ids = list({i.split("-")[-3]: i for i in artifacts.ids("model")}.values())
    modules = [load_module(artifacts, i) for i in ids]
    started = time.perf_counter()
    for module in modules:
        accuracy(module, dataset.test)
    return (time.perf_counter() - started) / len(ids)


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """n, median and spread over the seeds."""
    flat = {
        "wall_s": [r["wall_s"] for r in rows],
        "rerun_s": [r["rerun_s"] for r in rows],
        "peak_gib": [r["peak_gib"] for r in rows],
        "victim_accuracy": [r["victim"]["accuracy"] for r in rows],
        "fooling_rate": [r["uap"]["fooling_rate"] for r in rows],
        "auc_homologous": [r["auc"]["homologous"] for r in rows],
        "auc_look_alike": [r["auc"]["look_alike"] for r in rows],
        "failed": [r["models"]["failed"] for r in rows],
        "share_of_piracy_recovering_95": [r["share_of_piracy_recovering_95"] for r in rows],
    }
    cells = rows[0]["accuracy"]
    return {k: spread(v) for k, v in flat.items()} | {
        "accuracy": {c: spread([r["accuracy"][c] for r in rows]) for c in cells}
    }


if __name__ == "__main__":
    main()
