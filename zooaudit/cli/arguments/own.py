"""Options for what is the user's own: data, victim, the checkpoint that it began with, and a recipe."""

import argparse
from collections.abc import Callable

from zooaudit.config import OwnTraining
from zooaudit.data.reading import COLOURS, FILTERS, FITS, KINDS, LAYOUTS
from zooaudit.recipes.named import RECIPES

DATA = (
    "your own data instead of the recipe's: a folder with train and test as class folders, Parquet, .npz,"
    " WebDataset, CSV of paths, ..., a .zip of one, a Keras .npz, or s3://bucket/prefix; 'zooaudit data"
    " --data PLACE' shows what is read from it; docs/data.md lists what can be read"
)
FACTORIES = (
    "a callable without arguments, timm:NAME, torchvision:NAME, or hf:FOLDER with a config.json of"
    " transformers'"
)
NAMED_CHECKPOINT = (
    "timm:NAME=FILE or torchvision:NAME=FILE, a library's net and its published weights as safetensors"
)
SETTING = (
    "change one field of the recipe, for example zoo.suspects_per_cell=5, zoo.epochs.A=6 or"
    ' \'zoo.architectures=["B", "C"]\'; the value as in TOML, words without quotes; repeatable. \'zooaudit'
    " recipe show NAME' lists the fields"
)


def add_recipe(add: Callable[..., argparse.Action], default: str, what: str = "") -> None:
    """``--recipe`` and ``--set``."""
    add(
        "--recipe",
        default=default,
        metavar="NAME|FILE",
        help=(
            f"{what}one of {', '.join(sorted(RECIPES))}, or a TOML file of your own: see docs/recipes.md"
            " (default: %(default)s)"
        ),
    )
    add("--set", action="append", default=[], metavar="FIELD=VALUE", dest="settings", help=SETTING)


def add_data(add: Callable[..., argparse.Action], about: str = DATA) -> None:
    """``--data`` and its options.

    Args:
        about: help of ``--data``.
    """
    add("--data", metavar="PLACE", help=about)
    add(
        "--classes",
        default="",
        metavar="FILE",
        help=(
            "with --data: names and order of the classes, one a line, a JSON list or a mapping"
            " (class_indices, id2label); or 'natural', 2 before 10 (default: alphabetical order, as"
            " torchvision)"
        ),
    )
    _add_sizing(add)
    _add_pixels(add)
    _add_parts(add)


def _add_sizing(add: Callable[..., argparse.Action]) -> None:
    """How images are resized."""
    add(
        "--size",
        metavar="HxW",
        help="with --data: resize all images to this size, 224 or 224x192 (default: they must have one size)",
    )
    add(
        "--fit",
        choices=FITS,
        default="crop",
        help=(
            "with --size: scale the shorter side and cut out the middle, as torchvision does, or "
            "squash (default: %(default)s)"
        ),
    )
    add(
        "--shorter-side",
        type=int,
        metavar="N",
        help="with --fit crop: scale the shorter side to this before the crop, 256 for 224",
    )
    add("--filter", choices=FILTERS, default="bilinear", help="with --size (default: %(default)s)")
    add(
        "--no-antialias",
        action="store_true",
        help="with --size: without antialiasing, as torchvision on tensors, and OpenCV",
    )


def _add_pixels(add: Callable[..., argparse.Action]) -> None:
    """What the files' numbers mean."""
    add(
        "--background",
        metavar="COLOUR",
        help="with --data: background for transparent pixels: white, black, #ff8800 (default: refuse them)",
    )
    add(
        "--colour",
        choices=COLOURS,
        default="auto",
        help="with --data: make all images grey, or coloured (default: coloured if any is)",
    )
    add(
        "--value-range",
        nargs=2,
        type=float,
        metavar=("BLACK", "WHITE"),
        help=(
            "with --data: the values of black and white in arrays and in images of more than 8 bits, if their"
            " type does not say: 0 1, 0 255, -1 1, 0 4095"
        ),
    )
    add(
        "--array-layout",
        choices=LAYOUTS,
        default="",
        help="with --data: which axis of arrays holds the channels, if that is ambiguous",
    )
    add(
        "--ignore-exif",
        action="store_true",
        help="with --data: do not rotate photographs by their EXIF data, as torchvision's ImageFolder",
    )


def _add_parts(add: Callable[..., argparse.Action]) -> None:
    """Which part of the data is which."""
    add(
        "--data-kind",
        choices=KINDS,
        default="",
        help="with --data: which form to read if a folder holds a split in several",
    )
    for part in ("train", "test"):
        add(
            f"--{part}-split",
            default="",
            metavar="NAME",
            help=f"with --data: the split's name (default: {part}, or its usual names)",
        )
    add(
        "--image-column",
        default="",
        metavar="NAME",
        help="with --data: the column, or WebDataset extension, of the images",
    )
    add(
        "--label-column",
        default="",
        metavar="NAME",
        help="with --data: the column, or WebDataset extension, of the labels",
    )
    add(
        "--allow-outside",
        action="store_true",
        help="with --data: allow paths in tables to lead out of the data folder",
    )


def add_victim(add: Callable[..., argparse.Action]) -> None:
    """``--victim`` and its options."""
    add_model(add)
    add_training(add)
    add_checkpoints(add)


def add_model(add: Callable[..., argparse.Action]) -> None:
    """``--victim``, ``--factory`` and ``--contract``."""
    add(
        "--victim",
        metavar="FILE",
        help=(
            "your own victim: .safetensors weights or their .safetensors.index.json (with --factory), a"
            " torch.export .pt2, a folder of transformers' or timm's; also s3://bucket/key, hf://owner/name,"
            " models:/ and runs:/ of MLflow"
        ),
    )
    add("--factory", metavar="MODULE:NAME", help=f"what builds the victim's module: {FACTORIES}")
    add_contract(add, "the victim and its twins are")


def add_contract(add: Callable[..., argparse.Action], whose: str) -> None:
    """``--contract``."""
    add(
        "--contract",
        metavar="FILE or FIELD=VALUE",
        nargs="+",
        help=(
            f"how {whose} asked, if the model does not say it: a TOML file with tables input, output and"
            " classes, or fields of it, for example input.size=[224,224] input.mean=[0.485,0.456,0.406]"
            " output.name=logits (docs/models.md lists them)"
        ),
    )


def add_training(add: Callable[..., argparse.Action], twins: bool = True) -> None:
    """``--train`` and its options, and ``--twins`` unless ``twins`` is false."""
    add(
        "--train",
        metavar="MODULE:NAME",
        help=(
            "the function that trained your victim, to train its twins: models that differ from it by nothing"
            " but the seed, among which it is ranked. Called as function(images, labels, seed) with the"
            " training images of --data, uint8 [n, c, h, w], and int64 [n]; or as function(seed), if it"
            " requires nothing else, to read its own data. Returns a module with the weights of --factory's."
            " Without --train or --train-command your own victim has no twins, and nobody can be accused"
        ),
    )
    add(
        "--train-command",
        metavar="COMMAND",
        help=(
            "the same as a program in any language or environment, for example 'python train.py --seed {seed}"
            " --out {out}': it trains with that seed, an integer below 2**31, and writes safetensors weights"
            " that fit --factory's module to that file. Run without a shell; what it prints is kept with the"
            " twin"
        ),
    )
    if twins:
        add(
            "--twins",
            type=int,
            metavar="N",
            help=(
                "how many twins to train (default: the recipe's, 19): N of them give p-values from 1 / (N"
                " + 1)"
            ),
        )
    add(
        "--train-timeout",
        type=float,
        metavar="SECONDS",
        help=(
            "the longest time for --train or --train-command to train one twin (default:"
            f" {OwnTraining.timeout_s}); twins that failed are tried again when you repeat the command"
        ),
    )


def add_checkpoints(add: Callable[..., argparse.Action]) -> None:
    """``--start`` and ``--checkpoint``."""
    add_start(add)
    add_checkpoint(add)


def add_start(add: Callable[..., argparse.Action]) -> None:
    """``--start``."""
    add(
        "--start",
        metavar="CHECKPOINT",
        help=(
            f"what your victim was fine-tuned from: {NAMED_CHECKPOINT}; or MODULE:NAME, a callable that takes"
            " the number of classes and returns the public checkpoint as a module with a new last layer, for"
            " images in [0, 1] of the data's size (--contract does not apply to it: it must resize and"
            " normalise by itself). A quarter of the references are then fine-tuned from it, so that what all"
            " its descendants have in common is not taken for yours"
        ),
    )


def add_checkpoint(add: Callable[..., argparse.Action]) -> None:
    """``--checkpoint``."""
    add(
        "--checkpoint",
        action="append",
        default=[],
        metavar="NET=FILE",
        help=(
            f"what the zoo's own models of one architecture are fine-tuned from: {NAMED_CHECKPOINT}. The"
            " recipe must use this architecture, as in --set 'zoo.architectures=[\"timm:resnet18\"]';"
            " repeatable, once for each architecture"
        ),
    )
