"""The user's own data, from the command line: where it is, and what its files do not say by themselves."""

import argparse
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from zooaudit.data.images import Dataset
from zooaudit.data.reading import COLOURS, FILTERS, FITS, KINDS, LAYOUTS, Reading, parse_colour, parse_sizing
from zooaudit.data.resolve import resolve
from zooaudit.storage.fetched import fetched

Say = Callable[[str], None]
HELP = (
    "your own data instead of the recipe's: a folder with train and test as class folders, Parquet, .npz, WebDataset, CSV of paths, ..., a "
    ".zip of one, a Keras .npz, or s3://bucket/prefix; 'zooaudit data --data PLACE' shows what is read of it, docs/data.md what can be"
)


def add_arguments(add: Callable[..., argparse.Action], about: str = HELP) -> None:
    """``--data`` and what goes with it.

    Args:
        about: help of ``--data``.
    """
    add("--data", metavar="PLACE", help=about)
    add("--classes", default="", metavar="FILE", help="with --data: names and order of the classes, one a line, a JSON list or a mapping "
        "(class_indices, id2label); or 'natural', 2 before 10 (default: alphabetical order, as torchvision)")  # fmt: skip
    add("--size", metavar="HxW", help="with --data: bring all images to this size, 224 or 224x192 (default: they must have one)")
    add("--fit", choices=FITS, default="crop", help="with --size: scale the shorter side and cut out the middle, as torchvision does, or "
        "squash (default: %(default)s)")  # fmt: skip
    add(
        "--shorter-side",
        type=int,
        metavar="N",
        help="with --fit crop: scale the shorter side to this before the cut, 256 for 224",
    )
    add("--filter", choices=FILTERS, default="bilinear", help="with --size (default: %(default)s)")
    add("--no-antialias", action="store_true", help="with --size: as torchvision on tensors without antialias, and OpenCV")
    add("--background", metavar="COLOUR", help="with --data: what transparent pixels are put on: white, black, #ff8800 (default: refused)")
    add("--colour", choices=COLOURS, default="auto", help="with --data: make all images grey, or coloured (default: coloured if one is)")
    add("--value-range", nargs=2, type=float, metavar=("BLACK", "WHITE"), help="with --data: the numbers of black and white in arrays and "
        "images of more than 8 bits, where their type does not say: 0 1, 0 255, -1 1, 0 4095")  # fmt: skip
    add("--array-layout", choices=LAYOUTS, default="", help="with --data: which axis of arrays the channels are, where both could be")
    add(
        "--ignore-exif",
        action="store_true",
        help="with --data: leave photographs as the file has them, as torchvision's ImageFolder",
    )
    add("--data-kind", choices=KINDS, default="", help="with --data: which to read where a folder holds a split in several forms")
    for part in ("train", "test"):
        add(f"--{part}-split", default="", metavar="NAME", help=f"with --data: the split's name (default: {part}, or what is usual)")
    add("--image-column", default="", metavar="NAME", help="with --data: column, or ending in WebDataset, of the images")
    add("--label-column", default="", metavar="NAME", help="with --data: column, or ending in WebDataset, of the labels")
    add("--allow-outside", action="store_true", help="with --data: paths in tables may lead out of the data folder")


def reading_of(args: argparse.Namespace) -> Reading:
    """What the options say of how images are read.

    Raises:
        ConfigError: they do not go together, or are out of range.
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


def options_of(args: argparse.Namespace, *adders: Callable[[Callable[..., argparse.Action]], None]) -> list[str]:
    """The options that say how data is read, and those of ``adders``, as they were given, to be given again."""
    parser = argparse.ArgumentParser()
    for add_to in (*adders, add_arguments):
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
    """What data is called after the place where it lies."""
    return place.rstrip("/").rpartition("/")[2] if place.startswith("s3://") else Path(place).resolve().name


def data_of(args: argparse.Namespace, name: str, say: Say) -> Dataset:
    """The data that ``--data`` names, or else the known data set ``name``.

    Raises:
        DataError, ConfigError, StoreError: it cannot be read.
    """
    reading = reading_of(args)
    if not args.data or not args.data.startswith("s3://"):
        return resolve(name, Path(args.data) if args.data else None, say=say, reading=reading)
    return replace(resolve(name, fetched(args.data, say), say=say, reading=reading), source=args.data)
