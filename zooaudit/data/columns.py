"""Which column of a table holds the images and which the labels: found by name and type, or refused with the
option that chooses it."""

import re
from collections.abc import Sequence

import numpy as np

from zooaudit.data.messages import short
from zooaudit.data.reading_notes import Met
from zooaudit.errors import DataError

IMAGE_NAMES = ("image", "img", "images", "picture", "photo")
PATH_NAMES = (
    "path",
    "file_name",
    "filename",
    "file",
    "filepath",
    "file_path",
    "image_path",
    "img_path",
    "image_id",
    "id",
)
NUMBERS = ("image_id", "id")
"""Names of columns with paths, used only if there is no better one."""
LABEL_NAMES = (
    "label",
    "labels",
    "fine_label",
    "class",
    "class_name",
    "class_label",
    "target",
    "category",
    "cls",
    "y",
)


def image_column(asked: str, likely: Sequence[str], columns: Sequence[str], where: str, kinds: str) -> str:
    """The column of the images.

    Args:
        asked: the value of ``--image-column``, or "".
        likely: columns whose type an image may have.
        kinds: these types, for errors.

    Raises:
        DataError: there is none, or more than one.
    """
    if asked:
        return _asked(asked, columns, where, "--image-column")
    named = [name for name in (*IMAGE_NAMES, *PATH_NAMES) if name in likely]
    better = [name for name in named if name not in NUMBERS]
    first = [name for name in named if name in IMAGE_NAMES] or better or named or list(likely)
    if len(first) == 1:
        return first[0]
    found = (
        f"{short(first)} may all be images"
        if first
        else f"has columns {short(columns)}, and none of them holds {kinds}"
    )
    raise DataError(f"{where}: {found}; expected one column of images: --image-column NAME")


def label_column(asked: str, likely: Sequence[str], columns: Sequence[str], where: str, met: Met) -> str:
    """The column of the labels; ``likely`` are those that may hold labels, if no name shows it.

    Raises:
        DataError: there is none, or more than one.
    """
    if asked:
        return _asked(asked, columns, where, "--label-column")
    named = [name for name in LABEL_NAMES if name in columns]
    if {"label", "labels"} <= set(named):
        raise DataError(
            f"{where}: label and labels may both be labels; expected one column of labels: --label-column"
            " NAME"
        )
    if named:
        others = [
            n for n in columns if n in named[1:] or (n != named[0] and n.endswith(("_label", "_class")))
        ]
        if others:
            met.note(
                f"labels are those of the column {named[0]}; there is also {short(others)}: --label-column"
                " chooses one"
            )
        return named[0]
    if len(likely) == 1:
        return likely[0]
    found = (
        f"{short(likely)} may all be labels"
        if likely
        else f"has columns {short(columns)}, and none of them holds labels"
    )
    raise DataError(f"{where}: {found}; expected one column of labels: --label-column NAME")


def _asked(asked: str, columns: Sequence[str], where: str, option: str) -> str:
    if asked not in columns:
        raise DataError(f"{where} has columns {short(columns)}; there is no {option} {asked}")
    return asked


WHOLE = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,17})(?:\.0+)?")


def as_labels(texts: Sequence[str]) -> list[int] | list[str]:
    """Numbers if all are whole numbers as a program writes them (``7``, ``7.0``), else names."""
    if all(WHOLE.fullmatch(text) for text in texts):
        return [int(text.partition(".")[0]) for text in texts]
    return list(texts)


def whole_numbers(values: np.ndarray, where: str) -> np.ndarray:
    """Labels that are numbers, as int64.

    Raises:
        DataError: there is a fraction among them.
    """
    if values.dtype.kind == "f" and not (np.isfinite(values).all() and (values == np.rint(values)).all()):
        raise DataError(
            f"{where}: labels {values.dtype} are not whole numbers; expected the number of a class for every"
            " image"
        )
    return values.astype(np.int64)
