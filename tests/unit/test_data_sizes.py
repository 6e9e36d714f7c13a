"""--size: to the pixel what torchvision's transforms give on Pillow's images."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from tests.support.data_folders import encoded, folders_of
from tests.support.makers import pixels
from zooaudit.data.decode import decode_image
from zooaudit.data.readers import read_dataset
from zooaudit.data.reading import Reading, Sizing, parse_colour, parse_sizing
from zooaudit.errors import ConfigError, DataError

MODES = {
    "nearest": v2.InterpolationMode.NEAREST,
    "bilinear": v2.InterpolationMode.BILINEAR,
    "bicubic": v2.InterpolationMode.BICUBIC,
    "box": v2.InterpolationMode.BOX,
    "lanczos": v2.InterpolationMode.LANCZOS,
}
SHAPES = [(20, 31), (31, 20), (15, 15), (16, 16), (9, 40), (17, 16), (33, 64)]


def picture(height: int, width: int, channels: int = 3) -> Image.Image:
    made = np.random.default_rng(height * 100 + width).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return Image.fromarray(made if channels == 3 else made[..., 0])


def resized(image: Image.Image, sizing: Sizing) -> torch.Tensor:
    return decode_image(encoded(image), "it", Reading(sizing=sizing))


@pytest.mark.parametrize("filter_", MODES)
@pytest.mark.parametrize("shorter", [0, 20])
def test_resize_and_centre_crop_are_torchvisions(filter_: str, shorter: int) -> None:
    theirs = v2.Compose([v2.Resize(shorter or 16, MODES[filter_]), v2.CenterCrop(16), v2.PILToTensor()])
    for shape in SHAPES:
        for channels in (1, 3):
            image = picture(*shape, channels)
            ours = resized(image, Sizing(16, 16, shorter=shorter, filter=filter_))
            assert torch.equal(ours, theirs(image)), (shape, channels)


@pytest.mark.parametrize("filter_", MODES)
def test_squashing_is_torchvisions_resize_to_height_and_width(filter_: str) -> None:
    theirs = v2.Compose([v2.Resize((12, 18), MODES[filter_]), v2.PILToTensor()])
    for shape in SHAPES:
        image = picture(*shape)
        assert torch.equal(resized(image, Sizing(12, 18, fit="squash", filter=filter_)), theirs(image))


@pytest.mark.parametrize("filter_", ["bilinear", "bicubic"])
def test_without_antialias_it_is_torchvisions_on_tensors(filter_: str) -> None:
    for shape in SHAPES:
        image = picture(*shape)
        tensor = v2.functional.pil_to_tensor(image).float()
        theirs = v2.functional.resize(tensor, [12, 18], MODES[filter_], antialias=False)
        ours = resized(image, Sizing(12, 18, fit="squash", filter=filter_, antialias=False))
        assert (ours.float() - theirs.float().clamp(0, 255)).abs().max() <= 0.5


def test_a_crop_that_is_no_square_covers_its_size() -> None:
    for shape in SHAPES:
        image = picture(*shape)
        ours = resized(image, Sizing(12, 18))
        scale = max(12 / image.height, 18 / image.width)
        size = max(18, int(image.width * scale)), max(12, int(image.height * scale))
        assert ours.shape == (3, 12, 18)
        assert torch.equal(
            ours,
            v2.functional.pil_to_tensor(
                v2.functional.center_crop(image.resize(size, Image.Resampling.BILINEAR), [12, 18])
            ),
        )


def test_mixed_sizes_are_refused_with_the_flag_and_read_with_it(tmp_path: Path) -> None:
    images = [picture(20, 31), picture(31, 20)]
    folder = folders_of(tmp_path, [encoded(i) for i in images], ".png")
    with pytest.raises(
        DataError,
        match=r"sizes \(20, 31\), \(31, 20\); expected one size: --size HEIGHTxWIDTH brings them to one",
    ):
        read_dataset(folder, "mine")
    sizing = Sizing(16, 16)
    data = read_dataset(folder, "mine", Reading(sizing=sizing))
    assert torch.equal(data.train.images, torch.stack([resized(i, sizing) for i in images]))
    assert (
        data.found
        and data.found.sizing == "scaled to a shorter side of 16 (bilinear), the middle 16x16 cut out"
    )
    assert data.found.sizes == (((20, 31), 2), ((31, 20), 2))


def test_a_size_is_in_the_digest_only_where_it_changed_something(tmp_path: Path) -> None:
    folder = folders_of(tmp_path, [encoded(picture(16, 16))] * 2, ".png")
    plain, same = read_dataset(folder, "mine"), read_dataset(folder, "mine", Reading(sizing=Sizing(16, 16)))
    assert plain.digest == same.digest and same.found and same.found.sizing == ""
    black = folders_of(tmp_path / "black", [encoded(Image.new("L", (20, 20)))] * 2, ".png")
    crop, squash = (
        read_dataset(black, "mine", Reading(sizing=Sizing(16, 16, fit=fit))) for fit in ("crop", "squash")
    )
    assert torch.equal(crop.train.images, squash.train.images) and crop.digest != squash.digest
    assert crop.to("cpu").digest == crop.digest


def test_arrays_are_resized_alike(tmp_path: Path) -> None:
    images = pixels(4, channels=3, size=20)
    for part in ("train", "test"):
        np.savez(tmp_path / f"{part}.npz", images=images, labels=[0, 1, 0, 1])
    sizing = Sizing(9, 9, filter="bicubic")
    data = read_dataset(tmp_path, "mine", Reading(sizing=sizing))
    assert torch.equal(
        data.train.images,
        torch.stack([resized(Image.fromarray(i.transpose(1, 2, 0)), sizing) for i in images]),
    )


@pytest.mark.parametrize(
    ("size", "fit", "shorter", "filter_", "antialias", "message"),
    [
        (
            "0",
            "crop",
            None,
            "bilinear",
            True,
            "--size 0: expected one side, 224, or height and width, 224x192",
        ),
        ("big", "crop", None, "bilinear", True, "--size big"),
        ("99999", "crop", None, "bilinear", True, "each from 1 to 4096"),
        (None, "squash", None, "bilinear", True, "say how to come to --size, but that is missing"),
        ("64", "crop", 32, "bilinear", True, "--shorter-side 32: expected 64 to 4096"),
        ("64", "squash", 80, "bilinear", True, "with --fit crop"),
        (
            "64",
            "crop",
            None,
            "lanczos",
            False,
            "--no-antialias goes with --filter bilinear or bicubic, not lanczos",
        ),
    ],
)
def test_sizes_that_make_no_sense(
    size: str | None, fit: str, shorter: int | None, filter_: str, antialias: bool, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_sizing(size, fit, shorter, filter_, antialias)


def test_colours_and_sizes_as_they_are_written() -> None:
    assert parse_colour("#ff8000") == (255, 128, 0) and parse_colour("white") == (255, 255, 255)
    for text in ("whitish", "#ffffff80"):
        with pytest.raises(ConfigError, match=rf"--background {text}: expected an opaque colour"):
            parse_colour(text)
    assert parse_sizing("224X192", "crop", 256, "bicubic", True) == Sizing(
        224, 192, shorter=256, filter="bicubic"
    )
