"""Answers out of a request's body, and questions into a response's.

Every format comes down to float32 ``[n, K]``: row i answers question i. JSON, bare numbers and Arrow are read here: what they take in
memory is known before they are read (compressed Arrow is refused). A Parquet body of a kilobyte can unpack to gigabytes, and neither its
footer nor its schema tells, so it is read in a process of its own: see ``unpacking``.
"""

import codecs
import io
import json
import struct
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import simdjson
import torch
from pydantic import ValidationError
from torch import Tensor

from zooaudit.errors import AnswersError
from zooaudit.serving.problems import Refused
from zooaudit.serving.schemas import Answers

JSON, RAW, ARROW, PARQUET = (
    "application/json", "application/octet-stream", "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet",
)  # fmt: skip
ZIP = "application/zip"
ACCEPTED = (JSON, RAW, ARROW, PARQUET)
FLOAT32 = np.dtype("<f4")
BYTES_A_NUMBER, BYTES_AROUND = 64, 65536
"""Of JSON: digits, brackets and indentation."""
QUERY, PROBABILITIES = "query", "probabilities"
INLINE_BYTES = 2**19
"""Bodies up to this size, and in a simple form, are read where requests are: 20 views, N=100, K=10 as JSON take 3 ms."""
Rows = TypeVar("Rows", Tensor, list[list[float]], list[str | int])
VERSION_5, RECORD_BATCH = 4, 3
"""As Arrow's flatbuffers number them."""


def most_bytes(rows: int, num_classes: int) -> int:
    """The largest body that so many answers can reasonably have."""
    return BYTES_A_NUMBER * rows * num_classes + BYTES_AROUND


def read_rows(kind: str, body: bytes, classes: Sequence[str], most: int) -> Tensor:
    """The answers in a body, float32 ``[n, K]``; their values are not looked at.

    Args:
        kind: the media type, ``JSON``, ``RAW`` (little-endian float32, row by row) or ``ARROW``.
        most: rows at most.

    Raises:
        Refused: 400, the body is not of its type.
        AnswersError: another layout, or other rows.
    """
    if kind == JSON:
        rows = plain_json(body, len(classes))
        rows = careful_json(body, classes, most) if rows is None else rows
    else:
        rows = {RAW: _from_raw, ARROW: _from_arrow}[kind](body, classes)
    return _at_most(rows, most)


def read_fast(kind: str, body: bytes, classes: Sequence[str], most: int) -> Tensor | None:
    """As ``read_rows``, if it takes a few milliseconds at most; None for what may take longer, or has something wrong with its form."""
    if len(body) > INLINE_BYTES or kind not in (JSON, RAW, ARROW):
        return None
    if kind != JSON:
        return read_rows(kind, body, classes, most)
    rows = plain_json(body, len(classes))
    return None if rows is None else _at_most(rows, most)


def _at_most(rows: Rows, most: int) -> Rows:
    if not 1 <= len(rows) <= most:
        raise AnswersError.of(f"{len(rows):,} rows", f"1 to {most:,}, one a question")
    return rows


def careful_json(body: bytes, classes: Sequence[str], most: int) -> Tensor:
    """Any :class:`~zooaudit.serving.schemas.Answers` as ``[n, K]``; what is none is told what it has wrong, and where.

    Raises:
        Refused, AnswersError: as ``read_rows``.
    """
    _refuse_twice(body)
    try:
        given = Answers.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise Refused(HTTPStatus.BAD_REQUEST, "the body is not JSON", first["msg"], JSON) from error
        place = "".join(f"[{step}]" if isinstance(step, int) else str(step) for step in first["loc"])
        raise AnswersError.of(
            f"at {place or 'the top'}: {first['msg']}", '{"answers": a list of lists of numbers} or {"labels": a list of classes}'
        ) from error
    if (given.answers is None) == (given.labels is None):
        raise AnswersError.of("both answers and labels" if given.answers is not None else "neither answers nor labels", "one of them")
    if given.model_extra:
        others = ", ".join(ascii(name)[:40] for name in list(given.model_extra)[:5])
        raise AnswersError.of(
            f"other fields than answers or labels: {others}", "one of them, and nothing else: settings are query parameters"
        )
    if given.labels is not None:
        return _labels(_at_most(given.labels, most), classes)
    return from_lists(_at_most(given.answers or [], most), len(classes))


def _refuse_twice(body: bytes) -> None:
    """Of a field that is there twice only the last would be read."""
    try:
        found = simdjson.Parser().parse(body)
        names = list(found.keys()) if isinstance(found, simdjson.Object) else []
    except (ValueError, RuntimeError, MemoryError):  # said by who reads it whole
        return
    if len(set(names)) < len(names):
        raise AnswersError.of("a field that is given twice", "answers or labels, once")


def plain_json(body: bytes, num_classes: int) -> Tensor | None:
    """``{"answers": [[...], ...]}`` and nothing else, rows of one length, as ``[n, K]``; None for all that is not, which is then read
    slowly: what is wrong with it is said there. Five times faster than pydantic, which makes an object of each number."""
    if body.startswith(codecs.BOM_UTF8):  # simdjson skips it, pydantic does not
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
    except (ValueError, TypeError, LookupError, RuntimeError, MemoryError):  # RuntimeError: too deep, too large a whole number, ...
        return None
    with np.errstate(over="ignore"):
        return torch.from_numpy(numbers.astype(np.float32).reshape(-1, num_classes))


def from_lists(rows: Sequence[Sequence[float]], num_classes: int) -> Tensor:
    """Lists as ``[n, K]``; what float32 cannot hold becomes infinite, and is refused as that."""
    for i, row in enumerate(rows):
        if len(row) != num_classes:
            raise AnswersError.of(f"{len(row)} probabilities in row {i}", f"{num_classes}, one a class")
    with np.errstate(over="ignore"):
        return torch.from_numpy(np.array(rows, dtype=np.float64).reshape(-1, num_classes).astype(np.float32))


def _labels(labels: Sequence[str | int], classes: Sequence[str]) -> Tensor:
    numbers = {name: i for i, name in enumerate(classes)}
    places = [numbers.get(label, -1) if isinstance(label, str) else label for label in labels]
    for i, at in enumerate(places):
        if not 0 <= at < len(classes):
            wrong = str(labels[i])[:80]
            raise AnswersError.of(f"the label {wrong!r} in row {i}", f"one of {', '.join(classes)[:500]}, or its number from 0")
    return torch.nn.functional.one_hot(torch.tensor(places), len(classes)).float()


def _from_raw(body: bytes, classes: Sequence[str]) -> Tensor:
    row = FLOAT32.itemsize * len(classes)
    if len(body) % row:
        raise AnswersError.of(f"{len(body):,} bytes", f"a multiple of {row}: little-endian float32, {len(classes)} a row")
    return torch.from_numpy(np.frombuffer(body, FLOAT32).astype(np.float32).reshape(-1, len(classes)))


def _from_arrow(body: bytes, classes: Sequence[str]) -> Tensor:
    try:
        for message in pa.ipc.MessageReader.open_stream(pa.BufferReader(body)):
            if not is_plain(message.metadata.to_pybytes()):
                raise AnswersError.of("compressed buffers, or an old format", "an Arrow stream of version 5 without compression")
            if message.type not in ("schema", "record batch"):
                raise AnswersError.of(f"a {message.type}", "plain columns")
        with pa.ipc.open_stream(pa.BufferReader(body)) as reader:
            check_schema(reader.schema)
            table = reader.read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, struct.error) as error:
        if isinstance(error, AnswersError):
            raise
        raise Refused(HTTPStatus.BAD_REQUEST, "the body is no Arrow stream", str(error).splitlines()[0][:200], ARROW) from error
    return from_table(table, len(classes))


def check_schema(schema: pa.Schema) -> None:
    """Refuse other columns than ``query`` (whole numbers) and ``probabilities`` (lists of floats).

    Raises:
        AnswersError: there are.
    """
    found = {f.name: f.type for f in schema}
    wanted = "query, whole numbers, and probabilities, lists of float32 or float64"
    if (
        sorted(schema.names) != [PROBABILITIES, QUERY]
        or not pa.types.is_integer(found[QUERY])
        or not _lists_of_floats(found[PROBABILITIES])
    ):
        raise AnswersError.of(f"the columns {', '.join(f'{n}: {t}' for n, t in found.items())[:300] or 'none'}", wanted)


def _lists_of_floats(kind: pa.DataType) -> bool:
    types = pa.types
    listed = types.is_list(kind) or types.is_fixed_size_list(kind) or types.is_large_list(kind)
    return listed and bool(types.is_floating(kind.value_type))


def from_table(table: pa.Table, num_classes: int) -> Tensor:
    """A table of ``check_schema``'s columns as ``[n, K]``, in the order of the queries.

    Raises:
        AnswersError: not each of the first queries once, a list of another length, or something missing.
    """
    query = table.column(QUERY).combine_chunks()
    lists = table.column(PROBABILITIES).combine_chunks()
    if query.null_count or lists.null_count:
        raise AnswersError.of("missing values", "a number and a list in each row")
    numbers = np.asarray(query).astype(np.int64)
    order = np.argsort(numbers, kind="stable")
    if not np.array_equal(numbers[order], np.arange(len(numbers))):
        raise AnswersError.of("a query that is missing, or there twice", f"the queries 0 to {len(numbers) - 1}, each once")
    flat = lists.flatten()
    lengths = np.asarray(lists.value_lengths()) if len(lists) else np.zeros(0)
    if flat.null_count or (lengths != num_classes).any():
        raise AnswersError.of("lists of other lengths, or with gaps", f"{num_classes} probabilities in each, one a class")
    with np.errstate(over="ignore"):
        return torch.from_numpy(np.asarray(flat).astype(np.float32).reshape(-1, num_classes)[order])


def is_plain(metadata: bytes) -> bool:
    """Whether an Arrow message's buffers are as long as they say: of metadata version 5, where only a record batch's own field says that
    its buffers are compressed (before, a custom field could), and without that. The flatbuffer is ``Message``: field 0 the version, 2 the
    header; a ``RecordBatch``'s field 3 is ``compression``: https://arrow.apache.org/docs/format/Columnar.html."""

    def field_at(table: int, number: int) -> int:
        vtable = table - struct.unpack_from("<i", metadata, table)[0]
        if 4 + 2 * number >= struct.unpack_from("<H", metadata, vtable)[0]:
            return 0
        offset = struct.unpack_from("<H", metadata, vtable + 4 + 2 * number)[0]
        return table + offset if offset else 0

    message = struct.unpack_from("<I", metadata, 0)[0]
    version, kind, header, custom = (field_at(message, n) for n in (0, 1, 2, 4))
    if not version or struct.unpack_from("<h", metadata, version)[0] != VERSION_5 or custom:
        return False
    if not kind or metadata[kind] != RECORD_BATCH:
        return True
    return bool(header) and not field_at(header + struct.unpack_from("<I", metadata, header)[0], 3)


def questions_json(images: Tensor) -> bytes:
    """Questions as ``{"queries": [{"query": 0, "image": [...]}, ...]}``, pixels in [0, 1] with as many digits as float32 has."""
    numbers: list[Any] = [[float(f"{v:.9g}") for v in image] for image in images.flatten(1).tolist()]
    shape = list(images.shape[1:])
    return json.dumps({"image_shape": shape, "queries": [{"query": i, "image": v} for i, v in enumerate(numbers)]}).encode()


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as a Parquet file in memory."""
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()
