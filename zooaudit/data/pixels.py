"""One opened image to grey or coloured pixels of 8 bits, as common loaders show it, or a refusal."""

import numpy as np
from PIL import Image, TiffImagePlugin

from zooaudit.data.reading import Reading
from zooaudit.data.reading_notes import Met
from zooaudit.data.values import FLAG, to_bytes
from zooaudit.errors import DataError

BITS, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339
"""Tags of TIFF."""
WHITE_IS_ZERO, SIGNED = 0, 2


def plain_pixels(
    image: Image.Image, opened: Image.Image, where: str, reading: Reading, met: Met
) -> Image.Image:
    """``image`` in mode ``L`` or ``RGB``; ``opened`` is the file that it came from.

    Raises:
        DataError: what its numbers mean, or what is behind its transparent pixels, would have to be guessed.
    """
    _refuse_signed(opened, where)
    if image.mode.startswith("I") or image.mode == "F":
        return _deep(image, opened, where, reading, met)
    if image.has_transparency_data:
        return _opaque(image, where, reading, met)
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def as_colour(image: Image.Image, colour: str) -> Image.Image:
    """Make an image grey or coloured by Pillow's rule (ITU-R 601-2); unchanged for ``auto``."""
    mode = {"grey": "L", "rgb": "RGB"}.get(colour, image.mode)
    return image if image.mode == mode else image.convert(mode)


def _refuse_signed(opened: Image.Image, where: str) -> None:
    if isinstance(opened, TiffImagePlugin.TiffImageFile):
        kinds = opened.tag_v2.get(SAMPLE_FORMAT, ())
        if SIGNED in kinds and opened.mode == "L":
            raise DataError(
                f"{where}: its pixels are signed 8-bit numbers, which common loaders read as unsigned;"
                " expected unsigned ones"
            )


def _deep(image: Image.Image, opened: Image.Image, where: str, reading: Reading, met: Met) -> Image.Image:
    """Convert more than 8 bits a pixel, one channel."""
    numbers = np.asarray(image)
    hidden = (
        numbers == image.info["transparency"]
        if "transparency" in image.info
        else np.zeros(numbers.shape, bool)
    )
    if reading.value_range is not None:
        grey = to_bytes(numbers, *reading.value_range, where)
        met.ranged += 1
    elif image.mode.startswith("I;16") or (
        image.mode == "I" and opened.format == "PPM"
    ):  # Pillow scales PGM to 65,535
        grey = _sixteen(numbers, opened, met)
    else:
        kind = "floating-point" if image.mode == "F" else "32-bit"
        raise DataError(
            f"{where}: its pixels are {kind} numbers of unknown range; expected 8 or 16 bits a"
            f" channel; or {FLAG}"
        )
    if isinstance(opened, TiffImagePlugin.TiffImageFile) and opened.tag_v2.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        grey = 255 - grey
    if hidden.any():
        red, green, blue = _background(where, reading, met)
        if not red == green == blue:
            raise DataError(
                f"{where}: a grey image of 16 bits with transparent pixels; expected a grey --background,"
                " such as white"
            )
        grey = np.where(hidden, np.uint8(red), grey)
    return Image.fromarray(grey)


def _sixteen(numbers: np.ndarray, opened: Image.Image, met: Met) -> np.ndarray:
    """Convert unsigned 16 bits; a TIFF may state that fewer are used."""
    bits = opened.tag_v2.get(BITS, (16,))[0] if isinstance(opened, TiffImagePlugin.TiffImageFile) else 16
    if bits < 16:
        return to_bytes(numbers, 0, 2**bits - 1, "")
    met.done["of 16 bits were scaled to 8, 65,535 becomes 255; Pillow's own convert clips them at 255"] += 1
    met.highest = max(met.highest, int(numbers.max()))
    return np.asarray((numbers.astype(np.uint32) // 257).astype(np.uint8))


def refuse_dark_sixteen(met: Met, where: str) -> None:
    """Refuse a data set whose 16-bit images never use the upper bits: 12 bits in 16 would be read as nearly
    black.

    Raises:
        DataError: no image uses them.
    """
    if 0 < met.highest < 2**14:
        bits = met.highest.bit_length()
        raise DataError(
            f"{where}: the largest number in its 16-bit images is {met.highest:,}: {bits} bits in 16, or dark"
            f" images; expected numbers up to 65,535; {FLAG}"
        )


def _opaque(image: Image.Image, where: str, reading: Reading, met: Met) -> Image.Image:
    grey = image.mode in ("L", "LA", "La", "1")
    whole = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    if int(np.asarray(whole)[..., 3].min()) < 255:
        behind = _background(where, reading, met)
        whole = Image.alpha_composite(Image.new("RGBA", whole.size, (*behind, 255)), whole)
        grey = grey and len(set(behind)) == 1
    return whole.convert("L" if grey else "RGB")


def _background(where: str, reading: Reading, met: Met) -> tuple[int, int, int]:
    if reading.background is None:
        raise DataError(
            f"{where}: it has transparent pixels; expected none: put it on the background that the victim was"
            " trained with, --background white or another colour"
        )
    met.done[f"have transparent pixels and were put on {reading.background}"] += 1
    return reading.background
