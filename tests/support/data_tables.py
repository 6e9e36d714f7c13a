"""Images and a table of their labels."""

import csv
from pathlib import Path

from tests.support.makers import pixels, png

IMAGES = pixels(6, seed=12)
NAMES = ["cat", "ant", "bee", "cat", "ant", "bee"]


def pictures(folder: Path) -> Path:
    (folder / "img").mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(IMAGES):
        (folder / "img" / f"{i}.png").write_bytes(png(image))
    return folder


def table(folder: Path, rows: list[list[str]], suffix: str = ".csv", mark: str = ",") -> Path:
    """The same rows as train and test, beside the pictures."""
    pictures(folder)
    for part in ("train", "test"):
        with (folder / f"{part}{suffix}").open("w", newline="", encoding="utf-8-sig") as file:
            csv.writer(file, delimiter=mark).writerows(rows)
    return folder


def rows(*header: str, label: list[str] = NAMES) -> list[list[str]]:
    return [list(header), *([f"img/{i}.png", name] for i, name in enumerate(label))]
