"""A sheet of example images, a row for each class, so that users can check pixels, labels and order."""

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from zooaudit.data.images import Dataset

ROWS, COLUMNS = 24, 10
LEAST_SIDE, MOST_SIDE = 48, 112
NAME_WIDTH, GAP = 150, 4


def sheet(dataset: Dataset) -> Image.Image:
    """The first training images of each class, at most 24 classes and 10 images of each,
    with the names of the classes."""
    count = min(dataset.num_classes, ROWS)
    _, height, width = dataset.image_shape
    tall, wide = _shown(height, width)
    page = Image.new("RGB", (NAME_WIDTH + COLUMNS * (wide + GAP), count * (tall + GAP)), "white")
    draw = ImageDraw.Draw(page)
    labels = dataset.train.labels.cpu()
    for cls in range(count):
        top = cls * (tall + GAP)
        draw.text((GAP, top + GAP), f"{cls} {dataset.classes[cls]}"[:24], fill="black")
        for column, row in enumerate((labels == cls).nonzero().flatten()[:COLUMNS].tolist()):
            picture = _picture(dataset.train.images[row : row + 1][0]).resize(
                (wide, tall), Image.Resampling.NEAREST
            )
            page.paste(picture, (NAME_WIDTH + column * (wide + GAP), top))
    return page


def _shown(height: int, width: int) -> tuple[int, int]:
    """Enlarge small images by a whole factor, so that every pixel is a square; shrink large ones."""
    side = max(height, width)
    if side > MOST_SIDE:
        return max(1, height * MOST_SIDE // side), max(1, width * MOST_SIDE // side)
    factor = -(-LEAST_SIDE // side) if side < LEAST_SIDE else 1
    return height * factor, width * factor


def _picture(image: Tensor) -> Image.Image:
    array = image.cpu().numpy()
    if len(array) not in (1, 3):
        array = array[:1]
    return Image.fromarray(array[0] if len(array) == 1 else np.ascontiguousarray(array.transpose(1, 2, 0)))
