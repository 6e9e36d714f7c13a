"""Image files as people have them: what other loaders would show of them, or a refusal;
never other pixels without a word."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.data_readers import class_folders
from tests.support.makers import pixels
from zooaudit.data.decode import decode_image
from zooaudit.data.readers import read_dataset
from zooaudit.data.unlabelled import read_log
from zooaudit.errors import DataError

COLOURS = pixels(1, channels=3, size=6)[0].transpose(1, 2, 0)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def shown(raw: bytes) -> np.ndarray:
    return decode_image(raw, "it").permute(1, 2, 0).numpy()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_its_exif_says(orientation: int) -> None:
    """By the definition of the eight values: which row and column of what is shown the
    first row and column of the file are."""
    wide = pixels(1, channels=3, size=6)[0, :, :4].transpose(1, 2, 0)
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = [
        wide,
        wide[:, ::-1],
        wide[::-1, ::-1],
        wide[::-1],
        wide.transpose(1, 0, 2),
        np.rot90(wide, -1),
        wide[::-1, ::-1].transpose(1, 0, 2),
        np.rot90(wide, 1),
    ][orientation - 1]
    assert np.array_equal(shown(encoded(Image.fromarray(wide), exif=exif)), turned)


def test_broken_exif_says_nothing_of_the_pixels() -> None:
    raw = encoded(
        Image.fromarray(COLOURS), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xffgarbage", quality=95
    )
    assert np.array_equal(shown(raw), shown(encoded(Image.fromarray(COLOURS), "JPEG", quality=95)))


def test_what_lies_behind_transparent_pixels_is_not_guessed() -> None:
    alpha = np.full((6, 6, 1), 255, dtype=np.uint8)
    opaque = Image.fromarray(np.concatenate([COLOURS, alpha], 2))
    assert np.array_equal(shown(encoded(opaque)), COLOURS)
    alpha[2, 3] = 254
    palette = Image.fromarray(COLOURS).quantize(4)
    for image, options in (
        (Image.fromarray(np.concatenate([COLOURS, alpha], 2)), {}),
        (palette, {"transparency": 0}),
    ):
        with pytest.raises(
            DataError, match=r"it: it has transparent pixels; expected none: put it on the background"
        ):
            decode_image(encoded(image, **options), "it")
    grey = Image.fromarray(COLOURS[..., 0])
    grey.putalpha(255)
    assert np.array_equal(shown(encoded(grey))[..., 0], COLOURS[..., 0]), "grey stays grey"


def test_a_palette_gives_its_colours() -> None:
    palette = Image.fromarray(COLOURS).quantize(256)
    assert np.array_equal(shown(encoded(palette)), np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize(("dtype", "kind"), [(np.float32, "floating-point"), (np.int32, "32-bit")])
def test_numbers_of_an_unknown_range_are_refused(dtype: type, kind: str) -> None:
    image = Image.fromarray(np.linspace(0, 1, 36).reshape(6, 6).astype(dtype))
    with pytest.raises(
        DataError, match=f"its pixels are {kind} numbers of unknown range; expected 8 or 16 bits"
    ):
        decode_image(encoded(image, "TIFF"), "it")


def test_hidden_and_system_files_are_no_images_and_no_classes(tmp_path: Path) -> None:
    plain, odd = (class_folders(tmp_path / name) for name in ("plain", "odd"))
    picture = (odd / "train" / "ant" / "000.png").read_bytes()
    for folder in (".ipynb_checkpoints", "__MACOSX", "ant/.ipynb_checkpoints", "ant/__MACOSX"):
        (odd / "train" / folder).mkdir(parents=True)
        (odd / "train" / folder / "000-checkpoint.png").write_bytes(picture)
    (odd / "train" / "ant" / "._000.png").write_bytes(b"\x00\x05\x16\x07")
    for name in (".DS_Store", "Thumbs.db"):
        (odd / "train" / "ant" / name).write_bytes(b"x")
    one, other = read_dataset(plain, "mine"), read_dataset(odd, "mine")
    assert other.classes == one.classes and torch.equal(one.train.images, other.train.images)
    assert torch.equal(one.train.labels, other.train.labels)


def test_hidden_and_system_files_are_no_images_of_a_log_either(tmp_path: Path) -> None:
    for i in range(25):
        (tmp_path / f"{i}.png").write_bytes(encoded(Image.fromarray(COLOURS)))
    (tmp_path / "._0.png").write_bytes(b"\x00\x05\x16\x07")
    assert len(read_log(tmp_path, (3, 6, 6))) == 25
