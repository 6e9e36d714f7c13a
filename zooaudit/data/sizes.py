"""Resize images of any size to one, as torchvision and Pillow do."""

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from zooaudit.data.reading import Sizing

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def sized(image: Image.Image, sizing: Sizing) -> Image.Image:
    """An ``L`` or ``RGB`` image resized, with exactly the pixels of torchvision's ``Resize`` and
    ``CenterCrop``."""
    height, width = _target(image.height, image.width, sizing)
    scaled = (
        image if (image.height, image.width) == (height, width) else _scaled(image, height, width, sizing)
    )
    top, left = round((height - sizing.height) / 2.0), round((width - sizing.width) / 2.0)
    if (height, width) == (sizing.height, sizing.width):
        return scaled
    return scaled.crop((left, top, left + sizing.width, top + sizing.height))


def _target(height: int, width: int, sizing: Sizing) -> tuple[int, int]:
    """Height and width that the whole image is scaled to, before the crop."""
    if sizing.fit == "squash":
        return sizing.height, sizing.width
    side = min(sizing.height, sizing.width)
    grown = (sizing.shorter or side) / side
    tall, wide = round(sizing.height * grown), round(sizing.width * grown)
    if tall * width >= wide * height:
        return tall, max(wide, int(tall * width / height))
    return max(tall, int(wide * height / width)), wide


def _scaled(image: Image.Image, height: int, width: int, sizing: Sizing) -> Image.Image:
    if sizing.antialias:
        return image.resize((width, height), FILTERS[sizing.filter])
    array = torch.from_numpy(np.array(image))
    planes = (array[None] if array.ndim == 2 else array.permute(2, 0, 1)).float()
    made = interpolate(
        planes[None], size=(height, width), mode=sizing.filter, antialias=False, align_corners=False
    )[0]
    pixels = made.round().clamp(0, 255).to(torch.uint8).numpy()
    return Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
