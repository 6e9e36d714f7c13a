"""Infer the contract's input from a model's own description of it (a graph's, a server's): shape, layout,
type, batch. Everything inferred is reported."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

from zooaudit.errors import ModelError
from zooaudit.suspects.contract import DType, Input, Layout

COLOURS = (1, 3)
"""How many channels images may have."""


@dataclass(frozen=True)
class Described:
    """A model's own description of its input.

    Attributes:
        shape: None for a dimension of any size; None instead of a shape if it is unknown.
        dtype: ``float32``, ``uint8``, ...; "" if unknown.
        name: of the input.
    """

    shape: tuple[int | None, ...] | None = None
    dtype: str = ""
    name: str = ""


def seen_input(
    described: Described, image: tuple[int, int, int], stated: Input, name: str
) -> tuple[Input, tuple[str, ...]]:
    """The fields to add to ``stated``, and notes on them, one line each.

    Args:
        image: (channels, height, width) of the images that the model will be asked.

    Raises:
        ModelError: it takes something else than images, or contradicts the stated contract.
    """
    seen, notes = _typed(described, stated, name)
    if described.shape is None:
        return seen, notes
    whole = (
        "["
        + ", ".join(
            "n" if d is None and i == 0 else "?" if d is None else str(d)
            for i, d in enumerate(described.shape)
        )
        + "]"
    )
    if len(described.shape) not in (2, 4):
        raise ModelError(
            f"{name} takes {whole}; expected images: [n, channels, height, width], [n, height, width,"
            " channels] or [n, pixels]"
        )
    layout = stated.layout or _layout(described.shape, whole, name)
    if (layout == "flat") != (len(described.shape) == 2):
        raise ModelError(
            f"{name} takes {whole}, but input.layout is {stated.layout}; expected"
            f" {'flat' if len(described.shape) == 2 else 'nchw or nhwc'}"
        )
    if layout != "nchw":
        notes += (f"takes {whole}: layout {layout}",)
    seen = replace(seen, layout=layout if layout != "nchw" else "")
    first = described.shape[0]
    if first is not None:
        if stated.batch not in (0, first):
            raise ModelError(
                f"{name} takes {first} images at once, but input.batch is {stated.batch}; leave it out"
            )
        seen, notes = (
            replace(seen, batch=first),
            (
                *notes,
                f"takes {first} image{'s' * (first > 1)} at a time and is asked accordingly",
            ),
        )
    if layout == "flat":
        _check_pixels(described.shape[1], image, stated, name)
        return seen, notes
    channels, height, width = (
        described.shape[1:] if layout == "nchw" else (described.shape[3], *described.shape[1:3])
    )
    seen, more = _sized(seen, channels, height, width, image, stated, name)
    return seen, (*notes, *more)


def _typed(result: Described, stated: Input, name: str) -> tuple[Input, tuple[str, ...]]:
    if result.dtype in ("", "float32"):
        if stated.dtype not in ("", "float32") and result.dtype:
            raise ModelError(f"{name} takes {result.dtype}, but input.dtype is {stated.dtype}; leave it out")
        return Input(), ()
    if result.dtype not in ("float16", "float64", "uint8", "int8"):
        raise ModelError(
            f"{name} takes {result.name}: {result.dtype}; expected images as float32, float16, float64, uint8"
            " or int8"
        )
    if stated.dtype not in ("", result.dtype):
        raise ModelError(f"{name} takes {result.dtype}, but input.dtype is {stated.dtype}; leave it out")
    if result.dtype == "int8" and not stated.scale:
        raise ModelError(
            f"{name} takes int8, but the meaning of its numbers is unknown: number = x / scale + zero_point;"
            " state both, for example --contract input.dtype=int8 input.scale=0.00392 input.zero_point=-128"
        )
    plain = result.dtype == "uint8" and not stated.scale and not stated.range
    note = f"takes {result.dtype}" + (": pixels from 0 to 255" if plain else "")
    return Input(dtype=cast(DType, result.dtype), scale=stated.scale, zero_point=stated.zero_point), (note,)


def _layout(shape: Sequence[int | None], whole: str, name: str) -> Layout:
    if len(shape) == 2:
        return "flat"
    first, last = shape[1] in COLOURS, shape[3] in COLOURS
    if first and last:
        raise ModelError(
            f"{name} takes {whole}, which may have channels first or last; state which: --contract"
            " input.layout=nchw, or nhwc"
        )
    return "nhwc" if last else "nchw"


def _check_pixels(pixels: int | None, image: tuple[int, int, int], stated: Input, name: str) -> None:
    channels, height, width = image
    height, width = (stated.size[0], stated.size[-1]) if stated.size else (height, width)
    given = (1 if stated.channels == "grey" else 3 if stated.channels else channels) * height * width
    if pixels not in (None, given):
        raise ModelError(
            f"{name} takes {pixels} numbers for each image, and these have {given}; state how they become so"
            " many:"
            " --contract input.size=..."
        )


def _sized(
    seen: Input,
    channels: int | None,
    height: int | None,
    width: int | None,
    image: tuple[int, int, int],
    stated: Input,
    name: str,
) -> tuple[Input, tuple[str, ...]]:
    """Channels and size that a graph's fixed shape requires."""
    notes: tuple[str, ...] = ()
    given = 1 if stated.channels == "grey" else 3 if stated.channels else image[0]
    if channels not in (None, given):
        if stated.channels or channels not in COLOURS:
            raise ModelError(
                f"{name} takes {channels} channels, and is given {given}; expected a model of images with 1"
                " or 3"
            )
        seen = replace(seen, channels="rgb" if channels == 3 else "grey")
        notes += (
            (
                "takes 3 channels: grey images are repeated"
                if channels == 3
                else "takes 1 channel: colours become grey by .299, .587, .114"
            ),
        )
    if height is None or width is None:
        return seen, notes
    if stated.size and (stated.size[0], stated.size[-1]) != (height, width):
        raise ModelError(
            f"{name} takes images of {height} x {width}, but input.size is {stated.size[0]} x"
            f" {stated.size[-1]}; leave it out"
        )
    if not stated.size and (height, width) != image[1:]:
        seen = replace(seen, size=(height, width), resize=stated.resize, resize_to=stated.resize_to)
        how = f"by a {stated.filter or 'bilinear'} filter"
        notes += (f"takes images of {height} x {width}: those of {image[1]} x {image[2]} are resized {how}",)
    return seen, notes
