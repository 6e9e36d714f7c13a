"""Read answers to a kit's questions in every supported format: the one reader of the command line, the
service and its console.

The memory that a format takes is known before it is read. Parquet is the exception: it is unpacked in a
process of its own.
"""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from zooaudit.data import limited_parquet
from zooaudit.errors import AnswersError, InputError
from zooaudit.suspects.answer_rows import FLOAT32, AnswerRows
from zooaudit.suspects.answer_tables import KIT, QUERY, answers_of, column_of, from_stream, in_order

MOST_BYTES, MOST_TABLE_BYTES = 2**29, 2**27
"""Largest file of answers, and largest table in memory: 10,000 questions and 1,000 classes take half of
each."""


def _csv(body: bytes) -> AnswerRows:
    csv.field_size_limit(MOST_BYTES)
    rows = csv.DictReader(io.StringIO(body.decode("utf-8-sig")))
    return _from_objects([{str(k): _plain(v) for k, v in row.items()} for row in rows], rows.fieldnames or ())


def _plain(value: Any) -> Any:
    """CSV values: numbers and JSON lists are parsed, everything else is text."""
    try:
        return json.loads(value)
    except (TypeError, ValueError, RecursionError):
        return value


def _json(body: bytes) -> AnswerRows:
    found = json.loads(body, object_pairs_hook=_once)
    if isinstance(found, list) and all(isinstance(row, dict) for row in found):
        return _from_objects(found, list(found[0]) if found else ())
    given = (
        {k: found[k] for k in ("answers", "labels") if found.get(k) is not None}
        if isinstance(found, dict)
        else None
    )
    if given is None or not all(isinstance(v, list) for v in given.values()):
        what = (
            "a list"
            if isinstance(found, list)
            else f"a {type(found).__name__}"
            if given is None
            else "something else than lists"
        )
        raise AnswersError.of(
            what, '{"answers": [...]}, {"labels": [...]}, or [{"query": 0, "probabilities": [...]}, ...]'
        )
    if len(given) != 1:
        raise AnswersError.of(
            "both answers and labels" if given else "neither answers nor labels", "one of them"
        )
    if others := [ascii(name)[:40] for name in found if name not in ("answers", "labels")]:
        raise AnswersError.of(
            f"other fields than answers or labels: {', '.join(others[:5])}", "one of them, and nothing else"
        )
    return AnswerRows(next(iter(given.values())))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose fields occur once: of a repeated field, a plain parser would keep only the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise AnswersError.of("a field that is given twice", "each once")
    return found


def _from_objects(rows: list[dict[str, Any]], names: Sequence[str]) -> AnswerRows:
    """Rows from objects with ``query`` and an answer."""
    if not rows:
        raise AnswersError.of("no rows", "one for each query")
    column = column_of(names)
    order = in_order([row.get(QUERY) for row in rows])
    return AnswerRows(
        [rows[i].get(column) for i in order],
        [str(row[KIT]) for row in rows if row.get(KIT) not in (None, "")],
    )


def _npy(body: bytes) -> AnswerRows:
    """Numbers ``[n, K]``, or labels ``[n]``: whole numbers or names. The header is checked before anything is
    allocated."""
    file = io.BytesIO(body)
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of .npy")
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = header(file)
    rest = body[file.tell() :]
    count = 1
    for side in shape:
        count *= int(side)
    if (
        dtype.kind not in "fiuU"
        or (dtype.kind == "f" and dtype.itemsize > 8)
        or len(shape) not in (1, 2)
        or not dtype.itemsize
    ):
        raise AnswersError.of(
            f"{dtype} {shape}", "float [questions, classes], or labels [questions]: whole numbers, or names"
        )
    if count * dtype.itemsize != len(rest):
        raise ValueError(f"{len(rest):,} bytes of {dtype} {shape}")
    array = np.frombuffer(rest, dtype).reshape(shape, order="F" if fortran else "C")
    if array.ndim == 1:
        if dtype.kind == "f":
            raise AnswersError.of(
                f"{dtype} {shape}",
                "float [questions, classes], or labels [questions]: whole numbers, or names",
            )
        return AnswerRows(array.tolist())
    if dtype.kind == "U":
        raise AnswersError.of(f"{dtype} {shape}", "numbers, one a class in each row")
    with np.errstate(over="ignore", invalid="ignore"):
        return AnswerRows(torch.from_numpy(np.ascontiguousarray(array.astype(np.float32))))


def _raw(body: bytes) -> AnswerRows:
    if len(body) % FLOAT32.itemsize:
        raise AnswersError.of(f"{len(body):,} bytes", "little-endian float32: a multiple of 4 for each class")
    return AnswerRows(torch.from_numpy(np.frombuffer(body, FLOAT32).astype(np.float32)))


def _arrow(body: bytes) -> AnswerRows:
    return AnswerRows(*answers_of(from_stream(body)))


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        name, ending, media: its name for people, its file ending, its media type for HTTP.
        holds: what a file contains.
        read: None for Parquet, see ``read``.
    """

    name: str
    ending: str
    media: str
    holds: str
    read: Callable[[bytes], AnswerRows] | None


_BY_QUERY = '`[{"query": 0, "probabilities": [...]}, ...]`'
_ORDERED = '`{"answers": [[...], ...]}` or `{"labels": [...]}`'
FORMATS = (
    Format("CSV", ".csv", "text/csv", "columns `query` and `probabilities`, a JSON list, or `label`", _csv),
    Format("JSON", ".json", "application/json", f"{_BY_QUERY}; or in the questions' order {_ORDERED}", _json),
    Format(
        "Parquet",
        ".parquet",
        "application/vnd.apache.parquet",
        "columns `query` and `probabilities`, lists, or `label`",
        None,
    ),
    Format(
        "Arrow",
        ".arrow",
        "application/vnd.apache.arrow.stream",
        "a stream without compression; columns as of Parquet",
        _arrow,
    ),
    Format(
        "NumPy",
        ".npy",
        "application/x-npy",
        "floats `[questions, classes]` or labels `[questions]`, in the questions' order",
        _npy,
    ),
    Format(
        "float32",
        ".f32",
        "application/octet-stream",
        "bare little-endian float32, row by row, in the questions' order",
        _raw,
    ),
)
"""Every format of answers; docs/answers.md has this table."""
BY_ENDING: Mapping[str, Format] = {f.ending: f for f in FORMATS}
BY_MEDIA: Mapping[str, Format] = {f.media: f for f in FORMATS}
ENDINGS = ", ".join(BY_ENDING)


def read(form: Format, body: bytes, most: int | None = None, most_bytes: int | None = None) -> AnswerRows:
    """Read answers from bytes.

    Args:
        most, most_bytes: limits of rows, and of bytes in a Parquet file's table (``MOST_TABLE_BYTES``).

    Raises:
        AnswersError: the content is not answers.
        InputError: the content does not have this format.
        NotStarted: see :mod:`zooaudit.data.limited_parquet`.
    """
    try:
        if form.read is not None:
            return form.read(body)
        table, rows = limited_parquet.reader.table(
            body, limited_parquet.ROWS_ANY if most is None else most, most_bytes or MOST_TABLE_BYTES
        )
        if most is not None and rows > most:
            raise AnswersError.of(f"{rows:,} rows", f"1 to {most:,}, one a question")
        return AnswerRows(*answers_of(table))
    except AnswersError:
        raise
    except (
        ValueError,
        RecursionError,
        pa.ArrowException,
        csv.Error,
        SyntaxError,
        MemoryError,
        OverflowError,
    ) as error:
        data = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise InputError(f"not readable as {form.name} ({data}); expected {form.holds}") from error
