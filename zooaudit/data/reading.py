"""How a user's images are read: what files leave open, each field with the command-line option that sets
it."""

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path

from PIL import ImageColor

from zooaudit.errors import ConfigError

FILTERS = ("nearest", "box", "bilinear", "bicubic", "lanczos")
FITS = ("crop", "squash")
COLOURS = ("auto", "grey", "rgb")
LAYOUTS = ("NHWC", "NCHW")
KINDS = ("folders", "parquet", "arrow", "npz", "npy", "webdataset", "table")
LARGEST_SIDE = 4096
"""The largest ``--size``: far beyond any classifier; a tensor of one image takes 48 MiB."""


@dataclass(frozen=True)
class Sizing:
    """How images of any size become one size.

    Attributes:
        height, width: of the result.
        fit: ``crop``: scale, keeping the aspect ratio, until the size is covered, then crop the middle
            (torchvision's ``Resize`` and ``CenterCrop``); ``squash``: scale to the size, whatever the aspect
            ratio.
        shorter: with ``crop``, what the shorter side is scaled to before the crop, usually 256 for a size of
            224. 0 for the size itself.
        filter: one of ``FILTERS``.
        antialias: as Pillow, and torchvision on Pillow images; without, as torchvision's tensors did, and
            OpenCV.
    """

    height: int
    width: int
    fit: str = "crop"
    shorter: int = 0
    filter: str = "bilinear"
    antialias: bool = True

    def __str__(self) -> str:
        kind = self.filter + ("" if self.antialias else ", not antialiased")
        if self.fit == "squash":
            return f"squashed to {self.height}x{self.width} ({kind})"
        side = self.shorter or min(self.height, self.width)
        return f"scaled to a shorter side of {side} ({kind}), the middle {self.height}x{self.width} cut out"


@dataclass(frozen=True)
class Reading:
    """What the user states about the data; empty by default.

    Attributes:
        sizing: None to leave sizes alone; then images of several sizes are refused.
        background: colour (red, green, blue; 0 to 255) behind transparent pixels; None to refuse them.
        colour: ``grey`` or ``rgb`` for every image, or ``auto``: all are coloured if any is.
        value_range: the values of black and white, if a file's type does not imply them.
        layout: of arrays: ``NHWC`` or ``NCHW``; "" if their shape implies it.
        ignore_exif: do not rotate images by their EXIF data, as torchvision's ``ImageFolder``.
        classes: a file with names and order of the classes, or ``natural``; "" for the data's own.
        kind: one of ``KINDS``, to choose if a folder holds several; "".
        train_split, test_split: names of the splits; "" for the usual ones.
        image_column, label_column: in Parquet, Arrow, tables and WebDataset; "" to find them by their names.
        outside: allow paths in tables to lead out of the data folder.
    """

    sizing: Sizing | None = None
    background: tuple[int, int, int] | None = None
    colour: str = "auto"
    value_range: tuple[float, float] | None = None
    layout: str = ""
    ignore_exif: bool = False
    classes: str = ""
    kind: str = ""
    train_split: str = ""
    test_split: str = ""
    image_column: str = ""
    label_column: str = ""
    outside: bool = False

    def __post_init__(self) -> None:
        if self.value_range and not self.value_range[0] < self.value_range[1]:
            low, high = self.value_range
            raise ConfigError(
                f"--value-range {low:g} {high:g}: expected the number of black and a larger one of white"
            )

    @property
    def classes_file(self) -> Path | None:
        return Path(self.classes) if self.classes and self.classes != "natural" else None


PLAIN = Reading()


def parse_size(text: str) -> tuple[int, int]:
    """``224`` or ``HEIGHTxWIDTH``.

    ConfigError: it is neither, or out of range.
        ConfigError: neither, or out of range.
    """
    found = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", text.strip().lower())
    sides = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not all(1 <= side <= LARGEST_SIDE for side in sides):
        raise ConfigError(
            f"--size {text}: expected one side, 224, or height and width, 224x192, each from 1 to"
            f" {LARGEST_SIDE}"
        )
    return sides


def parse_sizing(
    size: str | None, fit: str, shorter: int | None, kind: str, antialias: bool
) -> Sizing | None:
    """The sizing of ``--size`` and its options.

    Raises:
        ConfigError: they contradict each other.
    """
    if size is None:
        if fit != "crop" or shorter is not None or kind != "bilinear" or not antialias:
            raise ConfigError(
                "--fit, --shorter-side, --filter and --no-antialias say how to come to --size, but that is"
                " missing"
            )
        return None
    height, width = parse_size(size)
    if shorter is not None and (fit == "squash" or not min(height, width) <= shorter <= LARGEST_SIDE):
        raise ConfigError(
            f"--shorter-side {shorter}: expected {min(height, width)} to {LARGEST_SIDE}, with --fit crop and"
            f" --size {size}"
        )
    if not antialias and kind not in ("bilinear", "bicubic"):
        raise ConfigError(f"--no-antialias goes with --filter bilinear or bicubic, not {kind}")
    return Sizing(height, width, fit, shorter or 0, kind, antialias)


def parse_colour(text: str) -> tuple[int, int, int]:
    """A colour by name (``white``), or ``#ff8800``.

    Raises:
        ConfigError: it is not a colour, or not opaque.
    """
    found: tuple[int, ...] = ()
    with contextlib.suppress(ValueError):
        found = ImageColor.getrgb(text)
    if len(found) != 3:
        raise ConfigError(f"--background {text}: expected an opaque colour: white, black, #ff8800, ...")
    return found[0], found[1], found[2]
