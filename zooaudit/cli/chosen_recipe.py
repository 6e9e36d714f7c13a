"""``--recipe`` and the options that change it, from the command line."""

import argparse
from dataclasses import replace

from zooaudit.config import Recipe
from zooaudit.errors import ConfigError
from zooaudit.recipes.read import recipe_of


def chosen_recipe(args: argparse.Namespace) -> Recipe:
    """The recipe that ``--recipe`` names, changed as ``--set``, ``--twins`` and ``--seed`` say.

    Raises:
        ConfigError: see :func:`~zooaudit.recipes.read.recipe_of`; or an option and a setting change the same
            field.
    """
    recipe = recipe_of(args.recipe, args.settings)
    for option, field in (("seed", "seed"), ("twins", "zoo.twins")):
        if getattr(args, option, None) is not None and any(
            s.partition("=")[0].strip() == field for s in args.settings
        ):
            raise ConfigError(f"--{option} and --set {field}=... are both given; expected one of them")
    if getattr(args, "seed", None) is not None:
        recipe = replace(recipe, seed=args.seed)
    return with_twins(recipe, args)


def with_twins(recipe: Recipe, args: argparse.Namespace) -> Recipe:
    """The recipe with the number of twins in ``--twins``, if that is given."""
    count = getattr(args, "twins", None)
    return recipe if count is None else replace(recipe, zoo=replace(recipe.zoo, twins=count))
