"""``zooaudit plan``: read arguments, size the audit up, print."""

import argparse
import json
from typing import TextIO

from zooaudit.cli import chosen_recipe, own_data, own_start
from zooaudit.cli.arguments.plans import SIZES
from zooaudit.config import Recipe
from zooaudit.errors import InputError
from zooaudit.planning.footprint import OPEN, PROBE, Requests
from zooaudit.planning.given import Devices, OwnVictim
from zooaudit.planning.measured import DOMAINS, Domain
from zooaudit.planning.sizing import Estimate, as_json, estimate, scaled
from zooaudit.recipes.named import RECIPES

SIZING_CORES = (16, 64)
SIZING_GPUS = 4


def plan(args: argparse.Namespace, out: TextIO) -> int:
    """Say what an audit will take, before anything is run: models, hours, storage, requests, queries."""
    devices = _devices(args)
    recipe, own = chosen_recipe.chosen_recipe(args), _own(args)
    domain = _domain(recipe, args)
    recipe = own_start.with_start(recipe, args, domain.image, domain.num_classes)
    if args.sizing:
        print(sizing_table(recipe, domain, devices, own), file=out)
        return 0
    changed = ""
    if args.models is not None:
        recipe, changed = scaled(recipe, args.models, own)
    found = estimate(recipe, domain, devices or Devices(1), own)
    if args.json:
        print(json.dumps(as_json(found) | {"scaled": changed}), file=out)
    else:
        print("\n".join(lines(found, changed)), file=out)
    return 0


def _devices(args: argparse.Namespace) -> Devices | None:
    if args.gpus is None:
        if args.gpu_speedup is not None:
            raise InputError("--gpu-speedup says how many CPU cores a GPU replaces, but --gpus is missing")
        return Devices(args.cpus) if args.cpus is not None else None
    if args.gpu_speedup is None:
        raise InputError(
            "--gpus needs --gpu-speedup: how many cores of the measured CPU one GPU replaces. There is no"
            " measurement on a GPU yet; train a few models on yours and on a CPU ('zooaudit zoo --json' gives"
            " seconds a model), or use --cpus"
        )
    return Devices(args.gpus, args.gpu_speedup, "GPUs")


def _own(args: argparse.Namespace) -> OwnVictim | None:
    if args.own_victim:
        return OwnVictim(args.twin_seconds, args.factory or "")
    for name in ("twin_seconds", "factory"):
        if getattr(args, name) is not None:
            raise InputError(
                f"--{name.replace('_', '-')} is for a victim of your own, but --own-victim is missing"
            )
    return None


def _domain(recipe: Recipe, args: argparse.Namespace) -> Domain:
    if args.data is None:
        if recipe.dataset not in DOMAINS:
            raise InputError(
                f"recipe {recipe.name} is for {recipe.dataset}, which is not one of {', '.join(DOMAINS)}; say"
                " where it is: --data DIR"
            )
        return DOMAINS[recipe.dataset]
    found = own_data.data_of(args, recipe.dataset, lambda _: None)
    return Domain(args.data, len(found.train), len(found.test), found.image_shape, found.num_classes)


def lines(found: Estimate, changed: str) -> list[str]:
    """Format an estimate as lines of text."""
    low, high = found.training_hours
    kinds = ", ".join(f"{k} {size(b)}" for k, b in found.storage_bytes.items())
    each = found.requests_per_model
    return [
        f"recipe {found.recipe}: {found.total_models:,} models",
        *([changed] if changed else []),
        *(
            f"  {role:<13}{sum(counts.values()):>7,}  " + ", ".join(f"{a} {n:,}" for a, n in counts.items())
            for role, counts in found.models.items()
        ),
        (
            f"training      {hours(found.core_hours)} of one CPU core; {between(low, high)} on"
            f" {devices_text(found.devices)}"
        ),
        (
            f"              never under {hours(found.critical_path_hours)}: a victim, then the longest to"
            " train of the models extracted from it"
        ),
        (
            f"around it     {hours(found.driver_hours)} in one process: start, UAP, answers, encoder,"
            " verdicts, report"
        ),
        f"whole audit   {between(*found.hours)}",
        f"storage       {size(sum(found.storage_bytes.values()))}: {kinds}",
        f"requests      {counted(found.requests)}",
        (
            f"              {each.put:.1f} PUT, {each.get:.1f} GET and {each.head:.1f} HEAD a model; "
            f"each Ray worker adds {counted(PROBE + OPEN)}"
        ),
        (
            f"queries       attackers {found.attackers_queries:,} to victims; the audit"
            f" {found.audit_queries:,} in all; the twin test at most {found.queries_per_suspect:,} to each"
            " suspect"
        ),
        f"driver        holds {size(found.driver_bytes)} of answers in memory",
        *(f"note: {n}" for n in found.notes),
    ]


def sizing_table(
    recipe: Recipe, domain: Domain, devices: Devices | None = None, own: OwnVictim | None = None
) -> str:
    """A Markdown table for 100, 1,000 and 10,000 models, on ``devices`` or on some usual ones."""
    on = [devices] if devices else [Devices(n) for n in SIZING_CORES]
    heads = ["models", "training, core hours", *(f"whole audit on {devices_text(d)}" for d in on)]
    if not devices:
        heads.append(f"on {SIZING_GPUS} GPUs, each as fast as F cores")
    heads += ["storage", "PUT", "GET", "HEAD", "audit queries", "attackers' queries"]
    rows = []
    for models in SIZES:
        sized = [estimate(scaled(recipe, models, own)[0], domain, d, own) for d in on]
        first = sized[0]
        cells = [f"{first.total_models:,}", f"{first.core_hours:.3g}", *(between(*e.hours) for e in sized)]
        if not devices:
            cells.append(f"{first.core_hours / SIZING_GPUS:.3g} h / F + {hours(first.driver_hours)}")
        cells += [
            size(sum(first.storage_bytes.values())),
            *(f"{n:,.0f}" for n in (first.requests.put, first.requests.get, first.requests.head)),
        ]
        cells += [f"{first.audit_queries:,}", f"{first.attackers_queries:,}"]
        rows.append(cells)
    table = [heads, ["---"] * len(heads), *rows]
    command = f" (`zooaudit plan --recipe {recipe.name} --sizing`)" if recipe.name in RECIPES else ""
    caption = f"Recipe `{recipe.name}` with fewer or more suspects{command}. "
    caption += ". ".join(n[0].upper() + n[1:] for n in first.notes) + "."
    if not devices:
        caption += " F is not known: there is no measurement on a GPU yet."
    return "\n".join("| " + " | ".join(row) + " |" for row in table) + f"\n\n{caption}"


def devices_text(devices: Devices) -> str:
    """For example ``4 GPUs worth 20 cores each``."""
    name = devices.what.removesuffix("s") if devices.count == 1 else devices.what
    return f"{devices.count} {name}" + (
        f" worth {devices.speedup:g} cores each" if devices.what == "GPUs" else ""
    )


def hours(value: float) -> str:
    """Hours; minutes below two hours, seconds below two minutes; at least two digits."""
    for seconds, unit in ((3600, "h"), (60, "min"), (1, "s")):
        if (count := value * 3600 / seconds) >= 2:
            return f"{count:,.0f} {unit}" if count >= 10 else f"{count:.1f} {unit}"
    return f"{count:.2g} s"


def between(low: float, high: float) -> str:
    """One time, or two if they differ as printed."""
    first, second = hours(low), hours(high)
    if first == second:
        return first
    number, unit = first.split()
    return f"{number if second.endswith(' ' + unit) else first} to {second}"


def size(count: float) -> str:
    """Bytes in decimal units, as stores bill them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB"


def counted(requests: Requests) -> str:
    """For example ``285 PUT, 396 GET``."""
    return ", ".join(f"{n:,.0f} {name.upper()}" for name, n in vars(requests).items() if n)
