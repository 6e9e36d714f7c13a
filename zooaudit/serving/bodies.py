"""Read answers from a request's body: by the one reader, :mod:`zooaudit.suspects.answers`, and the simplest
bodies faster.

Every format becomes float32 ``[n, K]``: row i answers question i.
"""

import codecs
import io
from collections.abc import Sequence
from http import HTTPStatus

import numpy as np
import pyarrow as pa
import simdjson
import torch
from torch import Tensor

from zooaudit.data.limited_parquet import NotStarted
from zooaudit.errors import AnswersError, InputError
from zooaudit.serving.problems import Refused
from zooaudit.suspects.answers import BY_ENDING, BY_MEDIA, read
from zooaudit.suspects.naming import Naming

JSON, RAW, ARROW, PARQUET = (BY_ENDING[ending].media for ending in (".json", ".f32", ".arrow", ".parquet"))
ZIP = "application/zip"
ACCEPTED = tuple(BY_MEDIA)
BYTES_A_NUMBER, BYTES_AROUND = 64, 65536
"""Bytes of a number in JSON: digits, brackets and indentation."""
TABLE_BYTES_A_NUMBER = 32
"""Bytes of a number in a Parquet file's table, of which eight are needed: enough to report a list that is
slightly too long as such."""
INLINE_BYTES = 2**19
"""Bodies up to this size, in a simple form, are read in the event loop: 20 views, N=100, K=10 as JSON take 3
ms."""


def most_bytes(rows: int, num_classes: int) -> int:
    """The largest body that this many answers can reasonably have."""
    return BYTES_A_NUMBER * rows * num_classes + BYTES_AROUND


def read_rows(kind: str, body: bytes, classes: Sequence[str], most: int, kit: str = "") -> Tensor:
    """The answers in a body, float32 ``[n, K]``; their values are not checked.

    Args:
        kind: the media type, one of ``ACCEPTED``.
        most: the most rows.
        kit: refuse a body that names another kit.

    Raises:
        Refused: 400, the body is not of its type; 503, there is no process to read it.
        AnswersError: another layout, or other rows.
    """
    fast = read_json_fast(body, len(classes)) if kind == JSON else None
    return read_carefully(kind, body, classes, most, kit) if fast is None else _at_most(fast, most)


def read_fast(kind: str, body: bytes, classes: Sequence[str], most: int, kit: str = "") -> Tensor | None:
    """As ``read_rows``, if it takes a few milliseconds at most; None if it may take longer, or if the body's
    form is wrong."""
    if len(body) > INLINE_BYTES or kind not in (JSON, RAW, ARROW):
        return None
    if kind != JSON:
        return read_rows(kind, body, classes, most, kit)
    rows = read_json_fast(body, len(classes))
    return None if rows is None else _at_most(rows, most)


def _at_most(rows: Tensor, most: int) -> Tensor:
    if not 1 <= len(rows) <= most:
        raise AnswersError.of(f"{len(rows):,} rows", f"1 to {most:,}, one a question")
    return rows


def read_carefully(kind: str, body: bytes, classes: Sequence[str], most: int, kit: str = "") -> Tensor:
    """As ``read_rows``, by the one reader, which also reports what is wrong.

    Raises:
        Refused, AnswersError: as ``read_rows``.
    """
    form = BY_MEDIA[kind]
    try:
        result = read(form, body, most, TABLE_BYTES_A_NUMBER * (len(classes) + 1) * most + BYTES_AROUND)
    except AnswersError:
        raise
    except InputError as error:
        raise Refused(
            HTTPStatus.BAD_REQUEST, f"the body cannot be read as {form.name}", str(error), form.name
        ) from error
    except NotStarted as error:
        raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, str(error), headers={"Retry-After": "5"}) from error
    return result.rows(Naming(tuple(classes)), kit, most)[0]


def read_json_fast(body: bytes, num_classes: int) -> Tensor | None:
    """``{"answers": [[...], ...]}`` alone, with rows of one length, as ``[n, K]``; None for anything else,
    which the slow reader then reads or refuses. That reader makes an object of each number; this one does
    not."""
    if body.startswith(codecs.BOM_UTF8):  # simdjson skips it
        return None
    try:
        found = simdjson.Parser().parse(body)
        if not isinstance(found, simdjson.Object) or len(found) != 1:
            return None
        rows = found["answers"]
        if not isinstance(rows, simdjson.Array) or not len(rows):
            return None
        if body.count(b"[") != 1 + len(rows):  # lists within rows, which the buffer below would flatten
            return None
        if not all(isinstance(row, simdjson.Array) and len(row) == num_classes for row in rows):
            return None
        numbers = np.frombuffer(rows.as_buffer(of_type="d"), np.float64)
    except (
        ValueError,
        TypeError,
        LookupError,
        RuntimeError,
        MemoryError,
    ):  # RuntimeError: too deep, too large a whole number, ...
        return None
    with np.errstate(over="ignore"):
        return torch.from_numpy(numbers.astype(np.float32).reshape(-1, num_classes))


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as a Parquet file in memory."""
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()
