"""``zooaudit sweep``: one zoo fingerprinted in many ways."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from zooaudit.cli.audit import notifier
from zooaudit.cli.bench import open_bench, results_folder
from zooaudit.cli.terminal import Notifier, ProgressBar
from zooaudit.config import digest_of
from zooaudit.errors import ConfigError, NotEnoughModelsError
from zooaudit.extras import needs, require
from zooaudit.storage.encoding import table_to_bytes

if TYPE_CHECKING:
    from zooaudit.studies.bench import Bench
    from zooaudit.sweep.result import Row
    from zooaudit.sweep.space import Space
    from zooaudit.sweep.tuner import Swept


def sweep(args: argparse.Namespace, out: TextIO) -> int:
    """Fingerprint one zoo in many ways, in parallel on Ray Tune; ends in one table and one picture."""
    from zooaudit.sweep.evaluate import METRICS
    from zooaudit.sweep.result import best
    from zooaudit.sweep.space import parse_space

    if not args.space:
        _print_spaces(args.json, out)
        return 0
    require("report", "a sweep", "matplotlib")
    space = parse_space(args.space)
    if args.metric not in METRICS:
        raise ConfigError(f"--metric {args.metric!r}; expected one of {', '.join(METRICS)}")
    notify = notifier(args)
    bench = open_bench(args, notify)
    folder = results_folder(args, Path("sweeps") / bench.recipe.run_name)
    swept = _swept(space, bench, args, notify)
    rows, files = swept.rows, _save(swept.rows, space, args.metric, folder)
    top = best(rows, args.metric)
    refused = [r for r in rows if r.error]
    data = {
        "trials": len(rows),
        "ran": swept.ran,
        "refused": len(refused),
        "queries": bench.queries,
        "trained": bench.trained,
        "metric": args.metric,
    }
    if args.json:
        listed = [{"trial": r.trial, "metrics": dict(r.metrics), "error": r.error} for r in rows]
        print(json.dumps(data | {"best": top and top.trial, "rows": listed, "out": str(folder)}), file=out)
    elif args.log == "text":
        _print_sweep(rows, top, data, files, out)
    for row in refused:
        notify(
            f"refused: {row.trial}: {row.error}", "trial_refused", trial=json.dumps(row.trial), why=row.error
        )
    if len(refused) == len(rows):
        raise NotEnoughModelsError(f"none of {len(rows)} trials gave a result; the first: {rows[0].error}")
    notify("", "done", **data, best=json.dumps(top.trial) if top else None, out=str(folder))
    return 0


def _print_spaces(as_json: bool, out: TextIO) -> None:
    """List what can be varied and measured."""
    from zooaudit.sweep.evaluate import METRICS
    from zooaudit.sweep.space import AXES, PRESETS

    if as_json:
        print(json.dumps({"axes": list(AXES), "presets": PRESETS, "metrics": METRICS}), file=out)
        return
    for name, axis in AXES.items():
        print(f"{name:<14} {axis.expected}{'  (needs models of its own)' if axis.models else ''}", file=out)
    for name, words in PRESETS.items():
        print(f"{name:<14} = {' '.join(words)}", file=out)
    print(f"metrics: {', '.join(METRICS)}", file=out)


def _save(rows: "list[Row]", space: "Space", metric: str, folder: Path) -> Path:
    """Write table and picture; returns their path without its ending."""
    from zooaudit.sweep.result import picture, table

    folder.mkdir(parents=True, exist_ok=True)
    # One name for each grid, even over the same axes.
    name = f"{'-'.join(space.axes)}-{digest_of(dict(space.axes))[:6]}"
    (folder / f"{name}.parquet").write_bytes(table_to_bytes(table(rows)))
    (folder / f"{name}.svg").write_bytes(picture(rows, metric))
    return folder / name


def _swept(space: "Space", bench: "Bench", args: argparse.Namespace, notify: Notifier) -> "Swept":
    from zooaudit.sweep.field import line_up

    with needs("ray", "a sweep"):
        from zooaudit.sweep.tuner import Done, run_trials

    bar = ProgressBar(line=lambda d: f"sweep {d.done}/{d.total} trials")

    def watch(done: Done) -> None:
        if args.log == "events":
            notify("", "trials", done=done.done, total=done.total)
        else:
            bar(done)

    return run_trials(list(space.trials()), line_up(space, bench), watch, args.at_once)


def _print_sweep(
    rows: "list[Row]", top: "Row | None", data: dict[str, Any], files: Path, out: TextIO
) -> None:
    metric = data["metric"]
    names = list(rows[0].trial)
    print("  ".join(f"{n:>14}" for n in (*names, metric)), file=out)
    for row in rows:
        value = row.metrics.get(metric)
        shown = "-" if value is None else f"{value:.3f}"
        print("  ".join(f"{v!s:>14}" for v in (*row.trial.values(), shown)), file=out)
    print(
        f"{data['ran']} trials run, {data['queries']:,} queries, {data['trained']} models trained; "
        f"table and picture: {files}.parquet, .svg",
        file=out,
    )
    if top is not None:
        print(
            f"highest {metric}: {top.trial}; chosen on this zoo, so report it on another (--seed)", file=out
        )
