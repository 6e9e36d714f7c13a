"""Data of which all images together are too large for memory: looked at in a sample, and left on disk."""

import functools
import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from PIL import ImageFile
from torch import Tensor

from zooaudit.data.decode import decode_image, strictly
from zooaudit.data.folders import Undecoded
from zooaudit.data.met import Met
from zooaudit.data.on_disk import Files, ImagesOnDisk
from zooaudit.data.reading import PLAIN, Reading
from zooaudit.data.words import short
from zooaudit.errors import DataError

IN_MEMORY = 2 * 2**30
"""Bytes of decoded images that are held in memory. Fixed, and no share of what this machine has: data has another digest on disk."""
SAMPLE = 100
"""Images of each split that are looked at."""
KEPT = "decoded"
"""Folder of decoded images in the cache."""


def left_on_disk(both: Sequence[object], reading: Reading, met: Met, cache: Path) -> list[ImagesOnDisk] | None:
    """Train and test as images that are decoded when they are asked for; None if they fit in memory, or have no file each.

    Raises:
        DataError: the sample has several sizes, or the disk cannot hold what is decoded.
    """
    parts = [(part, part.files) for part in both if isinstance(part, Undecoded) and part.files is not None]
    if len(parts) < len(both):
        return None
    looked = Met()
    first = _decoded(parts[0][1], 0, reading, looked)
    count = sum(part.count for part, _ in parts)
    if count * first.numel() <= IN_MEMORY:
        return None
    shape = _shape([files for _, files in parts], reading, met, parts[0][0].where)
    total = count * torch.Size(shape).numel()
    decode = functools.partial(_as_all, reading=reading, channels=shape[0])
    kept = [cache / KEPT / _name(files, reading, shape) for _, files in parts]
    _check_space(cache, total - sum(p.stat().st_blocks * 512 for p in kept if p.exists()), count)
    met.note(
        f"{count:,} images of {short(shape)} are too many for memory: each is decoded when first asked for and kept in {cache / KEPT} "
        f"({total / 1e9:.1f} GB); sizes and kinds are of a sample of {sum(met.sizes.values()):,}"
    )
    how = repr(_of_pixels(reading))
    return [ImagesOnDisk(files, decode, shape, path, how=how) for (_, files), path in zip(parts, kept, strict=True)]


def _shape(splits: Sequence[Files], reading: Reading, met: Met, where: str) -> tuple[int, int, int]:
    """What all images seem to have: sizes must be alike, and all are coloured if one is."""
    shapes = set()
    for files in splits:
        for i in torch.linspace(0, len(files) - 1, min(SAMPLE, len(files))).long().tolist():
            shapes.add(tuple(_decoded(files, i, reading, met).shape))
    sizes = {shape[1:] for shape in shapes}
    if len(sizes) > 1:
        raise DataError(
            f"{where}: images have sizes {short(sorted(sizes))}; expected one size: --size HEIGHTxWIDTH brings them to one "
            "(as the victim's own loader does: see --fit, --shorter-side and --filter)"
        )
    height, width = sizes.pop()
    return max(shape[0] for shape in shapes), height, width


def _decoded(files: Files, index: int, reading: Reading, met: Met) -> Tensor:
    with strictly():
        return decode_image(*files.read(index), reading, met)


def _as_all(raw: bytes, where: str, reading: Reading, channels: int) -> Tensor:
    """One image with as many channels as all have."""
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # whatever a user's code has set; threads share it, so that nobody can put it back
    image = decode_image(raw, where, reading)
    if len(image) > channels:
        raise DataError(
            f"{where} is coloured, and the images that were looked at first are grey; expected all of one kind: --colour rgb, or grey"
        )
    return image.expand(channels, -1, -1) if len(image) < channels else image


def _of_pixels(reading: Reading) -> Reading:
    """What decides pixels."""
    return replace(
        PLAIN, sizing=reading.sizing, background=reading.background, colour=reading.colour, value_range=reading.value_range,
        ignore_exif=reading.ignore_exif,
    )  # fmt: skip


def _name(files: Files, reading: Reading, shape: tuple[int, int, int]) -> str:
    """Other files, times, or ways of reading have another place to be kept."""
    sha = hashlib.sha256(f"{_of_pixels(reading)} {shape}".encode())
    for path in files.paths:
        found = os.stat(path)
        sha.update(f"{os.path.abspath(path)} {found.st_size} {found.st_mtime_ns}\n".encode())
    return sha.hexdigest()[:24]


def _check_space(cache: Path, needed: int, count: int) -> None:
    place = next(p for p in (cache, *cache.absolute().parents) if p.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise DataError(
            f"{count:,} decoded images take {needed / 1e9:.1f} GB more in {cache}, which has {free / 1e9:.1f} GB left; expected that much: "
            "set ZOOAUDIT_CACHE to a folder on a larger disk, or give a smaller --size"
        )
