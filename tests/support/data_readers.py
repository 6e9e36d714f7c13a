"""The same few images in each layout that is read."""

from pathlib import Path

import numpy as np

from tests.support.makers import pixels, png

TRAIN, TEST = pixels(12, seed=1), pixels(6, seed=2)
TRAIN_LABELS, TEST_LABELS = np.arange(12) % 3, np.arange(6) % 3
Parts = list[tuple[str, np.ndarray, np.ndarray]]
PARTS: Parts = [("train", TRAIN, TRAIN_LABELS), ("test", TEST, TEST_LABELS)]


def class_folders(folder: Path, parts: Parts = PARTS) -> Path:
    for part, images, labels in parts:
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            path = folder / part / ["ant", "bee", "cat"][label] / f"{i:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(image))
    return folder


def npz_files(folder: Path, parts: Parts = PARTS) -> Path:
    for part, images, labels in parts:
        np.savez(
            folder / f"{part}.npz",
            images=images[:, 0],
            labels=labels,
            classes=np.array(["ant", "bee", "cat"]),
        )
    return folder
