"""What every reader needs: encoded images to one tensor, and errors that name the file."""

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

from zooaudit.errors import DataError, first_line

T = TypeVar("T")
Labelled = tuple[Tensor, Tensor, tuple[str, ...]]
"""uint8 ``[n, c, h, w]``, int64 ``[n]`` and class names."""


def decode_image(raw: bytes, where: str) -> Tensor:
    """Decode one PNG, JPEG, ... to uint8 ``[1 or 3, h, w]``, turned as its EXIF orientation says; ``where`` names it in the error.

    Raises:
        DataError: it cannot be read, or only by a guess: what its numbers mean, or what is behind its transparent pixels.
    """
    try:
        with Image.open(io.BytesIO(raw)) as opened:
            array = _pixels(_upright(opened), where)
    except DataError:
        raise
    except Exception as error:  # decoders raise many kinds
        raise DataError(f"{where}: not a readable image ({error}); remove or replace it") from error
    tensor = torch.from_numpy(array.copy())
    return tensor.unsqueeze(0) if tensor.ndim == 2 else tensor.permute(2, 0, 1)


def _upright(image: Image.Image) -> Image.Image:
    """As its EXIF orientation says; as it is, where that cannot be read."""
    try:
        return ImageOps.exif_transpose(image) if image.getexif().get(ExifTags.Base.Orientation, 1) != 1 else image
    except Exception:  # noqa: BLE001 -- broken EXIF raises many kinds, and says nothing of the pixels
        return image


def _pixels(image: Image.Image, where: str) -> np.ndarray:
    if image.mode.startswith("I;16"):
        return (np.asarray(image).astype(np.uint32) // 257).astype(np.uint8)
    if image.mode in ("I", "F"):
        kind = "floating-point" if image.mode == "F" else "32-bit"
        raise DataError(f"{where}: its pixels are {kind} numbers, whose range nobody can know; expected 8 or 16 bits a channel")
    if image.has_transparency_data:
        whole = image.convert("RGBA")
        if int(np.asarray(whole)[..., 3].min()) < 255:
            raise DataError(f"{where}: it has transparent pixels; expected none: put it on the background that the victim was trained with")
        image = whole if image.mode not in ("LA", "La") else image.convert("L")
    return np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))


def decode_all(encoded: Iterable[tuple[bytes, str]], count: int, where: str) -> Tensor:
    """Decode ``count`` images, each with its name for errors, to uint8 ``[count, c, h, w]``; grey ones among coloured become coloured.

    They are decoded into the one tensor, so that no more than one image is held beside it.
    """
    together = torch.empty(0)
    sizes: set[tuple[int, ...]] = set()
    for row, (raw, name) in enumerate(encoded):
        image = decode_image(raw, name)
        sizes.add(tuple(image.shape[1:]))
        if row == 0:
            together = torch.empty((count, *image.shape), dtype=torch.uint8)
        if len(sizes) > 1:  # nothing will come of it, but the error shall list every size
            continue
        if len(image) > together.shape[1]:
            together = together.expand(-1, len(image), -1, -1).clone()
        together[row] = image
    if not sizes:
        raise DataError(f"{where} holds no images")
    if len(sizes) > 1:
        raise DataError(f"{where}: images have sizes {short(sorted(sizes))}; expected one size, resize them first")
    return together


def guard(path: Path, kind: str, read: Callable[[Path], T]) -> T:
    """What ``read`` makes of the file, or DataError naming it."""
    try:
        return read(path)
    except Exception as error:  # readers of damaged files raise many kinds
        raise DataError(f"{path}: not a readable {kind} file ({first_line(error)}); fetch or write it again") from error


def short(items: Iterable[object], limit: int = 6) -> str:
    """The first few of many things, for an error."""
    listed = list(items)
    return ", ".join(map(str, listed[:limit])) + (f", ... ({len(listed)} in all)" if len(listed) > limit else "")
