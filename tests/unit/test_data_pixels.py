"""Pixels of every kind of image file: what Pillow, and the definition of the format, say they are; or a
refusal that says what to do."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.data_folders import encoded, folders_of
from tests.support.data_pixels import COLOURS, chunk, refused, shown
from zooaudit.data.readers import read_dataset
from zooaudit.data.reading import Reading
from zooaudit.data.reading_notes import Met, found
from zooaudit.errors import DataError

GREY = COLOURS[..., 0]
WHITE, RED = Reading(background=(255, 255, 255)), Reading(background=(255, 0, 0))


def png16(numbers: np.ndarray, colour_type: int, extra: bytes = b"") -> bytes:
    """A PNG of 16 bits a channel, by the format's definition; ``numbers`` uint16 ``[h, w, c]``."""
    height, width = numbers.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in numbers)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def tiff(
    numbers: np.ndarray, bits: int, photometric: int = 1, sample_format: int = 1, packed: bytes = b""
) -> bytes:
    """A little-endian TIFF of one strip and one channel."""
    body = packed or numbers.tobytes()
    height, width = numbers.shape
    tags = [
        (256, 3, width),
        (257, 3, height),
        (258, 3, bits),
        (259, 3, 1),
        (262, 3, photometric),
        (273, 4, 8),
        (277, 3, 1),
        (278, 3, height),
        (279, 4, len(body)),
        (339, 3, sample_format),
    ]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return (
        b"II*\0"
        + struct.pack("<I", 8 + len(body))
        + body
        + struct.pack("<H", len(tags))
        + entries
        + b"\0\0\0\0"
    )


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("CMYK", "JPEG"), ("CMYK", "TIFF"), ("YCbCr", "JPEG"), ("YCbCr", "TIFF"), ("LAB", "TIFF")],
)
def test_other_colour_spaces_are_converted_as_common_loaders_do(mode: str, kind: str) -> None:
    smooth = Image.fromarray(COLOURS).resize((32, 32), Image.Resampling.BICUBIC)
    image = Image.merge("LAB", smooth.split()) if mode == "LAB" else smooth.convert(mode)
    raw = encoded(image, kind)
    assert np.array_equal(shown(raw), np.asarray(Image.open(io.BytesIO(raw)).convert("RGB")))


def test_one_bit_is_black_and_white() -> None:
    bits = GREY > 127
    assert np.array_equal(shown(encoded(Image.fromarray(bits))), bits * np.uint8(255))
    assert np.array_equal(
        shown(encoded(Image.fromarray(bits), "TIFF", compression="group4")), bits * np.uint8(255)
    )


def test_a_colour_profile_is_left_alone_as_by_common_loaders() -> None:
    profile = b"\0\0\x02\x0cjunk" + b"\0" * 512
    for kind in ("PNG", "JPEG"):
        plain, with_profile = (
            encoded(Image.fromarray(COLOURS), kind, **more) for more in ({}, {"icc_profile": profile})
        )
        assert len(with_profile) > len(plain) and np.array_equal(shown(plain), shown(with_profile))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_are_put_on_the_stated_colour(mode: str) -> None:
    """By the definition of "over": colour times alpha, plus background times what is left."""
    alpha = np.linspace(0, 255, 36).reshape(6, 6).round().astype(np.uint8)
    image, options = Image.fromarray(COLOURS), {}
    if mode == "P":
        image = image.quantize(8)
        options = {"transparency": 3}
        alpha = np.where(np.asarray(image) == 3, 0, 255).astype(np.uint8)
        colours = np.asarray(image.convert("RGB"))
    else:
        image = image.convert(mode)
        colours = np.asarray(image.convert("RGB"))
        image.putalpha(Image.fromarray(alpha))
    raw = encoded(image, **options)
    refused(raw, "has transparent pixels; expected none: .*--background white or another colour")
    for reading in (WHITE, RED):
        share = alpha[..., None] / 255
        expected = colours * share + np.array(reading.background) * (1 - share)
        got = shown(raw, reading)
        if mode == "LA" and reading is WHITE:
            assert got.ndim == 2, "grey on white stays grey"
            got = got[..., None].repeat(3, 2)
        assert np.abs(got - expected).max() <= 1
    met = Met()
    shown(raw, WHITE, met)
    assert found(met, "").notes == ("1 of 1 images have transparent pixels and were put on (255, 255, 255)",)


def test_grey_with_a_transparent_shade_in_8_and_16_bits() -> None:
    eight = encoded(Image.fromarray(GREY), transparency=int(GREY[2, 3]))
    expected = np.where(GREY[2, 3] == GREY, 255, GREY)
    refused(eight, "has transparent pixels")
    assert np.array_equal(shown(eight, WHITE), expected)
    deep = png16(
        GREY.astype(np.uint16)[..., None] * 257, 0, chunk(b"tRNS", struct.pack(">H", int(GREY[2, 3]) * 257))
    )
    refused(deep, "has transparent pixels")
    assert np.array_equal(shown(deep, WHITE), expected)
    refused(deep, "expected a grey --background", RED)


def test_sixteen_bits_of_every_colour_type_keep_their_shades() -> None:
    """65,535 becomes 255: never clipped, never black."""
    numbers = np.random.default_rng(0).integers(0, 65536, (6, 6, 4)).astype(np.uint16)
    numbers[..., 3] = 65535
    for colour_type, channels in ((0, [0]), (2, [0, 1, 2]), (4, [0, 3]), (6, [0, 1, 2, 3])):
        got = shown(png16(numbers[..., channels], colour_type)).astype(float)
        expected = numbers[..., 0] / 257 if channels[0:2] in ([0], [0, 3]) else numbers[..., :3] / 257
        if got.ndim == 3 and expected.ndim == 2:
            expected = expected[..., None]
        assert np.abs(got - expected).max() < 1.01, colour_type


def test_twelve_bits_that_a_tiff_states_fill_the_range() -> None:
    numbers = np.arange(0, 4096, 4095 // 15)[:16].reshape(4, 4)
    pairs = numbers.reshape(-1, 2)
    packed = b"".join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in pairs.tolist())
    got = shown(tiff(numbers, 12, packed=packed))
    assert np.array_equal(got, np.rint(numbers * 255 / 4095).astype(np.uint8)), got


def test_white_is_zero_in_16_bits() -> None:
    numbers = np.linspace(0, 65535, 36).reshape(6, 6).astype("<u2")
    plain, turned = shown(tiff(numbers, 16)), shown(tiff(numbers, 16, photometric=0))
    assert np.array_equal(turned, 255 - plain) and plain[0, 0] == 0 and plain[-1, -1] == 255


def test_signed_8_bits_are_refused() -> None:
    refused(
        tiff(GREY, 8, sample_format=2),
        "signed 8-bit numbers, which common loaders read as unsigned; expected unsigned",
    )


@pytest.mark.parametrize("maxval", [1, 100, 255, 1023, 4095, 65535])
@pytest.mark.parametrize("colour", [False, True])
def test_ppm_and_pgm_scale_by_their_largest_value(maxval: int, colour: bool) -> None:
    numbers = np.random.default_rng(1).integers(0, maxval + 1, (5, 7, 3) if colour else (5, 7))
    raw = (
        f"P{6 if colour else 5}\n7 5\n{maxval}\n".encode()
        + numbers.astype(">u2" if maxval > 255 else "u1").tobytes()
    )
    assert np.abs(shown(raw) - numbers * 255 / maxval).max() <= 1


@pytest.mark.parametrize(
    ("numbers", "given"),
    [
        (np.linspace(0, 1, 36).astype(np.float32), (0.0, 1.0)),
        (np.linspace(-1, 1, 36).astype(np.float32), (-1.0, 1.0)),
        (np.linspace(0, 70_000, 36).astype(np.int32), (0.0, 70_000.0)),
        (np.linspace(0, 4095, 36).astype(np.uint16), (0.0, 4095.0)),
    ],
)
def test_a_stated_range_settles_deep_pixels(numbers: np.ndarray, given: tuple[float, float]) -> None:
    raw = encoded(Image.fromarray(numbers.reshape(6, 6)), "TIFF")
    low, high = given
    expected = np.rint((numbers.astype(float) - low) / (high - low) * 255).reshape(6, 6)
    assert np.array_equal(shown(raw, Reading(value_range=given)), expected)
    if numbers.dtype != np.uint16:
        refused(raw, "of unknown range; .*--value-range BLACK WHITE")
    refused(raw, r"its numbers lie in \[.*expected \[0, 0.5\]", Reading(value_range=(0, 0.5)))


def test_a_range_that_nothing_needs_is_refused(tmp_path: Path) -> None:
    folder = folders_of(tmp_path, [encoded(Image.fromarray(GREY))] * 2, ".png")
    with pytest.raises(
        DataError, match="all images are of 8 bits, from 0 to 255; --value-range is for others: leave it out"
    ):
        read_dataset(folder, "mine", Reading(value_range=(0, 4095)))


def test_numbers_that_are_none_are_refused() -> None:
    numbers = np.linspace(0, 1, 36).reshape(6, 6).astype(np.float32)
    numbers[0, 0] = np.nan
    refused(
        encoded(Image.fromarray(numbers), "TIFF"), r"its numbers lie in \[nan", Reading(value_range=(0, 1))
    )


def test_a_set_whose_16_bits_hold_12_is_refused_until_told(tmp_path: Path) -> None:
    dark, bright = (np.linspace(0, top, 36).reshape(6, 6).astype(np.uint16) for top in (4095, 65535))
    folder = folders_of(tmp_path / "twelve", [encoded(Image.fromarray(dark))] * 2, ".png")
    with pytest.raises(
        DataError,
        match=r"the largest number in its 16-bit images is 4,095: 12 bits in 16, or dark.*--value-range",
    ):
        read_dataset(folder, "mine")
    result = read_dataset(folder, "mine", Reading(value_range=(0, 4095)))
    assert np.array_equal(result.train.images[0, 0].numpy(), np.rint(dark / 4095 * 255))
    mixed = read_dataset(
        folders_of(tmp_path / "mixed", [encoded(Image.fromarray(n)) for n in (dark, bright)], ".png"), "mine"
    )
    assert int(mixed.train.images[0].max()) == 15, "one dark image among others is dark"
    assert mixed.found and "of 16 bits were scaled to 8" in mixed.found.notes[0]


def test_grey_and_coloured_on_request_by_pillows_rule() -> None:
    assert np.array_equal(
        shown(encoded(Image.fromarray(COLOURS)), Reading(colour="grey")),
        np.asarray(Image.fromarray(COLOURS).convert("L")),
    )
    assert np.array_equal(
        shown(encoded(Image.fromarray(GREY)), Reading(colour="rgb")), GREY[..., None].repeat(3, 2)
    )


def test_grey_train_and_coloured_test_are_both_coloured_and_it_is_said(tmp_path: Path) -> None:
    for part, image in (("train", GREY), ("test", COLOURS)):
        (tmp_path / part / "a").mkdir(parents=True)
        (tmp_path / part / "a" / "0.png").write_bytes(encoded(Image.fromarray(image)))
    data = read_dataset(tmp_path, "mine")
    assert np.array_equal(data.train.images[0].numpy(), GREY[None].repeat(3, 0)) and data.found
    expected = (
        "images of one split are all grey, of the other coloured: grey ones became coloured; --colour grey"
        " makes all grey"
    )
    assert data.found.notes == (expected,)
