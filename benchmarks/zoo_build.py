"""Models an hour: zooaudit's farm against the plain way (benchmarks/plain_zoo.py), and
where the farm's time goes.

    python benchmarks/audit.py                                       the farm, as whole audits
    python benchmarks/zoo_build.py plain --loaders 0 --store STORE   one model of each kind the plain way
    python benchmarks/zoo_build.py plain --loaders 2 --store STORE
    python benchmarks/zoo_build.py table                             put them together

The plain way would take about half an hour for all 45 models, so one model of each kind (architecture;
trained, or the attack) is built whole and its time counts for all of its kind: the shorter of the two with 0
and with 2 loader workers, where both were run. Every measurement is written at once; a run that was cut off
goes on where it stopped.
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

from measure import RESULTS, context, save, spread

from zooaudit.auditing import zoo_plan
from zooaudit.data.images import Dataset
from zooaudit.data.places import default_cache
from zooaudit.data.resolve import resolve
from zooaudit.recipes.named import get_recipe
from zooaudit.storage.models import load_module
from zooaudit.storage.opening import open_store
from zooaudit.zoo.spec import ModelSpec

RECIPE = get_recipe("fmnist-quick")
ROWS = RESULTS / "zoo_build_rows.jsonl"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("plain", "table"))
    parser.add_argument("--loaders", type=int, default=0)
    parser.add_argument("--store", help="plain: a store with the victims of fmnist-quick")
    parser.add_argument(
        "--kinds", nargs="+", help="plain: only these kinds, for example 'C trained' (default: all)"
    )
    args = parser.parse_args()
    if args.what == "plain":
        plain(args.loaders, args.store, args.kinds)
    else:
        table()


def rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []


def record(row: dict[str, Any]) -> None:
    where = context()
    ROWS.parent.mkdir(exist_ok=True)
    with ROWS.open("a") as file:
        file.write(json.dumps(row | {"commit": where["commit"], "date": where["date"]}) + "\n")
    print(row, file=sys.stderr)


def kind(spec: ModelSpec) -> str:
    return f"{spec.architecture} {spec.extraction.attack if spec.extraction else 'trained'}"


def planned() -> tuple[Dataset, tuple[ModelSpec, ...]]:
    dataset = resolve(RECIPE.dataset)
    return dataset, zoo_plan.plan(RECIPE, dataset, open_store("memory:"), None).specs


def plain(loaders: int, store: str | None, kinds: list[str] | None) -> None:
    """One model of each kind the plain way; parents come from ``store``, so that both ways
    extract from the same victims."""
    from plain_zoo import Plain

    _, specs = planned()
    done = {r["kind"] for r in rows() if r["way"] == f"plain-{loaders}"}
    builder = Plain(torchvision_root(), loaders)
    for spec in {kind(s): s for s in reversed(specs)}.values():
        if kind(spec) in done or (kinds and kind(spec) not in kinds):
            continue
        parent = load_module(open_store(store or "store"), spec.parent) if spec.parent else None
        started = time.perf_counter()
        _, reached = builder.build(spec, parent)
        seconds = time.perf_counter() - started
        record(
            {
                "way": f"plain-{loaders}",
                "kind": kind(spec),
                "model": spec.id,
                "seconds": seconds,
                "accuracy": reached,
            }
        )


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
    """Both ways together: seconds for the whole zoo, models an hour, how many times as
    many, and where our time goes."""
    _, specs = planned()
    counts = Counter(kind(s) for s in specs)
    audits = json.loads((RESULTS / "audit_fmnist-quick.json").read_text())
    if audits["recipe_digest"] != RECIPE.digest:
        raise SystemExit("audit_fmnist-quick.json is of another recipe: run benchmarks/audit.py first")
    body: dict[str, Any] = {"models": len(specs), "kinds": dict(counts)}
    seconds = {k: [r["seconds"] for r in rows() if r["kind"] == k] for k in counts}
    if missing := [k for k, s in seconds.items() if not s]:
        raise SystemExit(f"the plain way lacks {missing}: run 'plain' first")
    total = sum(min(seconds[k]) * n for k, n in counts.items())
    body["plain"] = {"seconds": total, "models_an_hour": 3600 * len(specs) / total, "rows": rows()}
    ours = [sum(r["phases_s"][p] for p in ("farm start", "training", "farm stop")) for r in audits["rows"]]
    rates = [3600 * len(specs) / s for s in ours]
    body["farm"] = {"commit": audits["commit"], "seconds": spread(ours), "models_an_hour": spread(rates)}
    body["times_as_many_models"] = spread([r / body["plain"]["models_an_hour"] for r in rates])
    body["where_the_time_goes_s"] = where_the_time_goes(audits["rows"], len(specs))
    orchestration = [
        sum(r["phases_s"][p] for p in ("farm start", "farm stop")) / r["wall_s"] for r in audits["rows"]
    ]
    body["orchestration_share"] = spread(orchestration)
    save("zoo_build", body)


def where_the_time_goes(audits: list[dict[str, Any]], models: int) -> dict[str, dict[str, float]]:
    """Wall-clock seconds of each phase of a whole audit; evaluation is a part of training, on two workers."""
    phases = {p: spread([r["phases_s"][p] for r in audits]) for p in audits[0]["phases_s"]}
    rest = [r["wall_s"] - sum(r["phases_s"].values()) for r in audits]
    evaluation = spread([r["evaluation_s_per_model"] * models / 2 for r in audits])
    return phases | {"start of Python, report": spread(rest), "(of training: evaluation)": evaluation}


if __name__ == "__main__":
    main()
