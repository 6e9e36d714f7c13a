"""The command line: one subcommand a stage."""

import argparse
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from textwrap import dedent
from typing import TextIO

from zooaudit import (
    __version__,
    chosen_recipe,
    commands,
    data_commands,
    evidence_commands,
    explain_commands,
    kit_commands,
    own_data,
    own_victim,
    planning,
    recipe_commands,
    score_commands,
    serve_commands,
    store_commands,
    study_commands,
)
from zooaudit.console import Asides, EventLog
from zooaudit.errors import ZooauditError
from zooaudit.events import event_line
from zooaudit.recipes import RECIPES

INTERRUPTED = 130
NO_READER = 141
"""What shells say of a command that writes into a closed pipe."""
Command = Callable[[argparse.Namespace, TextIO], int]

EXIT_CODES = """\
exit codes: 0 done; 2 bad input; 3 the store cannot be used or holds damage; 4 too few models learnt for a verdict;
5 the farm gave up; 6 a pack of evidence was rejected; 7 a suspect behind an API does not answer, or its budget is spent; 130 interrupted.
After 3, 4, 5, 7 and 130 the same command goes on where it stopped.
"""


def main(argv: list[str] | None = None) -> int:
    """Run ``zooaudit`` with arguments; returns the exit code. Errors of ours are one line, with ``--debug`` a traceback."""
    args = make_parser().parse_args(argv)
    args.command_line = sys.argv[1:] if argv is None else argv
    command: Command = args.command
    out = sys.stdout
    aside = Asides(EventLog()) if args.log == "events" else sys.stderr  # Ray prints a worker's death to standard output,
    try:
        with _sigterm_interrupts(), contextlib.redirect_stdout(aside):  # which is for results only
            code = command(args, out)
            out.flush()
            return code
    except BrokenPipeError:  # whoever read the output has seen enough, as head does; Python must not complain of it again at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
        return NO_READER
    except ZooauditError as error:
        if args.debug:
            raise
        return _complain(args, "error", error.exit_code, " ".join(str(error).split()))
    except KeyboardInterrupt:
        return _complain(args, "stopped", INTERRUPTED, "interrupted; finished models are kept, the same command goes on from there")


def _complain(args: argparse.Namespace, event: str, code: int, message: str) -> int:
    line = event_line(event, code=code, message=message) if args.log == "events" else f"zooaudit: {message}"
    print(line, file=sys.stderr, flush=True)
    return code


@contextlib.contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Treat SIGTERM, which ``ray job stop`` and Kubernetes send, as Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def make_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="zooaudit",
        description="Was this suspect model stolen from mine? Audits of model theft by UAP fingerprints.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"zooaudit {__version__}")
    subcommands = parser.add_subparsers(title="subcommands", metavar="COMMAND", required=True)

    add = _adder(subcommands, "audit", commands.audit, "zooaudit audit --recipe fmnist-quick --store ./store")
    _add_recipe(add)
    _add_farm(add)
    add("--run", metavar="NAME", help="name of the run (default: the recipe's); the same name and settings again resume or repeat it")
    add("--out", metavar="DIR", help="where the report goes (default: ./reports/RUN)")
    add("--fallback", metavar="RECIPE", choices=sorted(RECIPES), help="recipe to run if the data is not to be had")
    add(
        "--query-log", metavar="FILE",
        help="images that your victim was asked, if you keep them: a folder of image files, Parquet with a column image, or .npz. Thieves "
        "who learnt from its answers are found best on what they asked",
    )  # fmt: skip
    add(
        "--foreign", metavar="DIR",
        help="images of another task, for thieves who asked with such: as --query-log, of any size (default: textures made from the seed)",
    )  # fmt: skip

    for name, run in (("zoo", commands.zoo), ("uap", commands.uap)):
        add = _adder(subcommands, name, run, f"zooaudit {name} --recipe digits --store ./store --farm serial")
        _add_recipe(add)
        _add_farm(add)
        add("--fallback", help=argparse.SUPPRESS)

    _adder(subcommands, "plan", planning.plan, planning.EXAMPLE)
    planning.add_arguments(subcommands.choices["plan"])

    _adder(subcommands, "recipe", recipe_commands.recipe, recipe_commands.EXAMPLE)
    recipe_commands.add_arguments(subcommands.choices["recipe"])

    add = _adder(subcommands, "kit", kit_commands.kit, kit_commands.EXAMPLE)
    kit_commands.add_arguments(subcommands.choices["kit"])
    _add_farm(add)

    _adder(subcommands, "score", score_commands.score, score_commands.EXAMPLE)
    score_commands.add_arguments(subcommands.choices["score"])

    add = _adder(subcommands, "evidence", evidence_commands.evidence, evidence_commands.EXAMPLE)
    evidence_commands.add_arguments(subcommands.choices["evidence"])
    _add_farm(add)

    _adder(subcommands, "explain", explain_commands.explain, explain_commands.EXAMPLE)
    explain_commands.add_arguments(subcommands.choices["explain"])

    _adder(subcommands, "serve", serve_commands.serve, serve_commands.EXAMPLE)
    serve_commands.add_arguments(subcommands.choices["serve"])

    _adder(subcommands, "key", serve_commands.key, serve_commands.KEY_EXAMPLE)
    serve_commands.add_key_arguments(subcommands.choices["key"])

    add = _adder(subcommands, "report", commands.report, "zooaudit report --store ./store --run fmnist-quick --out ./reports/mine")
    add("--run", metavar="NAME", required=True, help="the finished run")
    add("--out", metavar="DIR", help="where the report goes (default: ./reports/RUN)")

    _adder(subcommands, "data", data_commands.data, data_commands.EXAMPLE)
    data_commands.add_arguments(subcommands.choices["data"])

    _adder(subcommands, "study", study_commands.study, study_commands.EXAMPLE)
    study_commands.add_arguments(subcommands.choices["study"])

    _adder(subcommands, "sweep", study_commands.sweep, study_commands.SWEEP_EXAMPLE)
    study_commands.add_sweep_arguments(subcommands.choices["sweep"])

    _add_store(_adder(subcommands, "store", store_commands.store, "zooaudit store copy --store ./store --to s3://bucket/audits --run mine"))
    _adder(subcommands, "doctor", commands.doctor, "zooaudit doctor")
    return parser


def _adder(
    subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, run: Command, example: str
) -> Callable[..., argparse.Action]:
    """Add a subcommand with the options that all share; returns its ``add_argument``."""
    summary = dedent(run.__doc__ or "").strip()
    parser = subcommands.add_parser(
        name,
        help=summary.rstrip("."),
        description=summary,
        epilog=f"example:\n  {example}\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # --train must not be taken for --train-timeout where there is no --train
    )
    parser.set_defaults(command=run)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output, everything else on standard error")
    parser.add_argument(
        "--log",
        choices=("text", "events"),
        default="text",
        help="text for people, or one line an event with the time and key=value (default: %(default)s)",
    )
    if name not in ("data", "plan", "key", "recipe"):
        parser.add_argument(
            "--store",
            metavar="PLACE",
            default="./store",
            help="where models and results are kept: a folder, or s3://bucket/prefix (default: %(default)s)",
        )
    return parser.add_argument


def _add_recipe(add: Callable[..., argparse.Action]) -> None:
    chosen_recipe.add_arguments(add, "fmnist-quick")
    add("--seed", type=int, help="run the recipe with another seed: other splits, other models")
    own_data.add_arguments(add)
    own_victim.add_arguments(add)


def _add_store(add: Callable[..., argparse.Action]) -> None:
    add(
        "action",
        choices=("ls", "show", "check", "gc", "copy"),
        help="ls: kinds, or ids of a KIND; show: one artifact; check: read everything, find damage and content that nothing names; "
        "gc: say what of the latter, and of killed jobs' claims, is old enough to go, and with --delete remove it; "
        "copy: a run, or everything, into another store; "
        "the same command again goes on with a copy that was cut off",
    )
    add("kind", nargs="?", help="model, uap, points, answers, encoder, kit, study, trial, run, report, ...: see ls")
    add("id", nargs="?", help="the artifact's id")
    add("--repair", action="store_true", help="with check: remove damaged artifacts, so that the next run rebuilds them")
    add("--delete", action="store_true", help="with gc: remove it (without: only say so)")
    add("--grace-hours", type=float, default=24.0, metavar="H", help="with gc: spare what is younger (default: %(default)s)")
    add("--to", metavar="PLACE", help="with copy: the store to copy into, a folder or s3://bucket/prefix; nothing in it is overwritten")
    add("--run", metavar="NAME", help="with copy: only what this finished run used, and its report (default: the whole store)")


def _add_farm(add: Callable[..., argparse.Action]) -> None:
    add("--farm", choices=("ray", "serial"), default="ray", help="who trains the zoo (default: %(default)s); the numbers are the same")
    add("--workers", type=int, metavar="N", help="Ray workers (default: one a core, or one a GPU share)")
    add(
        "--gpus-per-worker",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="GPU share of a worker, 0.25 packs four models on a GPU (default: 0)",
    )
    add(
        "--victim-workers",
        type=int,
        default=1,
        metavar="N",
        help="for a victim too large to train on one device in time: before all else, up to N Ray workers train each victim together, "
        "a share of every batch each; gradients are averaged by gloo between CPU threads, or with --gpus-per-worker by NCCL between "
        "whole GPUs; the same model but for rounding (default: 1)",
    )


if __name__ == "__main__":
    sys.exit(main())
