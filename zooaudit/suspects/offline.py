"""Questions as files for somebody who can reach the suspect, and the answers that come back."""

import json
import os
import stat
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from zooaudit.errors import AnswersError, InputError
from zooaudit.outputs import check_new
from zooaudit.suspects.answer_rows import AnswerRows
from zooaudit.suspects.answer_tables import KIT
from zooaudit.suspects.answers import BY_ENDING, ENDINGS, FORMATS, MOST_BYTES, read
from zooaudit.suspects.naming import Form, Naming
from zooaudit.suspects.pictures import png

QUESTIONS = (".parquet", ".json", ".zip")
"""Endings of files of questions."""
README = """Ask your model each image and send back its answers, to each image, in a file of one of these
formats:

{formats}

query           the number in the image's name
probabilities   its {count} class probabilities, in this order: {classes}
label           instead, if it gives only a label: its name, or its number from 0

Without the column query, answers stand in the order of the images' numbers. These are questions of audit
kit {kit}.
"""


def note(kit: str, classes: tuple[str, ...]) -> str:
    """Instructions for the person who asks the questions."""
    formats = "\n".join(f"{f.ending:<9} {f.holds.replace('`', '')}" for f in FORMATS)
    return README.format(formats=formats, count=len(classes), classes=", ".join(classes), kit=kit)


def questions_table(images: Tensor, kit: str, classes: tuple[str, ...]) -> pa.Table:
    """Float images ``[n, c, h, w]`` as rows ``query`` (0 to n - 1) and ``image`` (c x h x w float32 in [0,
    1]); the schema's metadata has ``image_shape``, ``kit`` and ``classes``."""
    shape = list(images.shape[1:])
    flat = pa.FixedSizeListArray.from_arrays(
        pa.array(images.cpu().float().flatten().numpy()), int(np.prod(shape))
    )
    table = pa.table({"query": pa.array(np.arange(len(images)), pa.int32()), "image": flat})
    return table.replace_schema_metadata(
        {"image_shape": json.dumps(shape), KIT: kit, "classes": json.dumps(classes)}
    )


def questions_json(images: Tensor) -> bytes:
    """Questions as ``{"queries": [{"query": 0, "image": [...]}, ...]}``, pixels in [0, 1] with all digits of
    float32."""
    numbers: list[Any] = [[float(f"{v:.9g}") for v in image] for image in images.flatten(1).tolist()]
    shape = list(images.shape[1:])
    return json.dumps(
        {"image_shape": shape, "queries": [{"query": i, "image": v} for i, v in enumerate(numbers)]}
    ).encode()


def write_questions(path: Path, images: Tensor, kit: str, classes: tuple[str, ...]) -> None:
    """Write the questions as Parquet, as JSON, or as a zip of PNGs (8 bits a channel) with instructions.

    Raises:
        InputError: another ending, the file exists, or it cannot be written.
    """
    if path.suffix not in QUESTIONS:
        raise InputError(f"{path} ends in {path.suffix!r}; expected .parquet, .json, or .zip for PNG images")
    check_new(path)
    partial = path.with_name(f".partial-{path.name}")
    if path.suffix == ".parquet":
        pq.write_table(questions_table(images, kit, classes), partial)
    elif path.suffix == ".json":
        partial.write_bytes(questions_json(images))
    else:
        digits = len(str(len(images) - 1))
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("README.txt", note(kit, classes))
            for i, image in enumerate(images):
                archive.writestr(f"{i:0{digits}}.png", png(image))
    partial.replace(path)


def read_answers(path: Path, naming: Naming, kit: str) -> tuple[Tensor, Form]:
    """Answers in a file to the questions 0 to n - 1, float32 ``[n, K]`` in the kit's order
    of classes; and their form.

    Args:
        path: in one of :data:`~zooaudit.suspects.answers.FORMATS`, as its ending says.
        kit: refuse a file that names another kit (in a column or metadata ``kit``).

    Raises:
        InputError: there is no such file, or it cannot be read.
        AnswersError: not each of the first queries once, another kit's, or an unknown form.
    """
    return answers_in(path).rows(naming, kit)


def answers_in(path: Path) -> AnswerRows:
    """Read the answers in a file as they are.

    Raises:
        InputError: there is no such file, or it cannot be read.
    """
    form = BY_ENDING.get(path.suffix.lower())
    if form is None:
        raise InputError(f"{path} ends in {path.suffix!r}; expected answers as {ENDINGS}")
    try:
        return read(form, _content(path))
    except AnswersError:
        raise
    except (OSError, ValueError) as error:  # InputError is a ValueError
        raise InputError(
            f"{path} cannot be read ({str(error).splitlines()[0]}); expected answers as {ENDINGS}"
        ) from error


def _content(path: Path) -> bytes:
    """The content of a regular file within the size limit."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # do not wait for a pipe
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size > MOST_BYTES:
            raise ValueError(f"it is not a plain file of {MOST_BYTES:,} bytes at most")
        return file.read(MOST_BYTES)
