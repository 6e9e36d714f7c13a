"""Options of the subcommands that look before anything is trained, and of studies."""

import argparse

from zooaudit.cli.arguments.own import DATA, SETTING, add_data, add_model, add_recipe, add_start, add_training

PLAN = "zooaudit plan --recipe fmnist-paper --models 1000 --cpus 64"
RECIPE_COMMAND = r"""zooaudit recipe show fmnist-quick > mine.toml
  zooaudit recipe check mine.toml --data ./my-images
  zooaudit recipe new --data ./my-images --victim mine.safetensors --factory nets:make \
    --train training:train --out mine.toml"""
LOOK = "zooaudit data --data ./mine --size 64 --out ./look"
STUDY = "zooaudit study similarity top-k --recipe fmnist-paper --store ./store --build"
SWEEP = "zooaudit sweep points=10,30,50,70,100 top_k=0,1,3,all --recipe fmnist-paper --store ./store"
SIZES = (200, 1_000, 10_000)
DEFAULT = "fashion-mnist"
ACTIONS = ("list", "show", "check", "new")


def add_plan(parser: argparse.ArgumentParser) -> None:
    """The options of ``zooaudit plan``."""
    add = parser.add_argument
    add_recipe(add, "fmnist-quick")
    add(
        "--models",
        type=int,
        metavar="N",
        help="scale the recipe to about N models, with more suspects and look-alikes",
    )
    add_data(add, f"{DATA}; the plan follows its size and image shape")
    add("--twins", type=int, metavar="N", help="how many twins the victim has (default: the recipe's, 19)")
    add(
        "--own-victim",
        action="store_true",
        help=(
            "for a victim of your own, which is not trained; its twins are trained by --train or"
            " --train-command of 'zooaudit audit'"
        ),
    )
    add(
        "--twin-seconds",
        type=float,
        metavar="S",
        help="with --own-victim: seconds for your procedure to train one twin on one of the devices",
    )
    add(
        "--factory",
        metavar="MODULE:NAME",
        help="with --own-victim: the callable that builds its module, to know its size",
    )
    add_start(add)
    devices = parser.add_mutually_exclusive_group()
    devices.add_argument(
        "--cpus", type=int, metavar="N", help="CPU cores that train, one model on each (default: 1)"
    )
    devices.add_argument("--gpus", type=int, metavar="N", help="GPUs that train; needs --gpu-speedup")
    add(
        "--gpu-speedup",
        type=float,
        metavar="F",
        help="how many CPU cores one GPU replaces; we have not measured this, so there is no default",
    )
    add(
        "--sizing",
        action="store_true",
        help=f"print a Markdown table for {SIZES[0]}, {SIZES[1]:,} and {SIZES[2]:,} models instead",
    )


def add_recipe_command(parser: argparse.ArgumentParser) -> None:
    """The options of ``zooaudit recipe``."""
    add = parser.add_argument
    add(
        "action",
        choices=ACTIONS,
        help=(
            "list: the recipes that come with zooaudit; show: one of them, or a file, as a complete TOML file"
            " that explains each field; check: read a file (inherit and all), list what it changes, what it"
            " would train and how long that takes; new: look at your data and victim, and make a recipe that"
            " fits them"
        ),
    )
    add("name", nargs="?", metavar="NAME|FILE", help="show, check: a recipe's name, or a TOML file")
    add("--toml", action="store_true", help="show: as TOML, which is the default; --json for JSON")
    add(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        dest="settings",
        help=f"show, check: {SETTING}",
    )
    add_data(add, "check, new: " + DATA.replace(" instead of the recipe's", ""))
    add(
        "--dataset",
        metavar="NAME",
        help="new: the name for the data (default: the folder's name), or without --data a known data set",
    )
    add_model(add)
    add_training(add, twins=False)
    add_start(add)
    add(
        "--try",
        action="store_true",
        dest="trial",
        help="new: train one twin, to measure its time and accuracy",
    )
    add("--out", metavar="FILE", help="new: the TOML file to write (default: standard output)")
    add(
        "--cpus",
        type=int,
        metavar="N",
        help="check, new: CPU cores that train, for the time estimate (default: 1)",
    )
    parser.set_defaults(twins=None)


def add_look(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--dataset",
        metavar="NAME",
        help=(
            f"{DEFAULT}, digits, ..., or any name for your own --data (default: {DEFAULT}, or the name of"
            " --data)"
        ),
    )
    add_data(add, DATA.replace(" instead of the recipe's", "").partition("; 'zooaudit data")[0])
    add(
        "--out",
        metavar="DIR",
        help="write examples.png there: the first images of each class, as they were read",
    )


def add_study(parser: argparse.ArgumentParser) -> None:
    """Options of ``study``."""
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="studies to run, or 'all' of the paper; without a name, list them",
    )
    _add_zoo(parser)
    add = parser.add_argument
    add(
        "--out",
        metavar="DIR",
        help="where tables, pictures and findings go (default: ./studies/RECIPE, or ./studies/SET)",
    )
    add(
        "--models",
        metavar="DIR",
        help=(
            "validity, power, disguises, baselines, qurd: models that somebody else trained, and their"
            " answers; --set dev (the default) or --set report chooses the victims"
        ),
    )
    add(
        "--load",
        metavar="MODULE:FUNCTION",
        help=(
            "disguises, baselines, qurd: function(folder, id) that returns a model of --models as a torch"
            " module"
        ),
    )


def add_sweep(parser: argparse.ArgumentParser) -> None:
    """Options of ``sweep``."""
    add = parser.add_argument
    add(
        "space",
        nargs="*",
        metavar="AXIS=V,V",
        help="what to vary, or a preset; without any, list axes and presets",
    )
    _add_zoo(parser)
    add(
        "--metric",
        default="auc",
        help="the measure of each trial; without a space, list them (default: %(default)s)",
    )
    add("--at-once", type=int, metavar="N", help="trials at a time (default: one for each core)")
    add("--out", metavar="DIR", help="where table and picture go (default: ./sweeps/RECIPE)")


def _add_zoo(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add_recipe(add, "fmnist-paper", "whose zoo: ")
    add("--seed", type=int, help="run the recipe with another seed")
    add_data(add)
    add(
        "--build",
        action="store_true",
        help="train the models that the store lacks; without it, say which are missing",
    )
    add(
        "--farm",
        choices=("ray", "serial"),
        default="ray",
        help="with --build: what trains (default: %(default)s)",
    )
    add("--workers", type=int, metavar="N", help="with --build: Ray workers (default: one for each core)")
    add(
        "--gpus-per-worker",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="with --build: GPU share of a worker (default: 0)",
    )
    parser.set_defaults(fallback=None, victim_workers=1)
