"""Images without labels that a user has beside the data: of another task, or those that the victim was asked.

A folder of image files (at any depth), a Parquet file or folder with a column ``image``, an ``.npz`` with ``images`` uint8, or a data
folder with ``train`` and ``test`` as :func:`~zooaudit.data.readers.read_dataset` takes it, of which the test images are taken.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from zooaudit.data.decode import decode_image, guard, short
from zooaudit.data.on_disk import in_memory
from zooaudit.data.readers import images_in, images_of, read_dataset
from zooaudit.errors import DataError

LEAST = 20
"""Fewest images that questions can be chosen from."""


def read_foreign(path: Path, shape: tuple[int, int, int]) -> Tensor:
    """Images of another task, made to fit: uint8 ``[n, c, h, w]`` of ``shape``, resized (bilinear, antialiased), grey or coloured as it is.

    Raises:
        DataError: nothing that can be read, or too few.
    """
    found = [_fitted(image, shape) for image in _read(path, "another task")]
    return torch.stack(found)


def read_log(path: Path, shape: tuple[int, int, int]) -> Tensor:
    """Images that the victim was asked, as it was asked them: uint8 ``[n, c, h, w]``, each of ``shape``.

    Raises:
        DataError: nothing that can be read, too few, or images of another shape.
    """
    found = _read(path, "the query log")
    strange = sorted({tuple(image.shape) for image in found} - {shape})
    if strange:
        raise DataError(
            f"{path}: the query log holds images of {short(strange)} (channels, height, width); the victim takes {shape}: "
            "give them as the victim was asked them"
        )
    return torch.stack(found)


def _read(path: Path, what: str) -> list[Tensor]:
    """Every image, uint8 ``[c, h, w]``, of whatever shapes."""
    if path.suffix == ".npz":
        found = list(images_of(path))
    elif path.suffix == ".parquet" or (path.is_dir() and any(path.glob("*.parquet")) and not (path / "train").exists()):
        found = _parquet([path] if path.is_file() else sorted(path.glob("*.parquet")))
    elif path.is_dir():
        files = images_in(path)
        found = [decode_image(p.read_bytes(), str(p)) for p in files] if files else list(in_memory(read_dataset(path, what).test.images))
    else:
        state = "is no folder, .parquet or .npz" if path.exists() else "does not exist"
        raise DataError(f"{path} {state}; expected images of {what}: a folder of image files, Parquet with a column image, or .npz")
    if len(found) < LEAST:
        raise DataError(f"{path} holds {len(found)} images of {what}; expected {LEAST} at least")
    return found


def _parquet(paths: list[Path]) -> list[Tensor]:
    found = []
    for path in paths:
        table = guard(path, "Parquet", pq.read_table)
        if "image" not in table.column_names:
            raise DataError(f"{path} has columns {short(table.column_names)}; expected image (struct<bytes, path>, or bytes)")
        for row, cell in enumerate(table.column("image")):
            raw = cell.as_py().get("bytes") if pa.types.is_struct(cell.type) and cell.is_valid else cell.as_py()
            if not isinstance(raw, bytes):
                raise DataError(f"{path} row {row}: image is {type(raw).__name__}; expected the bytes of an image")
            found.append(decode_image(raw, f"{path} row {row}"))
    return found


def _fitted(image: Tensor, shape: tuple[int, int, int]) -> Tensor:
    channels, height, width = shape
    unit = image.float()
    if len(unit) != channels:
        unit = unit.mean(0, keepdim=True) if channels == 1 else unit[:1].expand(channels, -1, -1)
    if tuple(unit.shape[1:]) != (height, width):
        unit = interpolate(unit[None], size=(height, width), mode="bilinear", antialias=True, align_corners=False)[0]
    return unit.round().clamp(0, 255).to(torch.uint8)
