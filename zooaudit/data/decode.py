"""Shared by all readers: decode images into one tensor, with errors that name the file."""

import contextlib
import functools
import io
import warnings
from collections.abc import Iterable, Iterator

import numpy as np
import psutil
import torch
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError
from torch import Tensor

from zooaudit.data.messages import short
from zooaudit.data.pixels import as_colour, plain_pixels
from zooaudit.data.reading import PLAIN, Reading
from zooaudit.data.reading_notes import Met
from zooaudit.data.sizes import sized
from zooaudit.errors import DataError, first_line

FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM", "AVIF", "JPEG2000")
"""What Pillow may open: other formats run programs (EPS), or are not images of a data set."""
MANY_FRAMES = ("GIF", "TIFF", "WEBP", "PNG", "AVIF")
"""Formats that may hold several images; in MPO, a camera's JPEG, the others are previews."""
MOST_PIXELS = 2**30 // 12
"""Pillow's default; it refuses images of twice as many pixels."""
LARGEST = 256 * 2**20
"""The most bytes of one encoded image."""


def decode_image(raw: bytes, where: str, reading: Reading = PLAIN, met: Met | None = None) -> Tensor:
    """Decode one PNG, JPEG, ... to uint8 ``[1 or 3, h, w]``, rotated by its EXIF orientation; ``where`` is
    its name in errors.

    Raises:
        DataError: it cannot be read, or only by guessing what its numbers mean, or what is behind its
            transparent pixels.
    """
    met = Met() if met is None else met
    if len(raw) > LARGEST:
        raise DataError(
            f"{where}: {len(raw) / 2**20:,.0f} MiB; expected an image of at most {LARGEST / 2**20:g} MiB"
        )
    try:
        with Image.open(io.BytesIO(raw), formats=_formats()) as opened:
            array = _decoded(opened, where, reading, met)
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(
            f"{where}: not a readable image (none of {', '.join(FORMATS)}); remove or replace it"
        ) from error
    except Exception as error:  # decoders raise many kinds
        raise DataError(
            f"{where}: not a readable image ({first_line(error)}); remove or replace it"
        ) from error
    tensor = torch.from_numpy(array)
    return tensor.unsqueeze(0) if tensor.ndim == 2 else tensor.permute(2, 0, 1)


@contextlib.contextmanager
def strictly() -> Iterator[None]:
    """Pillow's defaults, whatever a user's own code has set: no truncated images, no bombs; and without its
    warnings of odd tags."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
    ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = False, MOST_PIXELS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = before


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those of ``FORMATS`` that this Pillow supports."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _decoded(opened: Image.Image, where: str, reading: Reading, met: Met) -> np.ndarray:
    met.formats[opened.format or "?"] += 1
    met.modes[opened.mode] += 1
    if opened.format in MANY_FRAMES and getattr(opened, "is_animated", False):
        met.done["hold several frames; the first of each is taken, as common loaders do"] += 1
    image = opened if reading.ignore_exif else _upright(opened, met)
    image = as_colour(plain_pixels(image, opened, where, reading, met), reading.colour)
    met.sizes[image.height, image.width] += 1
    return np.array(fitted(image, reading, met))


def fitted(image: Image.Image, reading: Reading, met: Met) -> Image.Image:
    """Bring an ``L`` or ``RGB`` image to the size of ``--size``."""
    if reading.sizing is None:
        return image
    made = sized(image, reading.sizing)
    met.sized += made is not image
    return made


def _upright(image: Image.Image, met: Met) -> Image.Image:
    """Rotate by the EXIF orientation; unchanged if that cannot be read."""
    try:
        if image.getexif().get(ExifTags.Base.Orientation, 1) not in range(2, 9):
            return image
        turned = ImageOps.exif_transpose(image)
    except Exception:  # noqa: BLE001 -- broken EXIF raises many kinds, and says nothing of the pixels
        return image
    if image.format != "TIFF":  # Pillow rotates these itself, in every loader
        met.done[
            "were rotated by their EXIF data; for a loader that does not (torchvision's ImageFolder), use"
            " --ignore-exif"
        ] += 1
    return turned


def decode_all(
    encoded: Iterable[tuple[bytes, str]],
    count: int,
    where: str,
    reading: Reading = PLAIN,
    met: Met | None = None,
) -> Tensor:
    """Decode ``count`` images, each with its name for errors, to uint8 ``[count, c, h, w]``; grey images
    among coloured ones become coloured.

    They are decoded into a single tensor, so that at most one more image is in memory.

    Raises:
        DataError: an image cannot be read, there are none, there are several sizes, or more than this
            machine's memory.
    """
    met = Met() if met is None else met
    together = torch.empty(0)
    sizes: set[tuple[int, ...]] = set()
    row = -1
    for row, (raw, name) in enumerate(encoded):
        image = decode_image(raw, name, reading, met)
        sizes.add(tuple(image.shape[1:]))
        if row == 0:
            refuse_too_much(count * image.numel(), f"{where}: {count:,} images of {short(image.shape)}")
            together = torch.empty((count, *image.shape), dtype=torch.uint8)
        if len(sizes) > 1:  # decode no more, but list every size in the error
            continue
        if len(image) > together.shape[1]:
            refuse_too_much(count * image.numel(), f"{where}: {count:,} images of {short(image.shape)}")
            together = together.expand(-1, len(image), -1, -1).clone()
        together[row] = image
    if not sizes:
        raise DataError(f"{where} holds no images")
    if len(sizes) > 1:
        raise DataError(
            f"{where}: images have sizes {short(sorted(sizes))}; expected one size: --size HEIGHTxWIDTH"
            " brings them to one (as the victim's own loader does: see --fit, --shorter-side and --filter)"
        )
    if row + 1 != count:
        raise DataError(
            f"{where}: {row + 1:,} images were read of {count:,}; expected all: read it again when nothing"
            " writes to it"
        )
    return together


def refuse_too_much(size: int, what: str) -> None:
    """Refuse what does not fit in this machine's free memory, before it is allocated.

    Raises:
        DataError: ``size`` bytes do not fit.
    """
    free = psutil.virtual_memory().available
    if size > free:
        raise DataError(
            f"{what} take {size / 2**30:,.1f} GiB, this machine has {free / 2**30:,.1f} GiB free; --size"
            " makes images smaller"
        )
