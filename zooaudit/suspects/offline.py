"""Questions as files for whoever can reach the suspect, and the answers that come back."""

import csv
import io
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

from zooaudit.data.limited_parquet import reader
from zooaudit.errors import AnswersError, InputError
from zooaudit.outputs import check_new
from zooaudit.suspects.naming import Form, Naming
from zooaudit.suspects.pictures import png

FORMATS = (".parquet", ".zip")
ANSWER_FORMATS = (".parquet", ".csv", ".json")
KIT = "kit"
MOST_BYTES, MOST_TABLE_BYTES = 2**29, 2**27
"""Of a file of answers, and of a table in memory: 10,000 questions and 1,000 classes take half of either."""
ANSWERS = ("probabilities", "answer", "label")
"""Columns that may hold the answers: lists of numbers, anything that ``Naming`` knows, or bare labels."""
README = """Ask your model each image, in any order, and send back a table (Parquet, CSV or JSON) with the columns
  query           the number in the image's name
  probabilities   its {count} class probabilities, in this order: {classes}
or, if it tells only a label, the column label. These are questions of audit kit {kit}.
"""


def questions_table(images: Tensor, kit: str, classes: tuple[str, ...]) -> pa.Table:
    """Float images ``[n, c, h, w]`` as rows ``query`` (0 to n - 1) and ``image`` (c x h x w float32 in [0, 1]); the schema's metadata has
    ``image_shape``, ``kit`` and ``classes``."""
    shape = list(images.shape[1:])
    flat = pa.FixedSizeListArray.from_arrays(pa.array(images.cpu().float().flatten().numpy()), int(np.prod(shape)))
    table = pa.table({"query": pa.array(np.arange(len(images)), pa.int32()), "image": flat})
    return table.replace_schema_metadata({"image_shape": json.dumps(shape), KIT: kit, "classes": json.dumps(classes)})


def write_questions(path: Path, images: Tensor, kit: str, classes: tuple[str, ...]) -> None:
    """Write the questions as Parquet, or as a zip of PNGs (8 bits a channel) with a note for whoever asks them.

    Raises:
        InputError: another ending, there is a file of that name, or it cannot be written.
    """
    if path.suffix not in FORMATS:
        raise InputError(f"{path} ends in {path.suffix!r}; expected .parquet, or .zip for PNG images")
    check_new(path)
    partial = path.with_name(f".partial-{path.name}")
    if path.suffix == ".parquet":
        pq.write_table(questions_table(images, kit, classes), partial)
    else:
        digits = len(str(len(images) - 1))
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("README.txt", README.format(count=len(classes), classes=", ".join(classes), kit=kit))
            for i, image in enumerate(images):
                archive.writestr(f"{i:0{digits}}.png", png(image))
    partial.replace(path)


def read_answers(path: Path, naming: Naming, kit: str) -> tuple[Tensor, Form]:
    """Answers to the questions 0 to n - 1, float32 ``[n, K]`` in the kit's order of classes; and their form.

    Args:
        path: Parquet, CSV or JSON (a list of objects) with ``query`` and one of ``ANSWERS``; in CSV a list is written as JSON.
        kit: whose questions they must be, where the file says it (a column or metadata ``kit``).

    Raises:
        InputError: no such file, or it cannot be read.
        AnswersError: not each of the first queries once, another kit's, or answers of no known form.
    """
    rows = _rows(path)
    if not rows:
        raise AnswersError.of("no rows", "one for each query")
    column = next((c for c in ANSWERS if c in rows[0]), None)
    if column is None or "query" not in rows[0]:
        raise AnswersError.of(f"the columns {', '.join(rows[0])}", f"query and one of {', '.join(ANSWERS)}")
    if others := {str(r[KIT]) for r in rows if r.get(KIT) not in (None, "", kit)}:
        raise AnswersError.of(f"answers to the questions of kit {', '.join(sorted(others))}", f"those of kit {kit}")
    return naming.rows([r.get(column) for r in _in_order(rows)])


def width(path: Path) -> int | None:
    """How many numbers the first answer of a file is; None if it is something else than a list of numbers.

    Raises:
        InputError: no such file, or it cannot be read.
    """
    rows = _rows(path)
    answer = next((rows[0][c] for c in ANSWERS if c in rows[0]), None) if rows else None
    return len(answer) if isinstance(answer, list) and answer and all(isinstance(n, int | float) for n in answer) else None


def _in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    numbers = [r.get("query") for r in rows]
    for number in numbers:
        if not isinstance(number, int) or isinstance(number, bool):
            raise AnswersError.of(f"the query {str(number)[:40]!r}", "the number of the question, from 0")
    if len(set(numbers)) < len(numbers):
        twice = next(n for n in numbers if numbers.count(n) > 1)
        raise AnswersError.of(f"query {twice} {numbers.count(twice)} times", "each once")
    if missing := sorted(set(range(len(rows))) - set(numbers)):
        raise AnswersError.of(f"{len(rows)} rows but no query {missing[0]}", "the first queries without a gap: 0, 1, 2, ...")
    return sorted(rows, key=lambda r: r["query"])


def _rows(path: Path) -> list[dict[str, Any]]:
    if path.suffix not in ANSWER_FORMATS:
        raise InputError(f"{path} ends in {path.suffix!r}; expected answers as {', '.join(ANSWER_FORMATS)}")
    try:
        if path.suffix == ".parquet":
            table, _ = reader.table(_content(path), most_bytes=MOST_TABLE_BYTES)
            said = (table.schema.metadata or {}).get(KIT.encode(), b"").decode()
            return [{KIT: said, **row} for row in table.to_pylist()]
        text = _content(path).decode()
        if path.suffix == ".csv":
            return [{str(k): _plain(v) for k, v in row.items()} for row in csv.DictReader(io.StringIO(text))]
        found = json.loads(text)
    except (OSError, UnicodeDecodeError, ValueError, RecursionError, pa.ArrowException, csv.Error) as error:  # DataError is a ValueError
        raise InputError(
            f"{path} cannot be read ({str(error).splitlines()[0]}); expected answers as {', '.join(ANSWER_FORMATS)}"
        ) from error
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise InputError(f'{path} holds no list of objects; expected [{{"query": 0, "probabilities": [...]}}, ...]')
    return found


def _content(path: Path) -> bytes:
    """A plain file's, if it is no larger than answers can be."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # a pipe must not make us wait
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size > MOST_BYTES:
            raise ValueError(f"it is no plain file of {MOST_BYTES:,} bytes at most")
        return file.read(MOST_BYTES)


def _plain(value: Any) -> Any:
    """Of CSV: numbers and JSON lists as such, everything else as text."""
    try:
        return json.loads(value)
    except (TypeError, ValueError, RecursionError):
        return value
