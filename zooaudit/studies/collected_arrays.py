"""Arrays of a collection, read and checked."""

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zooaudit.errors import DataError, first_line
from zooaudit.suspects.blackbox import SUM_TOLERANCE


def read_arrays(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The named arrays of an .npz file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if missing := [n for n in names if n not in file.files]:
                raise DataError(f"{path} lacks {', '.join(missing)}; expected arrays {', '.join(names)}")
            return {name: file[name] for name in names}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} cannot be read ({first_line(error)}); expected a NumPy .npz file") from error


def read_images(path: Path, name: str, array: np.ndarray) -> Tensor:
    if array.dtype != np.uint8 or array.ndim not in (3, 4) or not len(array):
        raise DataError(
            f"{path}: {name} is {array.dtype} {list(array.shape)}; expected uint8 [n, h, w] or [n, c, h, w]"
        )
    return torch.from_numpy(array if array.ndim == 4 else array[:, None])


def read_probabilities(path: Path, name: str, array: np.ndarray, count: int) -> Tensor:
    if array.dtype != np.float32 or array.ndim != 2 or len(array) != count or array.shape[1] < 2:
        raise DataError(
            f"{path}: {name} is {array.dtype} {list(array.shape)}; expected float32 [{count}, classes]"
        )
    if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1 + SUM_TOLERANCE:
        raise DataError(
            f"{path}: {name} holds values that are not probabilities; expected finite numbers in [0, 1]"
        )
    return torch.from_numpy(array)
