"""Options of audit, zoo, uap, report and store, and those that several subcommands share."""

import argparse
from collections.abc import Callable

from zooaudit.cli.arguments.own import add_data, add_recipe, add_victim
from zooaudit.recipes.named import RECIPES


def add_audit(parser: argparse.ArgumentParser) -> None:
    """Options of ``audit``."""
    add = parser.add_argument
    _add_recipe(add)
    add_farm(parser)
    add(
        "--run",
        metavar="NAME",
        help="name of the run (default: the recipe's); the same name and settings again resume or repeat it",
    )
    add("--out", metavar="DIR", help="where the report goes (default: ./reports/RUN)")
    add(
        "--fallback",
        metavar="RECIPE",
        choices=sorted(RECIPES),
        help="recipe to run if the data cannot be had",
    )
    add(
        "--query-log",
        metavar="FILE",
        help=(
            "images that your victim was asked, if you keep them: a folder of image files, Parquet with a"
            " column image, or .npz. Thieves who learnt from its answers are found best by their own"
            " questions"
        ),
    )
    add(
        "--foreign",
        metavar="DIR",
        help=(
            "images of another task, for thieves who asked such images: as --query-log, of any size (default:"
            " textures made from the seed)"
        ),
    )


def add_stage(parser: argparse.ArgumentParser) -> None:
    """Options of ``zoo`` and ``uap``."""
    _add_recipe(parser.add_argument)
    add_farm(parser)
    parser.add_argument("--fallback", help=argparse.SUPPRESS)


def add_report(parser: argparse.ArgumentParser) -> None:
    """Options of ``report``."""
    parser.add_argument("--run", metavar="NAME", required=True, help="the finished run")
    parser.add_argument("--out", metavar="DIR", help="where the report goes (default: ./reports/RUN)")


def add_store(parser: argparse.ArgumentParser) -> None:
    """Options of ``store``."""
    add = parser.add_argument
    add(
        "action",
        choices=("ls", "show", "check", "gc", "copy"),
        help=(
            "ls: kinds, or ids of a KIND; show: one artifact; check: read everything, find damage and content"
            " that nothing names; gc: list which of that content, and which claims of killed jobs, are old"
            " enough to go, and with --delete remove them; copy: copy a run, or everything, into another"
            " store; repeat the command to continue a copy that was cut off"
        ),
    )
    add(
        "kind",
        nargs="?",
        help="model, uap, points, answers, encoder, kit, study, trial, run, report, ...: see ls",
    )
    add("id", nargs="?", help="the artifact's id")
    add(
        "--repair",
        action="store_true",
        help="with check: remove damaged artifacts, so that the next run rebuilds them",
    )
    add("--delete", action="store_true", help="with gc: remove it (without: only list it)")
    add(
        "--grace-hours",
        type=float,
        default=24.0,
        metavar="H",
        help="with gc: keep what is younger (default: %(default)s)",
    )
    add(
        "--to",
        metavar="PLACE",
        help=(
            "with copy: the store to copy into, a folder or s3://bucket/prefix; nothing in it is overwritten"
        ),
    )
    add(
        "--run",
        metavar="NAME",
        help="with copy: only what this finished run used, and its report (default: the whole store)",
    )


def add_farm(parser: argparse.ArgumentParser) -> None:
    """``--farm`` and its options."""
    add = parser.add_argument
    add(
        "--farm",
        choices=("ray", "serial"),
        default="ray",
        help="what trains the zoo (default: %(default)s); the numbers are the same",
    )
    add("--workers", type=int, metavar="N", help="Ray workers (default: one for each core, or GPU share)")
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
        help=(
            "for a victim too large for one device: up to N Ray workers first train each victim together,"
            " each on a share of every batch; gradients are averaged by gloo between CPU threads, or with"
            " --gpus-per-worker by NCCL between whole GPUs; the model is the same but for rounding (default:"
            " 1)"
        ),
    )


def _add_recipe(add: Callable[..., argparse.Action]) -> None:
    add_recipe(add, "fmnist-quick")
    add("--seed", type=int, help="run the recipe with another seed: other splits, other models")
    add_data(add)
    add_victim(add)
