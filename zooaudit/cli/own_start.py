"""Public checkpoints, from the command line: the one that the user's victim was fine-tuned from, and those
that nets of the zoo begin with."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace

from zooaudit.config import Recipe, Start
from zooaudit.data.images import Dataset
from zooaudit.errors import ConfigError, ModelError
from zooaudit.suspects.load import BY_CONTRACT
from zooaudit.suspects.named_nets import is_named
from zooaudit.zoo.start import checkpoint_of, start_of


def with_checkpoints(
    recipe: Recipe, args: argparse.Namespace, dataset: Dataset, notify: Callable[[str], object]
) -> Recipe:
    """The recipe with the public checkpoints that ``--start`` and ``--checkpoint`` name, if they name any.

    Raises:
        ConfigError: the recipe does not have the net, or see :func:`with_start`.
        ModelError: see :func:`~zooaudit.zoo.start.start_of`.
    """
    recipe = with_start(recipe, args, dataset.image_shape, dataset.num_classes, notify)
    named = getattr(args, "checkpoint", None)
    return (
        replace(recipe, zoo=replace(recipe.zoo, checkpoints=checkpoints_of(named, dataset)))
        if named
        else recipe
    )


def checkpoints_of(named: Sequence[str], dataset: Dataset) -> tuple[Start, ...]:
    """What ``--checkpoint`` names."""
    return tuple(checkpoint_of(one, dataset.image_shape, dataset.num_classes) for one in named)


def with_start(
    recipe: Recipe,
    args: argparse.Namespace,
    image_shape: tuple[int, int, int],
    num_classes: int,
    notify: Callable[[str], object] = lambda _: None,
) -> Recipe:
    """The recipe with the public checkpoint that ``--start`` or the recipe names, if any, after trying it.

    Args:
        notify: called with how the checkpoint's module is asked.

    Raises:
        ConfigError: the recipe names another checkpoint than ``--start``, or the checkpoint now has other
            weights than the recipe says.
        ModelError: see :func:`tried_start`.
    """
    factory, stated = getattr(args, "start", None), recipe.zoo.start
    if factory is None and stated is None:
        return recipe
    if factory is not None and stated is not None and factory != stated.factory:
        raise ConfigError(
            f"--start is {factory}, but the recipe's zoo.start.factory is {stated.factory}; expected one of"
            " them"
        )
    found = tried_start(factory or (stated.factory if stated else ""), image_shape, num_classes)
    if stated is not None and found != stated:
        raise ConfigError(
            f"start {found.factory} gives other weights ({found.weights[:12]}...) than the recipe says"
            f" (zoo.start.weights {stated.weights[:12]}...): its references would begin with another"
            " checkpoint; expected the same checkpoint, or a recipe with --set"
            f" zoo.start.weights={found.weights}"
        )
    notify(f"start {found.factory}: {_asked(found.factory, image_shape)}")
    return replace(recipe, zoo=replace(recipe.zoo, start=found))


def tried_start(factory: str, image_shape: tuple[int, int, int], num_classes: int) -> Start:
    """The start that ``--start`` names. Errors say how it is asked, since ``--contract`` does not apply to
    it.

    Raises:
        ModelError: see :func:`~zooaudit.zoo.start.start_of`.
    """
    try:
        return start_of(factory, image_shape, num_classes)
    except ModelError as error:
        raise ModelError(
            f"{str(error).removesuffix(f'; {BY_CONTRACT}')}; {_asked(factory, image_shape)}"
        ) from error


def _asked(factory: str, image_shape: tuple[int, int, int]) -> str:
    """How a start is asked, whatever the victim's contract is."""
    size = " x ".join(map(str, image_shape))
    text = (
        f"a start is given images of {size} in [0, 1]; --contract applies to the victim and its twins, not to"
        " it"
    )
    if is_named(factory):
        return f"{text}: a library's net is normalised as its publisher did"
    return (
        f"{text}: the module that --start builds must resize, scale, normalise and order channels and classes"
        " by itself"
    )
