"""``zooaudit study``: try the paper's claims on a zoo."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from zooaudit.commands import chosen_farm, recipe_and_data, voice
from zooaudit.errors import ConfigError
from zooaudit.storage.artifacts import open_store

if TYPE_CHECKING:
    from zooaudit.studies.runner import Result

EXAMPLE = "zooaudit study similarity top-k --recipe fmnist-paper --store ./store --build"
ALL = "all"


def add_arguments(parser: argparse.ArgumentParser, recipes: Sequence[str]) -> None:
    """What the study subcommand takes."""
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="studies to run, or 'all'; without a name they are listed")
    add("--recipe", default="fmnist-paper", metavar="NAME", help=f"whose zoo: one of {', '.join(recipes)} (default: %(default)s)")
    add("--seed", type=int, help="run the recipe with another seed")
    add("--data", metavar="DIR", help="your own data instead of the recipe's")
    add("--build", action="store_true", help="train what the store lacks; without it, a study that lacks models says which")
    add("--farm", choices=("ray", "serial"), default="ray", help="with --build: who trains (default: %(default)s)")
    add("--workers", type=int, metavar="N", help="with --build: Ray workers (default: one a core)")
    add("--gpus-per-worker", type=float, default=0.0, metavar="SHARE", help="with --build: GPU share of a worker (default: 0)")
    add("--out", metavar="DIR", help="where tables, pictures and findings go (default: ./studies/RECIPE)")
    parser.set_defaults(fallback=None, victim_workers=1)


def study(args: argparse.Namespace, out: TextIO) -> int:
    """Try claims of the paper on a zoo: each study gives a table, a picture, and says whether the claim holds."""
    from zooaudit.reporting.facts import commit, gather_facts
    from zooaudit.studies.bench import Bench, NoFarm
    from zooaudit.studies.registry import STUDIES, get_study
    from zooaudit.studies.runner import run_study

    if not args.names:
        lines = [f"{s.name:<14} {s.source:<14} {s.title}{'  (trains models of its own)' if s.builds else ''}" for s in STUDIES.values()]
        print(json.dumps(list(STUDIES)) if args.json else "\n".join(lines), file=out)
        return 0
    if ALL in args.names and len(args.names) > 1:
        raise ConfigError(f"'all' stands for every study; found beside it: {', '.join(n for n in args.names if n != ALL)}")
    chosen = list(STUDIES.values()) if args.names == [ALL] else [get_study(n) for n in args.names]
    tell = voice(args)
    recipe, dataset = recipe_and_data(args, tell)
    artifacts = open_store(args.store)
    farm = chosen_farm(args) if args.build else NoFarm()
    bench = Bench(recipe, dataset, artifacts, farm, tell.watch)
    facts = gather_facts(0, 0, args.command_line)
    provenance = {
        "command": facts.command,
        "commit": commit(),
        "hardware": facts.hardware,
        "versions": facts.versions,
        "date": facts.finished,
    }
    folder = Path(args.out) if args.out else Path("studies") / recipe.name
    results = []
    for number, one in enumerate(chosen, 1):
        tell(f"study {one.name} ({number} of {len(chosen)}): {one.title}, {one.source}", "study", name=one.name)
        result = run_study(one, bench, provenance)
        result.write(folder)
        results.append(result)
        _tell(result, args, out)
    if args.json:
        print(json.dumps([dict(r.facts) for r in results]), file=out)
    elif args.log == "text":
        print(f"tables, pictures and findings are in {folder}", file=out)
    held = sum(f.holds == "reproduced" for r in results for f in r.findings)
    tell("", "done", studies=len(results), findings=sum(len(r.findings) for r in results), reproduced=held, out=str(folder))
    return 0


def _tell(result: "Result", args: argparse.Namespace, out: TextIO) -> None:
    if args.json or args.log == "events":
        return
    for found in result.findings:
        print(f"{found.holds:<26} {found.claim}\n{'':<26} paper: {found.paper}; here: {found.ours} ({found.n})", file=out)
    cost = f"{result.facts['seconds']:g} s, {result.facts['queries']:,} queries, {result.facts['trained']} models trained"
    print(f"{'':<26} {cost if result.fresh else 'read from the store'}; {result.facts['excluded']} models excluded", file=out)
