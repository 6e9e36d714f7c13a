"""``--recipe`` and what changes it, from the command line."""

import argparse
from collections.abc import Callable
from dataclasses import replace

from zooaudit.config import Recipe
from zooaudit.errors import ConfigError
from zooaudit.recipe_files.read import recipe_of
from zooaudit.recipes import RECIPES

SETTING = (
    'change one field of the recipe, for example zoo.suspects_per_cell=5, zoo.epochs.A=6 or \'zoo.architectures=["B", "C"]\'; the value '
    "as in TOML, words without quotes; repeatable. 'zooaudit recipe show NAME' lists the fields"
)


def add_arguments(add: Callable[..., argparse.Action], default: str, what: str = "") -> None:
    """``--recipe`` and ``--set``."""
    add(
        "--recipe",
        default=default,
        metavar="NAME|FILE",
        help=f"{what}one of {', '.join(sorted(RECIPES))}, or a TOML file of your own: see docs/recipes.md (default: %(default)s)",
    )
    add("--set", action="append", default=[], metavar="FIELD=VALUE", dest="settings", help=SETTING)


def chosen_recipe(args: argparse.Namespace) -> Recipe:
    """The recipe that ``--recipe`` names, changed as ``--set``, ``--twins`` and ``--seed`` say.

    Raises:
        ConfigError: see :func:`~zooaudit.recipe_files.read.recipe_of`; or an option says what a setting says too.
    """
    recipe = recipe_of(args.recipe, args.settings)
    for option, field in (("seed", "seed"), ("twins", "zoo.twins")):
        if getattr(args, option, None) is not None and any(s.partition("=")[0].strip() == field for s in args.settings):
            raise ConfigError(f"--{option} and --set {field}=... are both given; expected one of them")
    if getattr(args, "seed", None) is not None:
        recipe = replace(recipe, seed=args.seed)
    return with_twins(recipe, args)


def with_twins(recipe: Recipe, args: argparse.Namespace) -> Recipe:
    """The recipe with as many twins as ``--twins`` says, if it does."""
    count = getattr(args, "twins", None)
    return recipe if count is None else replace(recipe, zoo=replace(recipe.zoo, twins=count))
