"""The user's own data, from the command line: where it is, and how to read what its files leave open."""

import argparse
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from zooaudit.cli.arguments.own import add_data
from zooaudit.data.images import Dataset
from zooaudit.data.reading import Reading, parse_colour, parse_sizing
from zooaudit.data.resolve import resolve
from zooaudit.extras import needs

Say = Callable[[str], None]


def reading_of(args: argparse.Namespace) -> Reading:
    """How images are read, by the options.

    Raises:
        ConfigError: the options contradict each other, or are out of range.
    """
    return Reading(
        sizing=parse_sizing(args.size, args.fit, args.shorter_side, args.filter, not args.no_antialias),
        background=parse_colour(args.background) if args.background else None,
        colour=args.colour,
        value_range=(args.value_range[0], args.value_range[1]) if args.value_range else None,
        layout=args.array_layout,
        ignore_exif=args.ignore_exif,
        classes=args.classes,
        kind=args.data_kind,
        train_split=args.train_split,
        test_split=args.test_split,
        image_column=args.image_column,
        label_column=args.label_column,
        outside=args.allow_outside,
    )


def options_of(
    args: argparse.Namespace, *adders: Callable[[Callable[..., argparse.Action]], None]
) -> list[str]:
    """The options that say how data is read, and those of ``adders``, in a form that can be passed on a
    command line again."""
    parser = argparse.ArgumentParser()
    for add_to in (*adders, add_data):
        add_to(parser.add_argument)
    given = []
    for action in parser._actions:
        value = getattr(args, action.dest, action.default)
        if action.dest == "help" or value == action.default:
            continue
        words = [] if value is True else map(str, value) if isinstance(value, list) else [str(value)]
        given.append(shlex.join([action.option_strings[0], *words]))
    return given


def name_of(place: str) -> str:
    """A name for data, after the place where it is."""
    return place.rstrip("/").rpartition("/")[2] if place.startswith("s3://") else Path(place).resolve().name


def data_of(args: argparse.Namespace, name: str, say: Say) -> Dataset:
    """The data that ``--data`` names, or else the known data set ``name``.

    Raises:
        DataError, ConfigError, StoreError: the data cannot be read.
    """
    reading = reading_of(args)
    if not args.data or not args.data.startswith("s3://"):
        return resolve(name, Path(args.data) if args.data else None, say=say, reading=reading)
    with needs("s3", args.data):
        from zooaudit.storage.fetched import fetched
    return replace(resolve(name, fetched(args.data, say), say=say, reading=reading), source=args.data)
