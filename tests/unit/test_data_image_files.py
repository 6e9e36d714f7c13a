"""Image files that are turned, animated, cut short, bombs."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from tests.support.data_folders import encoded
from tests.support.data_pixels import COLOURS, chunk, refused, shown
from tests.support.makers import pixels
from zooaudit.data.reading import Reading
from zooaudit.data.reading_notes import Met, found


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG"])
def test_orientation_is_heeded_in_every_kind_that_has_one(kind: str) -> None:
    wide = np.asarray(Image.fromarray(COLOURS[:, :4]).resize((24, 16), Image.Resampling.NEAREST))
    exif = Image.Exif()
    exif[0x0112] = 6
    options: dict[str, object] = (
        {"lossless": True} if kind == "WEBP" else {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    )
    raw = encoded(Image.fromarray(wide), kind, exif=exif, **options)
    assert np.abs(shown(raw).astype(int) - np.rot90(wide, -1)).max() <= (60 if kind == "JPEG" else 0)
    as_it_lies = shown(raw, Reading(ignore_exif=True))
    assert np.array_equal(as_it_lies, np.asarray(Image.open(io.BytesIO(raw)).convert("RGB"))), (
        "what ImageFolder gives"
    )


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_is_none_turns_nothing(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(shown(encoded(Image.fromarray(COLOURS), exif=exif.tobytes())), COLOURS)


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_of_several_frames_the_first_is_taken_and_said(kind: str) -> None:
    frames = [Image.fromarray(np.full((6, 6, 3), shade, np.uint8)) for shade in (40, 90, 200)]
    raw = encoded(
        frames[0],
        kind,
        save_all=True,
        append_images=frames[1:],
        **({"lossless": True} if kind == "WEBP" else {}),
    )
    met = Met()
    assert (shown(raw, met=met) == 40).all()
    assert found(met, "").notes == (
        "1 of 1 images hold several frames; the first of each is taken, as common loaders do",
    )


def test_a_truncated_file_of_every_kind_is_refused() -> None:
    noise = Image.fromarray(pixels(1, channels=3, size=64)[0].transpose(1, 2, 0))
    for kind in ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "PPM", "GIF"):
        raw = encoded(noise, kind)
        refused(raw[: len(raw) // 2], "not a readable image")


def test_an_image_bomb_is_refused_before_it_is_decoded() -> None:
    side = 40_000
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    raw = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10**6)))
        + chunk(b"IEND", b"")
    )
    refused(raw, "exceeds limit")
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "x" * 70_000_000, zip=True)
    refused(encoded(Image.fromarray(COLOURS), pnginfo=text), "not a readable image")


def test_files_that_run_programs_are_never_opened(tmp_path: Path) -> None:
    header = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 6\n"
    script = f"{header}({tmp_path}/x) (w) file closefile\nshowpage\n".encode()
    refused(script, "not a readable image .none of PNG, JPEG")
    refused(b"junk", "not a readable image .none of PNG")
    assert not (tmp_path / "x").exists()
