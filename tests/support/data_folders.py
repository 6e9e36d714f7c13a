"""Images in folders."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.makers import pixels, png
from zooaudit.data.images import Dataset
from zooaudit.data.readers import read_dataset
from zooaudit.data.reading import Reading
from zooaudit.errors import DataError


def tree(folder: Path, names: list[str], test_names: list[str] | None = None) -> Path:
    """Two images a class and part; their first pixel says which class."""
    for part, classes in (("train", names), ("test", names if test_names is None else test_names)):
        for name in classes:
            place = folder / part / name
            place.mkdir(parents=True)
            for i in range(2):
                image = pixels(1, seed=i)[0]
                image[0, 0, 0] = names.index(name) if name in names else 255
                (place / f"{i}.png").write_bytes(png(image))
    return folder


def refused(folder: Path, *expected: str, reading: Reading | None = None) -> None:
    with pytest.raises(DataError) as caught:
        read_dataset(folder, "mine", reading or Reading())
    for text in expected:
        assert text in str(caught.value), str(caught.value)


def told(data: Dataset) -> str:
    assert data.found
    return " | ".join(data.found.notes)


def class_folder(
    place: Path, sizes: tuple[tuple[int, int], ...] = ((8, 8),), channels: tuple[int, ...] = (3,)
) -> Path:
    dice = np.random.default_rng(0)
    for part, count in (("train", 12), ("test", 6)):
        for label in range(3):
            (place / part / f"c{label}").mkdir(parents=True)
            for i in range(count):
                size, depth = sizes[i % len(sizes)], channels[i % len(channels)]
                (place / part / f"c{label}" / f"{i:02}.png").write_bytes(
                    png(dice.integers(0, 256, (depth, *size), dtype=np.uint8))
                )
    return place


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def folders_of(folder: Path, images: list[bytes], suffix: str) -> Path:
    for part in ("train", "test"):
        for i, raw in enumerate(images):
            place = folder / part / "ab"[i % 2]
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{i}{suffix}").write_bytes(raw)
    return folder
