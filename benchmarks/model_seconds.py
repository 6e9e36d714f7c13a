"""What `zooaudit plan` reckons with: seconds that a model of each kind takes, and the time around the zoo.

    python benchmarks/audit.py --recipe fmnist-quick --seeds 1 2 3 --keep FOLDER
    python benchmarks/model_seconds.py FOLDER
    # adds the models of another recipe's zoo
    python benchmarks/model_seconds.py --zoo cifar10-small STORE --data FOLDER

Writes benchmarks/results/model_seconds.json, and what the command needs of it into zooaudit/measured.json.
Both workers of these audits were busy all the time, with one thread each, so a model's seconds are core
seconds. The digits' models are too small to be scaled from those: they are built here, one after another, and
their CPU seconds counted. Of a zoo added by --zoo the models' own records are taken, one core each; other
work on that machine makes them upper bounds.
"""

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from measure import RESULTS, context, spread

from zooaudit.auditing import zoo_plan
from zooaudit.compute import threads
from zooaudit.data.resolve import resolve
from zooaudit.planning.measured import DOMAINS, kind
from zooaudit.recipes.named import get_recipe
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.leases import Job
from zooaudit.storage.opening import open_store
from zooaudit.training.farm import build_and_commit
from zooaudit.zoo.schedule import relative_cost
from zooaudit.zoo.spec import ModelSpec

RECIPE = get_recipe("fmnist-quick")
PRODUCT = Path(__file__).parent.parent / "zooaudit" / "planning" / "measured.json"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "kept", type=Path, nargs="?", help="folder with seed-1, seed-2, ... that benchmarks/audit.py kept"
    )
    parser.add_argument(
        "--zoo",
        nargs=2,
        metavar=("RECIPE", "STORE"),
        help="a finished zoo of another recipe, and the store that holds it",
    )
    parser.add_argument(
        "--data",
        type=Path,
        help="with --zoo: the data that it was built on, since a model's id follows from it",
    )
    args = parser.parse_args()
    if (args.kept is None) == (args.zoo is None):
        parser.error("expected either FOLDER or --zoo RECIPE STORE")
    body = with_zoo(args.zoo[0], args.zoo[1], args.data) if args.zoo else of_audits(args.kept)
    (RESULTS / "model_seconds.json").write_text(json.dumps(body, indent=2) + "\n")
    PRODUCT.write_text(json.dumps(for_the_product(body), indent=2) + "\n")


def of_audits(folder: Path) -> dict[str, Any]:
    """What the committed audits took; zoos that were added before stay."""
    audits = json.loads((RESULTS / f"audit_{RECIPE.name}.json").read_text())
    if audits["recipe_digest"] != RECIPE.digest:
        raise SystemExit("the committed audits are of another recipe: run benchmarks/audit.py first")
    stores = [(row, open_store(str(folder / f"seed-{row['seed']}" / "store"))) for row in audits["rows"]]
    for row, artifacts in stores:
        check_same_run(row, artifacts)
    before = json.loads((RESULTS / "model_seconds.json").read_text())
    return {
        **{k: audits[k] for k in ("commit", "date", "hardware", "versions")},
        "command": "python benchmarks/model_seconds.py FOLDER",
        "recipe": RECIPE.name,
        "dataset": RECIPE.dataset,
        "audits": len(stores),
        "models": len(stores[0][1].ids("model")),
        "zoos": before["zoos"],
        "kinds": (
            before["kinds"]
            | {
                RECIPE.dataset: kinds([a for _, a in stores], DOMAINS[RECIPE.dataset].train_size),
                "digits": digits_kinds(),
            }
        ),
        **around_the_zoo([row for row, _ in stores], [a for _, a in stores]),
    }


def with_zoo(name: str, store: str, data: Path | None) -> dict[str, Any]:
    """What is committed, with the models of one more zoo."""
    recipe, artifacts = get_recipe(name), open_store(store)
    if recipe.dataset in (RECIPE.dataset, "digits"):
        raise SystemExit(
            f"--zoo {name}: {recipe.dataset} is measured from FOLDER; expected a recipe on other data"
        )
    domain = DOMAINS[recipe.dataset]
    planned = {s.id for s in zoo_plan.plan(recipe, resolve(recipe.dataset, data), artifacts, None).specs}
    there = [i for i in artifacts.ids("model") if i in planned]
    if len(there) < len(planned):
        raise SystemExit(
            f"{store} holds {len(there)} of the {len(planned)} models of {name}: finish the zoo first"
        )
    here = context()
    source = {"recipe": name, "models": len(there)} | {k: here[k] for k in ("commit", "date", "hardware")}
    body = json.loads((RESULTS / "model_seconds.json").read_text())
    body["zoos"][recipe.dataset] = source
    body["kinds"][recipe.dataset] = kinds([artifacts], domain.train_size, planned)
    return body


def check_same_run(row: dict[str, Any], artifacts: Artifacts) -> None:
    """The store must be the one that the committed row was measured on: its models fill
    that run's training on two workers."""
    seconds = sum(artifacts.load("model", i).meta["record"]["seconds"] for i in artifacts.ids("model"))
    if not 0.97 < seconds / 2 / row["phases_s"]["training"] <= 1.0:
        raise SystemExit(
            f"{artifacts.url}: {seconds:.0f} s of training do not fit {row['phases_s']['training']} s on two"
            " workers"
        )


def kinds(stores: list[Artifacts], train_size: int, chosen: set[str] | None = None) -> dict[str, Any]:
    """By kind of model: seconds, and seconds for 1e12 units of relative_cost, all seconds
    of the kind over all its work."""
    seconds: dict[str, list[float]] = defaultdict(list)
    work: dict[str, float] = defaultdict(float)
    for artifacts in stores:
        for id_ in artifacts.ids("model") if chosen is None else sorted(chosen):
            meta = artifacts.load("model", id_).meta
            spec = ModelSpec.from_json(meta["spec"])
            seconds[kind(spec)].append(meta["record"]["seconds"])
            work[kind(spec)] += relative_cost(spec, train_size)
    return {
        k: {"seconds": spread(s), "seconds_per_1e12_work": 1e12 * sum(s) / work[k]}
        for k, s in sorted(seconds.items())
    }


def digits_kinds() -> dict[str, Any]:
    """The same for the recipe ``digits``, in seconds of CPU time on one thread, which other
    load does not change much."""
    recipe, dataset, artifacts = get_recipe("digits"), resolve("digits"), open_store("memory:")
    seconds: dict[str, list[float]] = defaultdict(list)
    work: dict[str, float] = defaultdict(float)
    specs, leases = zoo_plan.plan(recipe, dataset, artifacts, None).specs, artifacts.leases(Job.new())
    with threads(1):
        warm = open_store("memory:")
        # Compiles what every later model uses.
        build_and_commit(specs[0], dataset, warm, warm.leases(Job.new()))
        for spec in specs:
            begun = time.process_time()
            build_and_commit(spec, dataset, artifacts, leases)
            seconds[kind(spec)].append(time.process_time() - begun)
            work[kind(spec)] += relative_cost(spec, len(dataset.train))
    return {
        k: {"seconds": spread(s), "seconds_per_1e12_work": 1e12 * sum(s) / work[k]}
        for k, s in sorted(seconds.items())
    }


def around_the_zoo(rows: list[dict[str, Any]], stores: list[Artifacts]) -> dict[str, Any]:
    """Seconds of a run that do not depend on the zoo, and those after it for each query;
    bytes of a report for each model."""
    asked = "UAP, answers, encoder, verdicts"
    queries = [sum(a.load("answers", i).meta["queries"] for i in a.ids("answers")) for a in stores]
    pages = [
        sum(e["bytes"] for i in a.ids("report") for e in a.load("report", i).files.values()) for a in stores
    ]
    models = [len(a.ids("model")) for a in stores]
    return {
        "fixed_s": spread([r["wall_s"] - r["phases_s"]["training"] - r["phases_s"][asked] for r in rows]),
        "after_zoo_us_per_query": spread(
            [1e6 * r["phases_s"][asked] / q for r, q in zip(rows, queries, strict=True)]
        ),
        "report_bytes_per_model": spread([b / n for b, n in zip(pages, models, strict=True)]),
    }


def for_the_product(body: dict[str, Any]) -> dict[str, Any]:
    """What an installed zooaudit needs: means, and where they come from."""
    kept = {
        k: body[k] for k in ("commit", "date", "hardware", "recipe", "dataset", "audits", "models", "zoos")
    }
    rates = {
        d: {k: round(v["seconds_per_1e12_work"], 2) for k, v in found.items()}
        for d, found in body["kinds"].items()
    }
    once = {
        k: round(body[k]["median"], 1)
        for k in ("fixed_s", "after_zoo_us_per_query", "report_bytes_per_model")
    }
    return kept | {"seconds_per_1e12_work": rates} | once


if __name__ == "__main__":
    main()
