"""Images without labels that a user has besides the data: of another task, or those that the victim was
asked.

A folder of image files (at any depth), a zip of one, Parquet files with a column of images, an ``.npz`` or
``.npy``, WebDataset tar files, or a data folder with ``train`` and ``test`` as for
:func:`~zooaudit.data.readers.read_dataset`, whose test images are used.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from zooaudit.data.array_pixels import to_tensors
from zooaudit.data.arrays import images_in_file
from zooaudit.data.decode import decode_image, refuse_too_much, strictly
from zooaudit.data.folders import images_in
from zooaudit.data.messages import guard, short
from zooaudit.data.on_disk import in_memory
from zooaudit.data.parquet import encoded, likely_image
from zooaudit.data.parquet_columns import open_parquet
from zooaudit.data.pixels import refuse_dark_sixteen
from zooaudit.data.readers import read_dataset
from zooaudit.data.reading import PLAIN, Reading
from zooaudit.data.reading_notes import Met, found
from zooaudit.data.tars import images_of_tars
from zooaudit.data.zips import unpacked
from zooaudit.errors import DataError

LEAST = 20
"""Fewest images to choose questions from."""
STEP = 64 * 2**20
"""Bytes of images after which free memory is checked again."""
Say = Callable[[str], None]


def read_foreign(
    path: Path, shape: tuple[int, int, int], reading: Reading = PLAIN, say: Say = lambda _: None
) -> Tensor:
    """Images of another task, converted: uint8 ``[n, c, h, w]`` of ``shape``, resized (bilinear,
    antialiased), grey or coloured as ``shape`` requires.

    Raises:
        DataError: nothing can be read, or too few images.
    """
    sizes_left = replace(reading, sizing=None, colour="auto", classes="")  # images are converted anyway
    return torch.stack([_fitted(image, shape) for image in _read(path, "another task", sizes_left, say)])


def read_log(
    path: Path, shape: tuple[int, int, int], reading: Reading = PLAIN, say: Say = lambda _: None
) -> Tensor:
    """Images that the victim was asked, unchanged: uint8 ``[n, c, h, w]``, each of ``shape``.

    Raises:
        DataError: nothing can be read, too few images, or images of another shape.
    """
    images = _read(path, "the query log", replace(reading, classes=""), say)
    if shape[0] == 3:  # as in the data itself, grey images among coloured ones become coloured
        images = [image.expand(3, -1, -1) for image in images]
    strange = sorted({tuple(image.shape) for image in images} - {shape})
    if strange:
        raise DataError(
            f"{path}: the query log holds images of {short(strange)} (channels, height, width); the victim"
            f" takes {shape}: give them as the victim was asked them, or bring them to one size and colour as"
            " the data: --size, --colour"
        )
    return torch.stack(images)


def _read(path: Path, what: str, reading: Reading, say: Say) -> list[Tensor]:
    """All images, uint8 ``[c, h, w]``, of any shapes."""
    if path.suffix.lower() == ".zip" and path.is_file():
        with unpacked(path) as folder:
            return _read(folder, what, reading, say)
    met = Met()
    with strictly():
        images = _images(path, what, reading, met)
    refuse_dark_sixteen(met, str(path))
    for note in found(met, "").notes:
        say(f"{path}: {note}")
    if len(images) < LEAST:
        raise DataError(f"{path} holds {len(images)} images of {what}; expected {LEAST} at least")
    return images


def _images(path: Path, what: str, reading: Reading, met: Met) -> list[Tensor]:
    if not path.exists() or not (
        path.is_dir() or path.suffix.lower() in (".npz", ".npy", ".parquet", ".tar")
    ):
        state = "is not a folder, .parquet or .npz" if path.exists() else "does not exist"
        raise DataError(
            f"{path} {state}; expected images of {what}: a folder of image files, Parquet with a column"
            " image, .npz, .npy, .tar or .zip"
        )
    if path.suffix.lower() in (".npz", ".npy") and path.is_file():
        return list(to_tensors([images_in_file(path)], reading, met)[0])
    found_in = [path] if path.is_file() else [p for p in sorted(path.iterdir()) if not p.name.startswith(".")]
    for suffix, read in ((".parquet", _parquet), (".tar", images_of_tars)):
        files = [p for p in found_in if p.suffix.lower() == suffix]
        if files and not (path / "train").exists():
            return _held(
                (decode_image(raw, where, reading, met) for raw, where in read(files, reading, met)),
                path,
                what,
            )
    if files := images_in(path, met):
        return _held(
            (decode_image(guard(p, "image", Path.read_bytes), str(p), reading, met) for p in files),
            path,
            what,
        )
    return list(in_memory(read_dataset(path, what, reading).test.images))


def _held(images: Iterator[Tensor], path: Path, what: str) -> list[Tensor]:
    """All images, as long as there is as much memory again, which stacking them takes."""
    held, size, checked = [], 0, 0
    for image in images:
        held.append(image)
        size += image.numel()
        if size >= checked:
            refuse_too_much(
                size + STEP,
                f"{path}: more than {len(held):,} images of {what} (fewer are enough), put together,",
            )
            checked = size + STEP
    return held


def _parquet(paths: list[Path], reading: Reading, _: Met) -> Iterator[tuple[bytes, str]]:
    files = [open_parquet(path) for path in paths]
    image = likely_image(files[0], reading.image_column)
    return encoded(files, image, paths[0].parent, reading.outside)


def _fitted(image: Tensor, shape: tuple[int, int, int]) -> Tensor:
    channels, height, width = shape
    unit = image.float()
    if len(unit) != channels:
        unit = unit.mean(0, keepdim=True) if channels == 1 else unit[:1].expand(channels, -1, -1)
    if tuple(unit.shape[1:]) != (height, width):
        unit = interpolate(
            unit[None], size=(height, width), mode="bilinear", antialias=True, align_corners=False
        )[0]
    return unit.round().clamp(0, 255).to(torch.uint8)
