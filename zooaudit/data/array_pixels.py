"""Arrays to pixels: what their numbers and axes mean is settled once for all parts together; then images are
made from them.

Images are made from whole arrays, a few at a time if an array is too large for memory, or one by one on
demand.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zooaudit.data.arrays import Arrays
from zooaudit.data.decode import fitted, refuse_too_much
from zooaudit.data.messages import short
from zooaudit.data.reading import Reading
from zooaudit.data.reading_notes import Met
from zooaudit.data.stored import Rows
from zooaudit.data.values import all_to_bytes, certain_range, extent, refuse_outside
from zooaudit.errors import DataError

WHOLE = 2 * 2**30
"""The largest array, in bytes, that is read whole; larger ones are read a few images at a time, even if the
resulting images are small."""
Scale = tuple[float, float] | None
"""The numbers that become 0 and 255; None if the numbers are pixels already."""


@dataclass(frozen=True)
class Numbers:
    """The images of one part before they are pixels: ``blocks`` yields them in order, with the number of the
    first of each block."""

    where: str
    shape: tuple[int, ...]
    kind: np.dtype
    blocks: Callable[[], Iterator[tuple[int, np.ndarray]]]
    rows: Rows | None


def numbers(part: Arrays, cache: Path | None, whole: int) -> Numbers:
    """The numbers of one part: in memory, unless they take more than ``whole`` bytes and can be read by row.

    Args:
        cache: folder for a copy that rows are read from; None to make none.
    """
    stored = part.images
    if cache is not None and stored.rows is not None and stored.nbytes > whole:
        rows = stored.rows(cache)
        return Numbers(part.where, rows.shape, rows.dtype, rows.blocks, rows)
    array = stored.load()
    return Numbers(part.where, array.shape, array.dtype, lambda: iter([(0, array)]), None)


def to_tensors(
    parts: Sequence[Arrays], reading: Reading, met: Met, cache: Path | None = None
) -> list[Tensor]:
    """Images of all parts as uint8 ``[n, c, h, w]``, scaled alike.

    Raises:
        DataError: ambiguous numbers or shapes, or more than this machine's memory.
    """
    held = [numbers(part, cache, WHOLE) for part in parts]
    scale = settled(held, reading, met)
    return [_tensor(part, scale, reading, met) for part in held]


def _tensor(part: Numbers, scale: Scale, reading: Reading, met: Met) -> Tensor:
    if part.rows is None:
        _, array = next(part.blocks())
        return _made(array, part.where, scale, reading, met)
    shape = row_shape(part.shape, part.where, reading)
    refuse_too_much(
        part.shape[0] * torch.Size(shape).numel(), f"{part.where}: {part.shape[0]:,} images of {short(shape)}"
    )
    together = torch.empty((part.shape[0], *shape), dtype=torch.uint8)
    for first, block in part.blocks():
        together[first : first + len(block)] = _made(block, part.where, scale, reading, met, first)
    return together


def settled(parts: Sequence[Numbers], reading: Reading, met: Met) -> Scale:
    """The values of black and white in all parts; looks at every number.

    Raises:
        DataError: they are ambiguous, or numbers lie outside.
    """
    for part in parts:
        met.modes[f"array of {part.kind}"] += part.shape[0]
    found = [extent(part.kind, part.shape, (block for _, block in part.blocks())) for part in parts]
    bytes_all = all(part.kind == np.uint8 for part in parts)
    if reading.value_range is None and bytes_all:
        _note_dark(max((int(e.ends[1]) for e in found if e.ends), default=255), met)
        return None
    black, white = reading.value_range or certain_range(found, parts[0].where)
    met.ranged += sum(part.shape[0] for part in parts)
    if (black, white) == (0, 255) and bytes_all:
        return None
    met.note(f"numbers of arrays are scaled: {black:g} becomes 0, {white:g} becomes 255, rounded")
    for part, each in zip(parts, found, strict=True):
        if each.ends:
            refuse_outside(each.ends, black, white, part.where)
    return black, white


def _note_dark(highest: int, met: Met) -> None:
    if highest < 64:
        met.note(
            f"the largest number in the images is {highest} of 255: if {highest} is white, say so:"
            f" --value-range 0 {highest}"
        )


def row_shape(shape: tuple[int, ...], where: str, reading: Reading) -> tuple[int, int, int]:
    """Channels, height and width of every image made from an array.

    Raises:
        DataError: its axes are ambiguous.
    """
    channels, height, width = _of_white(shape, where, reading, Met()).shape
    return channels, height, width


def look(part: Numbers, scale: Scale, reading: Reading, met: Met) -> None:
    """Note in ``met`` what making every image of a part would note, and refuse the same.

    Raises:
        DataError: transparent pixels without a background.
    """
    one = Met()
    _of_white(part.shape, part.where, reading, one)
    for size in one.sizes:
        met.sizes[size] += part.shape[0]
    met.sized += one.sized * part.shape[0]
    for first, block in part.blocks():
        tensor = _channels_first(_scaled(block, scale, part.where), part.where, reading)
        if tensor.shape[1] != 4:
            break
        _clear(tensor, part.where, reading, met, first)


def one_image(
    raw: bytes,
    where: str,
    kind: np.dtype,
    shape: tuple[int, ...],
    scale: Scale,
    reading: Reading,
    channels: int,
) -> Tensor:
    """Uint8 ``[channels, h, w]`` from the numbers of one image, which have this ``shape``."""
    made = _made(np.frombuffer(bytearray(raw), kind).reshape(1, *shape), where, scale, reading, Met())[0]
    return made.expand(channels, -1, -1) if len(made) == 1 else made


def _of_white(shape: tuple[int, ...], where: str, reading: Reading, met: Met) -> Tensor:
    """The pixels of a white image, which is opaque if there is a fourth channel."""
    white = np.full((1, *shape[1:]), 255, np.uint8)
    return _finished(_channels_first(white, where, reading, shape), where, reading, met)[0]


def _made(array: np.ndarray, where: str, scale: Scale, reading: Reading, met: Met, first: int = 0) -> Tensor:
    return _finished(
        _channels_first(_scaled(array, scale, where), where, reading), where, reading, met, first
    )


def _scaled(array: np.ndarray, scale: Scale, where: str) -> np.ndarray:
    return array if scale is None else all_to_bytes(array, *scale, where)


def _channels_first(images: np.ndarray, where: str, reading: Reading, shape: tuple[int, ...] = ()) -> Tensor:
    """``shape`` is that of the whole array, for errors."""
    tensor = torch.from_numpy(images)
    if tensor.ndim == 3:
        return tensor.unsqueeze(1).contiguous()
    first, last = tensor.shape[1] in (1, 3, 4), tensor.shape[3] in (1, 3, 4)
    layout = reading.layout
    if not layout:
        if first == last:
            fits = "both layouts fit" if first else "neither layout has 1, 3 or 4 channels"
            raise DataError(
                f"{where}: images of shape {shape or images.shape}: {fits}; expected one: --array-layout NHWC"
                " or --array-layout NCHW"
            )
        layout = "NCHW" if first else "NHWC"
    return (tensor.permute(0, 3, 1, 2) if layout == "NHWC" else tensor).contiguous()


def _finished(tensor: Tensor, where: str, reading: Reading, met: Met, first: int = 0) -> Tensor:
    """Remove transparency and apply the chosen colour and size; ``first`` is the number of the first
    image."""
    count, channels, height, width = tensor.shape
    met.sizes[height, width] += count
    if channels == 4:
        tensor = _opaque(tensor, where, reading, met, first)
        channels = 3
    mode = {"grey": "L", "rgb": "RGB"}.get(reading.colour)
    if channels not in (1, 3) or (reading.sizing is None and mode in (None, "L" if channels == 1 else "RGB")):
        if reading.sizing is not None:
            raise DataError(
                f"{where}: images have {channels} channels; --size is for grey and coloured ones: resize them"
                " first"
            )
        return tensor
    made = [_one(image, mode, reading, met) for image in tensor]
    return torch.stack(made)


def _one(image: Tensor, mode: str | None, reading: Reading, met: Met) -> Tensor:
    array = image[0].numpy() if len(image) == 1 else np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    picture = Image.fromarray(array)
    array = np.array(fitted(picture.convert(mode) if mode else picture, reading, met))
    return torch.from_numpy(
        array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1))
    )


def _opaque(tensor: Tensor, where: str, reading: Reading, met: Met, first: int) -> Tensor:
    clear = _clear(tensor, where, reading, met, first)
    made = tensor[:, :3].contiguous()
    if not bool(clear.any()) or reading.background is None:
        return made
    for row in clear.nonzero().flatten().tolist():
        over = Image.fromarray(np.ascontiguousarray(tensor[row].permute(1, 2, 0).numpy()), "RGBA")
        under = Image.new("RGBA", over.size, (*reading.background, 255))
        made[row] = torch.from_numpy(np.array(Image.alpha_composite(under, over).convert("RGB"))).permute(
            2, 0, 1
        )
    return made


def _clear(tensor: Tensor, where: str, reading: Reading, met: Met, first: int) -> Tensor:
    """Whether each image has transparent pixels; refused without a background."""
    clear = (tensor[:, 3] < 255).flatten(1).any(1)
    if bool(clear.any()):
        if reading.background is None:
            row = first + int(clear.nonzero()[0])
            raise DataError(
                f"{where}: image {row} has transparent pixels (a fourth channel below 255); expected none:"
                " --background white or another colour"
            )
        met.done[f"have transparent pixels and were put on {reading.background}"] += int(clear.sum())
    return clear
