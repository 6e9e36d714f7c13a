"""``zooaudit study``: try the paper's claims on a zoo, and the twin test on other people's models."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from zooaudit.cli.audit import notifier
from zooaudit.cli.bench import open_bench, results_folder
from zooaudit.cli.own_data import reading_of
from zooaudit.errors import ConfigError, NotEnoughModelsError
from zooaudit.extras import require
from zooaudit.storage.opening import open_store
from zooaudit.suspects.factories import imported

if TYPE_CHECKING:
    from zooaudit.studies.registry import ModelsStudy, Study
    from zooaudit.studies.runner import Result

ALL = "all"


def study(args: argparse.Namespace, out: TextIO) -> int:
    """Try claims of the paper on a zoo, or the twin test on models that somebody else trained."""
    from zooaudit.studies.registry import ON_MODELS, STUDIES

    if not args.names:
        lines = [
            f"{s.name:<14} {s.source:<14} {s.title}{'  (trains models of its own)' if s.builds else ''}"
            for s in STUDIES.values()
        ]
        lines += [
            f"{s.name:<14} {s.source:<14} {s.title}  (on a folder: --models)" for s in ON_MODELS.values()
        ]
        print(json.dumps([*STUDIES, *ON_MODELS]) if args.json else "\n".join(lines), file=out)
        return 0
    require("report", "a study", "matplotlib")
    if ALL in args.names and len(args.names) > 1:
        raise ConfigError(
            "'all' stands for every study of the paper; found beside it:"
            f" {', '.join(n for n in args.names if n != ALL)}"
        )
    if args.names == ["qurd"] and args.data and not args.models:
        return _on_published(args, out)
    if not args.models and (victims := {"dev", "report"} & set(args.settings)):
        raise ConfigError(
            f"--set {victims.pop()} says which victims of --models; without --models expected FIELD=VALUE, to"
            " change the recipe"
        )
    zoo, on_models = named_studies(args)
    return _on_models(on_models, args, out) if on_models else _on_zoo(zoo, args, out)


def named_studies(args: argparse.Namespace) -> "tuple[list[Study], list[ModelsStudy]]":
    """The studies with these names: all on a zoo, or all on a folder of models."""
    from zooaudit.studies.registry import ON_MODELS, STUDIES, ModelsStudy, Study, get_study

    every = ON_MODELS if args.models else STUDIES
    named = list(every.values()) if args.names == [ALL] else [get_study(n) for n in args.names]
    zoo, on_models = (
        [s for s in named if isinstance(s, Study)],
        [s for s in named if isinstance(s, ModelsStudy)],
    )
    if zoo and args.models:
        raise ConfigError(
            f"--models is for {', '.join(ON_MODELS)}; {zoo[0].name} is tried on a zoo: leave --models out"
        )
    if on_models and not args.models:
        or_data = (
            "; or alone on a download of the published models: --data DIR" if on_models[0].downloads else ""
        )
        raise ConfigError(
            f"{on_models[0].name} is tried on models that somebody else trained: say where they are, --models"
            f" DIR{or_data}"
        )
    if on_models and args.data:
        raise ConfigError(f"--models and --data: {on_models[0].name} is tried on one of them; leave one out")
    return zoo, on_models


def _provenance(args: argparse.Namespace) -> dict[str, Any]:
    from zooaudit.reporting.facts import commit, gather_facts

    facts = gather_facts(0, 0, args.command_line)
    return {
        "command": facts.command,
        "commit": commit(),
        "hardware": facts.hardware,
        "versions": facts.versions,
        "date": facts.finished,
    }


def _victims(args: argparse.Namespace) -> str:
    """Which victims of ``--models`` to study: ``--set`` says it, since no recipe is changed there."""
    given = args.settings or ["dev"]
    if len(given) > 1 or given[0] not in ("dev", "report"):
        raise ConfigError(f"--set {' '.join(given)}; with --models expected dev or report: which victims")
    return str(given[0])


def _on_models(chosen: "list[ModelsStudy]", args: argparse.Namespace, out: TextIO) -> int:
    """Studies of the twin test on a folder of models."""
    from zooaudit.studies.collected import read
    from zooaudit.studies.owners import owners
    from zooaudit.studies.runner import run_on_models

    notify, store = notifier(args), open_store(args.store)
    load = imported(args.load) if args.load else None
    if lacking := [s.name for s in chosen if s.loads and load is None]:
        raise ConfigError(
            f"{', '.join(lacking)} asks models about new images: say how they are loaded, --load"
            " package.module:function"
        )
    victims = _victims(args)
    found, left_out = owners(read(Path(args.models)), victims)
    for name, why in left_out.items():
        notify(f"{name} is left out: {why}", "owner_left_out", owner=name, why=why)
    folder = results_folder(args, Path("studies") / victims)
    results: list[Result] = []
    for number, one in enumerate(chosen, 1):
        notify(
            f"study {one.name} ({number} of {len(chosen)}): {one.title}, {len(found)} victims",
            "study",
            name=one.name,
        )
        provenance = _provenance(args) | {"set": victims}
        results.append(
            run_on_models(
                one,
                found,
                left_out,
                store,
                provenance,
                load,
                lambda name: notify(f"  {name}", "owner", name=name),
            )
        )
        results[-1].write(folder)
        if not args.json and args.log == "text":
            _print_study(results[-1], out)
    _print_all(results, {}, folder, args, out)
    notify("", "done", studies=len(results), findings=sum(len(r.findings) for r in results), out=str(folder))
    return 0


def _on_published(args: argparse.Namespace, out: TextIO) -> int:
    """QuRD's protocol on the models that it publishes."""
    from zooaudit.studies.published import run_published
    from zooaudit.studies.registry import ON_MODELS

    if args.settings or args.load:
        raise ConfigError(
            f"{'--set' if args.settings else '--load'} goes with --models; the published models are all read"
            " from --data"
        )
    notify, folder, one = notifier(args), results_folder(args, Path("studies") / "qurd"), ON_MODELS["qurd"]
    notify(f"study {one.name}: {one.title}, on published models", "study", name=one.name)
    result = run_published(
        one,
        Path(args.data),
        open_store(args.store),
        _provenance(args),
        reading_of(args),
        lambda step: notify(f"  {step}", "step", step=step),
    )
    for name, why in result.facts["excluded_models"].items():
        notify(f"  left out: {name}: {why}", "model_left_out", name=name, why=why)
    result.write(folder)
    if not args.json and args.log == "text":
        _print_study(result, out)
    _print_all([result], {}, folder, args, out)
    notify("", "done", studies=1, findings=len(result.findings), out=str(folder))
    return 0


def _on_zoo(chosen: "list[Study]", args: argparse.Namespace, out: TextIO) -> int:
    """Studies of the paper's claims."""
    from zooaudit.studies.runner import run_study

    notify = notifier(args)
    bench = open_bench(args, notify)
    provenance = _provenance(args)
    folder = results_folder(args, Path("studies") / bench.recipe.run_name)
    results: list[Result] = []
    lacking: dict[str, str] = {}
    for number, one in enumerate(chosen, 1):
        notify(
            f"study {one.name} ({number} of {len(chosen)}): {one.title}, {one.source}", "study", name=one.name
        )
        try:
            results.append(run_study(one, bench, provenance))
        except NotEnoughModelsError as error:  # the other studies may have all that they need
            lacking[one.name] = str(error)
            notify(f"study {one.name}: {error}", "study_lacks_models", name=one.name, why=str(error))
            continue
        results[-1].write(folder)
        if not args.json and args.log == "text":
            _print_study(results[-1], out)
    _print_all(results, lacking, folder, args, out)
    if lacking:
        raise NotEnoughModelsError(
            f"{len(lacking)} of {len(chosen)} studies lack models ({', '.join(lacking)}):"
            f" {next(iter(lacking.values()))}"
        )
    held = sum(f.holds == "reproduced" for r in results for f in r.findings)
    notify(
        "",
        "done",
        studies=len(results),
        findings=sum(len(r.findings) for r in results),
        reproduced=held,
        out=str(folder),
    )
    return 0


def _print_all(
    results: "list[Result]", lacking: dict[str, str], folder: Path, args: argparse.Namespace, out: TextIO
) -> None:
    if args.json:
        rows = [{"study": r.study.name, **row} for r in results for row in r.rows]
        print(
            json.dumps({"studies": [dict(r.facts) for r in results], "rows": rows, "lacking": lacking}),
            file=out,
        )
    elif args.log == "text" and results:
        print(f"tables, pictures and findings are in {folder}", file=out)


def _print_study(result: "Result", out: TextIO) -> None:
    for found in result.findings:
        print(
            f"{found.holds:<26} {found.claim}\n{'':<26} paper: {found.paper}; here: {found.ours} ({found.n})",
            file=out,
        )
    cost = (
        f"{result.facts['seconds']:g} s, {result.facts['queries']:,} queries, {result.facts['trained']}"
        " models trained"
    )
    print(
        f"{'':<26} {cost if result.fresh else 'read from the store'}; {result.facts['excluded']} models"
        " excluded",
        file=out,
    )
