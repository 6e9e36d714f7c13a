"""The subcommands of an audit: read arguments, call the pipeline, print. No logic of their own."""

import argparse
import contextlib
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TextIO

from zooaudit.auditing import pipeline, results
from zooaudit.auditing.context import Context
from zooaudit.auditing.twin_questions import Sources
from zooaudit.cli import doctor as doctors
from zooaudit.cli.audit_text import print_audit
from zooaudit.cli.chosen_recipe import chosen_recipe, with_twins
from zooaudit.cli.own_data import data_of, reading_of
from zooaudit.cli.own_start import with_checkpoints
from zooaudit.cli.own_victim import own_victim
from zooaudit.cli.terminal import EventLog, Notifier, Terminal, TimedFarm
from zooaudit.compute import pick_device
from zooaudit.config import Recipe
from zooaudit.data.images import Dataset
from zooaudit.data.resolve import DatasetUnavailableError, resolve
from zooaudit.data.unlabelled import read_foreign, read_log
from zooaudit.errors import ConfigError
from zooaudit.extras import install, needs
from zooaudit.recipes.named import get_recipe
from zooaudit.storage.opening import existing_store, open_store
from zooaudit.storage.runs import begin_run, check_report_folder, load_report, save_report
from zooaudit.telemetry.memory import MemoryMeter
from zooaudit.training.farm import Farm, SerialFarm
from zooaudit.zoo.spec import Role


def audit(args: argparse.Namespace, out: TextIO) -> int:
    """Audit a victim from end to end and write the report."""
    from zooaudit.reporting.facts import gather_facts
    from zooaudit.reporting.report import write_report
    from zooaudit.reporting.summary import summarise

    notify, started, begun = notifier(args), args.started, time.perf_counter()
    with MemoryMeter() as meter, _report_folder(args) as parent:
        name = args.run or chosen_recipe(args).run_name
        artifacts = open_store(args.store)
        check_report_folder(_folder(args, parent, name), name, artifacts.url)
        recipe, dataset = recipe_and_data(args, notify)
        data_s = time.perf_counter() - begun
        farm = TimedFarm(chosen_farm(args))
        own = own_victim(args, dataset, notify)
        name = args.run or recipe.run_name  # it may have fallen back to another recipe
        folder = _folder(args, parent, name)
        check_report_folder(folder, name, artifacts.url)
        sources = _sources(args, dataset)
        # First: a refused run must not take the name, so that the next try can have it.
        context = Context(recipe, dataset, artifacts, farm, notify.watch, own, sources)
        pipeline.check_before_training(context)
        run = begin_run(
            artifacts,
            name,
            recipe,
            dataset.digest,
            own.id if own else None,
            own.training if own else None,
            sources.digests,
        )
        _notify_start(run, context, notify)
        done = pipeline.run_audit(context, notify.step)
        _notify_report(run, notify)
        total_s = time.perf_counter() - started
        phases = {"start of Python": begun - started, "data": data_s, **farm.phases}
        phases["UAP, answers, encoder, verdicts"] = total_s - sum(phases.values())
        measured = gather_facts(round(total_s, 1), meter.peak_bytes, args.command_line)
        facts = replace(measured, phases={k: round(v, 1) for k, v in phases.items()}, store=artifacts.url)
        check_report_folder(folder, run, artifacts.url)  # another job may have written it meanwhile
        page = write_report(done, run, facts, folder)
        save_report(artifacts, run, folder)
    facts = replace(facts, seconds=round(time.perf_counter() - started, 1), peak_rss_bytes=meter.peak_bytes)
    summary = summarise(done, run, facts, str(page))
    _notify_audit(done, summary, facts.phases, artifacts.url, notify)
    if args.log == "text" or args.json:
        print_audit(done, page, summary, args.json, out)
    return 0


def _sources(args: argparse.Namespace, dataset: Dataset) -> Sources:
    """Images in addition to the data: of another task, and those that the victim was asked."""
    reading, notify = reading_of(args), notifier(args)
    foreign = read_foreign(Path(args.foreign), dataset.image_shape, reading, notify) if args.foreign else None
    return Sources(
        foreign,
        read_log(Path(args.query_log), dataset.image_shape, reading, notify) if args.query_log else None,
    )


def notifier(args: argparse.Namespace) -> Notifier:
    """How this command reports its progress."""
    return EventLog() if args.log == "events" else Terminal()


@contextlib.contextmanager
def _report_folder(args: argparse.Namespace) -> Iterator[Path]:
    """The folder for a run's report if --out does not name one: ./reports, or for a job a temporary
    folder."""
    if args.log == "text" or args.out:
        yield Path("reports")
        return
    with tempfile.TemporaryDirectory(prefix="zooaudit-report-") as folder:
        yield Path(folder)


def _folder(args: argparse.Namespace, parent: Path, run: str) -> Path:
    return Path(args.out) if args.out else parent / run


def zoo(args: argparse.Namespace, out: TextIO) -> int:
    """Build the zoo only."""
    notify = notifier(args)
    recipe, dataset = recipe_and_data(args, notify)
    artifacts = open_store(args.store)
    notify("", "started", recipe=recipe.name, store=artifacts.url, seed=recipe.seed, data=dataset.name)
    built = pipeline.build_zoo(
        Context(
            recipe, dataset, artifacts, chosen_farm(args), notify.watch, own_victim(args, dataset, notify)
        )
    )
    _notify_failed(built, notify)
    notify(
        "",
        "done",
        trained=built.trained,
        models=len(built.records),
        failed=len(built.failed),
        store=artifacts.url,
    )
    rows = [{"model": i} | r.to_json() for i, r in built.records.items()]
    if args.json:
        print(json.dumps({"trained": built.trained, "models": rows}), file=out)
        return 0
    if args.log == "events":
        return 0
    for row in rows:
        recovery = f"  recovery {row['recovery_rate']:.3f}" if row["recovery_rate"] is not None else ""
        print(
            f"{row['model']:<48} {row['status']:<7} accuracy {row['accuracy']:.3f}{recovery} "
            f" {row['seconds']:6.1f} s  {row['reason']}",
            file=out,
        )
    return 0


def uap(args: argparse.Namespace, out: TextIO) -> int:
    """Train or load the victim and craft its UAP."""
    notify = notifier(args)
    recipe, dataset = recipe_and_data(args, notify)
    made = pipeline.victims_uap(
        Context(
            recipe,
            dataset,
            open_store(args.store),
            chosen_farm(args),
            notify.watch,
            own_victim(args, dataset, notify),
        )
    )
    facts = {k: v for k, v in vars(made).items() if k != "v"}
    print(json.dumps(facts) if args.json else "\n".join(f"{k:<14} {v}" for k, v in facts.items()), file=out)
    return 0


def report(args: argparse.Namespace, out: TextIO) -> int:
    """Copy a finished run's report out of the store."""
    folder = Path(args.out) if args.out else Path("reports") / args.run
    print(load_report(existing_store(args.store), args.run, folder), file=out)
    return 0


def doctor(args: argparse.Namespace, out: TextIO) -> int:
    """Say what this machine can do and what is missing."""
    findings = doctors.examine(args.store)
    if args.json:
        print(json.dumps([asdict(f) for f in findings]), file=out)
    else:
        for f in findings:
            print(
                f"{'MISSING' if f.remedy else 'ok':<8} {f.what:<20} {f.found}"
                + (f"\n         -> {f.remedy}" if f.remedy else ""),
                file=out,
            )
    return 2 if any(f.remedy for f in findings) else 0


def recipe_and_data(args: argparse.Namespace, notify: Notifier) -> tuple[Recipe, Dataset]:
    recipe = chosen_recipe(args)
    if args.fallback and args.settings:
        raise ConfigError(
            "--set changes --recipe, but with --fallback another may be run; expected one of --set and"
            " --fallback"
        )
    try:
        dataset = data_of(args, recipe.dataset, notify).to(pick_device())
    except DatasetUnavailableError as error:
        if not args.fallback:
            raise
        notify(f"data: {error}\ndata: falling back to recipe {args.fallback}")
        recipe = with_twins(get_recipe(args.fallback), args)
        dataset = resolve(recipe.dataset, say=notify).to(pick_device())
    return with_checkpoints(recipe, args, dataset, notify), dataset


def chosen_farm(args: argparse.Namespace) -> Farm:
    if args.farm == "serial":
        if args.victim_workers > 1:
            raise ConfigError(
                f"--victim-workers {args.victim_workers} needs --farm ray: the serial farm is one process"
            )
        return SerialFarm()
    with needs("ray", "--farm ray", instead=", or use --farm serial"):
        from zooaudit.training.ray_farm import RayFarm

    return RayFarm(args.workers, args.gpus_per_worker, args.victim_workers)


def _notify_start(run: str, context: Context, notify: Notifier) -> None:
    recipe, store = context.recipe.name, context.artifacts.url
    notify(
        f"run {run}: recipe {recipe}, store {store}",
        "started",
        run=run,
        recipe=recipe,
        store=store,
        seed=context.recipe.seed,
        data=context.dataset.name,
    )


def _notify_report(run: str, notify: Notifier) -> None:
    from zooaudit.reporting.canvas import can_draw

    without = f"report: without figures; {install('report')} and run this again"
    notify("report: drawing" if can_draw() else without, "report", run=run)


def _notify_failed(built: results.Zoo, notify: Notifier) -> None:
    for spec in built.failed:
        notify("", "model_failed", model=spec.id, reason=built.records[spec.id].reason)


def _notify_audit(
    done: results.Audit, summary: dict[str, Any], phases: Mapping[str, float], store: str, notify: Notifier
) -> None:
    """The last events of an audit: what failed, each phase, how many suspects were called stolen, and where
    the report is."""
    _notify_failed(done.zoo, notify)
    for name, seconds in phases.items():
        notify("", "phase", name=name, seconds=seconds)
    scored = [s.spec.role for s in done.suspects]
    roles = (Role.PIRACY, Role.HOMOLOGOUS, Role.LOOK_ALIKE)
    accused = {f"{r}_called_piracy".replace("-", "_"): f"{done.accused(r)}/{scored.count(r)}" for r in roles}
    accused |= {f"{r}_called_stolen".replace("-", "_"): "{}/{}".format(*done.called_stolen(r)) for r in roles}
    fetch = f"zooaudit report --store {store} --run {summary['run']}"
    notify(
        "",
        "done",
        run=summary["run"],
        **accused,
        **summary["models"],
        seconds=summary["seconds"],
        kit=done.kit_id,
        report=fetch,
    )
