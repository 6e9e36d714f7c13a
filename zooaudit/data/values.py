"""The meaning of the numbers in arrays, and in images of more than 8 bits: scaled to 0 to 255 if it is
certain, else refused."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from zooaudit.errors import DataError

FLAG = "state black and white: --value-range BLACK WHITE, for example 0 1, 0 255, -1 1 or 0 4095"
STEP = 2**21
"""Numbers scaled at a time: floats of all would be many times the result."""


def to_bytes(numbers: np.ndarray, black: float, white: float, where: str) -> np.ndarray:
    """Numbers from ``black`` to ``white`` as uint8 0 to 255, rounded; of any shape.

    Raises:
        DataError: some lie outside.
    """
    if numbers.size:
        refuse_outside((float(numbers.min()), float(numbers.max())), black, white, where)
    scaled = (numbers.astype(np.float64) - black) * (255.0 / (white - black))
    return np.asarray(np.rint(scaled).clip(0, 255).astype(np.uint8))


def refuse_outside(ends: tuple[float, float], black: float, white: float, where: str) -> None:
    """Refuse numbers beyond black and white.

    Raises:
        DataError: ``ends``, the lowest and the highest number, lie outside.
    """
    low, high = ends
    slack = (white - black) * 1e-4
    if not (np.isfinite([low, high]).all() and low >= black - slack and high <= white + slack):
        raise DataError(
            f"{where}: its numbers lie in [{low:g}, {high:g}]; expected [{black:g}, {white:g}]; {FLAG}"
        )


def all_to_bytes(numbers: np.ndarray, black: float, white: float, where: str) -> np.ndarray:
    """As :func:`to_bytes`, a few images at a time."""
    made = np.empty(numbers.shape, np.uint8)
    rows = max(1, STEP // max(1, made[:1].size))
    for start in range(0, len(numbers), rows):
        made[start : start + rows] = to_bytes(numbers[start : start + rows], black, white, where)
    return made


@dataclass(frozen=True)
class Extent:
    """The numbers of one array: their type, the number and shape of its images, the lowest and the highest;
    None without images."""

    kind: np.dtype
    shape: tuple[int, ...]
    ends: tuple[float, float] | None


def extent(kind: np.dtype, shape: tuple[int, ...], blocks: Iterable[np.ndarray]) -> Extent:
    """The extent of an array that comes in ``blocks``; a NaN in it makes both ends NaN."""
    ends = np.array([(float(block.min()), float(block.max())) for block in blocks if block.size])
    return Extent(kind, shape, (float(ends[:, 0].min()), float(ends[:, 1].max())) if len(ends) else None)


def certain_range(arrays: Sequence[Extent], where: str) -> tuple[float, float]:
    """The values of black and white in the arrays of one data set, all parts together.

    Raises:
        DataError: several ranges are possible, or none; or there are NaN.
    """
    kind = arrays[0].kind
    if len({array.kind.kind for array in arrays}) > 1:
        kinds = " and ".join(f"{array.kind} {array.shape}" for array in arrays)
        raise DataError(f"{where}: images are {kinds}; expected one type in train and test")
    if kind == np.bool_:
        return 0.0, 1.0
    if kind.kind not in "uif":
        raise DataError(f"{where}: images are {kind}; expected numbers")
    full = [array.ends for array in arrays if array.ends]
    if not full:
        return 0.0, 255.0
    low, high = (float(end) for end in (np.min(full, 0)[0], np.max(full, 0)[1]))
    if not np.isfinite([low, high]).all():
        raise DataError(
            f"{where}: images hold numbers that are not finite; expected none: repair or leave out these"
            " images"
        )
    for black, white in _plausible(kind, low, high):
        return black, white
    raise DataError(
        f"{where}: images are {kind} from {low:g} to {high:g}, which more than one range fits; {FLAG}"
    )


def _plausible(kind: np.dtype, low: float, high: float) -> list[tuple[float, float]]:
    """The one range that the numbers fill, or nothing."""
    if kind.kind == "f" and low >= 0 and low < 0.1 and 0.9 < high <= 1:
        return [(0.0, 1.0)]
    if kind.kind == "f" and low == -1 and high == 1:
        return [(-1.0, 1.0)]
    if 0 <= low < 56 and 199 < high <= 255:
        return [(0.0, 255.0)]
    if kind == np.uint16 and high > 60_000:
        return [(0.0, 65535.0)]
    return []
