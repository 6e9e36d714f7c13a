"""``zooaudit recipe``: list the recipes, show one as a file, check a file, make one for the
user's own task."""

import argparse
import json
import shlex
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from zooaudit.auditing.zoo_plan import check_sizes
from zooaudit.cli import own_data, own_start, own_victim
from zooaudit.cli import plan as planning
from zooaudit.cli.arguments.own import add_model, add_training
from zooaudit.cli.audit import notifier
from zooaudit.config import Recipe
from zooaudit.data.images import Dataset
from zooaudit.errors import ConfigError
from zooaudit.outputs import check_folder
from zooaudit.planning.given import Devices, OwnVictim
from zooaudit.planning.measured import DOMAINS, Domain
from zooaudit.planning.new_recipe import begun_with, derived, made, reasons
from zooaudit.planning.own_task import DataFacts, VictimFacts, look_at_data, look_at_victim
from zooaudit.planning.sizing import Estimate, as_json, estimate, planned
from zooaudit.recipes.differences import Difference, differences
from zooaudit.recipes.named import RECIPES
from zooaudit.recipes.read import base_of, is_file, recipe_of
from zooaudit.recipes.write import HEADER, to_toml
from zooaudit.reporting.pages import put
from zooaudit.verdict.registry import check_statistic

OF_NEW = ("victim", "factory", "train", "train_command", "train_timeout", "start", "out", "dataset")


def recipe(args: argparse.Namespace, out: TextIO) -> int:
    """List recipes, show one as a TOML file, check one, or make one for your own data and victim."""
    _refuse_options(args)
    return {"list": _list, "show": _show, "check": _check, "new": _new}[args.action](args, out)


def _refuse_options(args: argparse.Namespace) -> None:
    """Refuse options that the action would ignore."""
    if args.action in ("show", "check") and not args.name:
        raise ConfigError(
            f"recipe {args.action}: expected a recipe's name, or a file: zooaudit recipe {args.action}"
            f" {sorted(RECIPES)[0]}"
        )
    if args.action in ("list", "new") and args.name:
        raise ConfigError(f"recipe {args.action} {args.name}: expected no name")
    given = [o for o in (*OF_NEW, "trial") if getattr(args, o)] if args.action != "new" else []
    given += ["data"] if args.data and args.action in ("list", "show") else []
    given += ["set"] if args.settings and args.action in ("list", "new") else []
    given += ["cpus"] if args.cpus and args.action in ("list", "show") else []
    if given:
        option = {"trial": "try"}.get(given[0], given[0]).replace("_", "-")
        raise ConfigError(f"--{option} has no meaning for recipe {args.action}; leave it out")


def _list(args: argparse.Namespace, out: TextIO) -> int:
    rows = [_row(one) for one in RECIPES.values()]
    if args.json:
        print(json.dumps(rows), file=out)
        return 0
    for row in rows:
        text = f"{row['models']:>5,} models, {row['twins']} twins, {row['references']} references"
        print(f"{row['name']:<20} {row['dataset']:<18} {text}", file=out)
    return 0


def _row(one: Recipe) -> dict[str, Any]:
    models = len(planned(one, DOMAINS[one.dataset]).specs)
    return {
        "name": one.name,
        "dataset": one.dataset,
        "models": models,
        "twins": one.zoo.twins,
        "references": one.zoo.references,
    }


def _show(args: argparse.Namespace, out: TextIO) -> int:
    shown = recipe_of(args.name, args.settings)
    if args.json:
        print(json.dumps(asdict(shown)), file=out)
    else:
        print(to_toml(shown), file=out, end="")
    return 0


def _check(args: argparse.Namespace, out: TextIO) -> int:
    checked = recipe_of(args.name, args.settings)
    check_statistic(checked.twin_test)
    base, based_on = _base(args.name, checked)
    differ = differences(base, checked)
    known = args.data is not None or checked.dataset in DOMAINS
    sized = _sized(checked, _domain(checked, args), args.cpus)
    if args.json:
        listed = [asdict(d) for d in differ]
        facts = {"name": checked.name, "digest": checked.digest, "based_on": based_on, "differences": listed}
        print(
            json.dumps(facts | {"plan": as_json(sized) if known else None, "models": sized.models}), file=out
        )
        return 0
    print("\n".join(_checked(checked, based_on, differ, sized, known)), file=out)
    return 0


def _base(name: str, checked: Recipe) -> tuple[Recipe, str]:
    """The recipe to compare with, and its name."""
    if not is_file(name):
        return (recipe_of(name), name)
    found = base_of(Path(name))
    if found is not None:
        return found, found.name
    return Recipe(checked.name, checked.dataset), "the defaults"


def _domain(checked: Recipe, args: argparse.Namespace) -> Domain:
    """The data that the recipe is for, if it is known; else any data of a size that every net can take, to
    count models."""
    if args.data is not None:
        found = own_data.data_of(args, checked.dataset, notifier(args))
        check_sizes(checked, len(found.train), own=False)
        return _domain_of(found)
    if checked.dataset in DOMAINS:
        check_sizes(checked, DOMAINS[checked.dataset].train_size, own=False)
    return DOMAINS.get(checked.dataset, Domain(checked.dataset, 1_000_000, 100_000, (3, 64, 64), 10))


def _domain_of(found: Dataset) -> Domain:
    return Domain(found.name, len(found.train), len(found.test), found.image_shape, found.num_classes)


def _sized(checked: Recipe, domain: Domain, cpus: int | None, own: OwnVictim | None = None) -> Estimate:
    return estimate(checked, domain, Devices(cpus or 1), own)


def _checked(
    checked: Recipe, based_on: str, differ: list[Difference], sized: Estimate, known: bool
) -> Iterator[str]:
    yield f"recipe {checked.name} is in order"
    yield f"compared with {based_on}: " + (
        "no difference" if not differ else f"{len(differ)} differences" if len(differ) > 1 else "1 difference"
    )
    yield from (f"  {d.path:<32} {d.before} -> {d.after}" for d in differ)
    if named := (
        sorted(dict(checked.zoo.epochs)) if any(d.path == "zoo.training.epochs" for d in differ) else []
    ):
        yield (f"note: zoo.training.epochs does not apply to {', '.join(named)}: zoo.epochs sets theirs")
    lines = planning.lines(sized, "")
    if known:
        yield from lines
        return
    yield from lines[: 1 + len(sized.models)]
    yield (
        f"time          unknown: {checked.dataset} is not one of {', '.join(DOMAINS)}; say where it is,"
        " --data DIR"
    )


def _new(args: argparse.Namespace, out: TextIO) -> int:
    notify = notifier(args)
    target = _target(args)
    if args.trial and not (args.train or args.train_command):
        raise ConfigError(
            "--try trains one twin to measure its time, but neither --train nor --train-command says how"
        )
    dataset = own_data.data_of(args, args.dataset or own_data.name_of(args.data), notify)
    own = own_victim.own_victim(args, dataset, notify)
    notify(
        f"data: {len(dataset.train):,} training and {len(dataset.test):,} test images, {dataset.num_classes}"
        " classes"
    )
    data = look_at_data(dataset)
    victim = look_at_victim(own, dataset, data, args.trial) if own is not None else None
    start = (
        own_start.tried_start(args.start, dataset.image_shape, dataset.num_classes) if args.start else None
    )
    reasoned = derived(data, victim) | (begun_with(start) if start else {})
    found = made(target.stem if target else "mine", reasoned)
    own_sized = OwnVictim(victim.twin_seconds, args.factory or "") if victim is not None else None
    planned(found, _domain_of(dataset), own_sized)
    check_sizes(found, len(dataset.train), own is not None)
    sized = _sized(found, _domain_of(dataset), args.cpus, own_sized)
    text = to_toml(found, reasons(reasoned), " ".join(_looked_at(data, victim, sized)) + " " + HEADER)
    if target is None:
        print(text, file=out, end="")
        return 0
    put(target, text.encode())
    facts = {
        "written": str(target),
        "data": asdict(data),
        "victim": asdict(victim) if victim else None,
        "plan": as_json(sized),
    }
    if args.json:
        print(json.dumps(facts), file=out)
    else:
        print(
            "\n".join(
                (*_looked_at(data, victim, sized), f"written to {target}; next: {_next(args, target)}")
            ),
            file=out,
        )
    return 0


def _target(args: argparse.Namespace) -> Path | None:
    """The file to write, if any; an existing file is left alone."""
    if not args.data and not args.dataset:
        raise ConfigError(
            "recipe new: --data is missing: the folder of your data, or --dataset NAME for a known one"
        )
    if args.out is None:
        if args.json:
            raise ConfigError("recipe new --json: --out is missing: the file for the recipe")
        return None
    target = Path(args.out)
    if target.suffix != ".toml":
        raise ConfigError(f"--out {target}; expected a file that ends in .toml")
    if target.exists():
        raise ConfigError(f"--out {target} is there already; expected another name, or remove it first")
    if not target.parent.is_dir():
        raise ConfigError(f"--out {target}: {target.parent} is not a folder")
    check_folder(target.parent)
    return target


def _looked_at(data: DataFacts, victim: VictimFacts | None, sized: Estimate) -> Iterator[str]:
    channels, height, width = data.image
    yield (
        f"Made for {data.name}: {data.train:,} training images ({data.fewest:,} to {data.most:,} a class) and"
        f" {data.test:,} test images of {channels} x {height} x {width} in {data.classes} classes; chance"
        f" {data.chance:.3f}, a linear model of small images {data.linear:.3f}."
    )
    if victim is not None:
        yield f"Victim {victim.file}: {victim.parameters:,} parameters, test accuracy {victim.accuracy:.3f}."
        if victim.twin_seconds is not None:
            yield f"One twin took {victim.twin_seconds:.1f} s and has accuracy {victim.twin_accuracy:.3f}."
            yield from _unlike(data, victim)
        elif victim.has_training:
            yield "No twin was timed (--try)."
        else:
            yield (
                "It has no twins, and nobody can be accused, until --train or --train-command says what"
                " trained it."
            )
    low, high = sized.training_hours
    devices = planning.devices_text(sized.devices)
    text = f"training about {planning.between(low, high)} on {devices}, by a rough estimate"
    yield f"{sized.total_models:,} models, {text}."


def _unlike(data: DataFacts, victim: VictimFacts) -> Iterator[str]:
    """Warn if a twin is worse or better than the victim by more than chance explains."""
    assert victim.twin_accuracy is not None
    mean = (victim.accuracy + victim.twin_accuracy) / 2
    apart, error = victim.twin_accuracy - victim.accuracy, (2 * mean * (1 - mean) / data.test) ** 0.5
    if abs(apart) > 3 * error:
        yield (
            f"That is {abs(apart):.3f} {'above' if apart > 0 else 'below'} the victim's, more than three"
            f" standard errors ({error:.3f}): is this really the procedure that trained the victim, on the"
            " same images?"
        )


def _next(args: argparse.Namespace, target: Path) -> str:
    """The command for an audit by the new recipe, with the options for data, victim and training. The
    victim's start is in the recipe."""
    given = own_data.options_of(args, add_model, partial(add_training, twins=False))
    return shlex.join(["zooaudit", "audit", "--recipe", str(target), "--store", "./store"]) + "".join(
        f" {option}" for option in given
    )
