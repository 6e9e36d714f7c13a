"""Tables of answers, from Parquet or an Arrow stream: a column ``query`` and one with the answers."""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from zooaudit.errors import AnswersError, InputError

QUERY, KIT = "query", "kit"
ANSWERS = ("probabilities", "answer", "label")
"""Columns that may hold the answers: lists of numbers, any form that ``Naming`` reads, or labels."""
VERSION_5, RECORD_BATCH = 4, 3
"""Numbers of the types in Arrow's flatbuffers."""


def answers_of(table: pa.Table) -> tuple[Tensor | list[Any], list[str]]:
    """A table's answers in the order of its queries, float32 ``[n, K']`` if they are lists of numbers; and
    the kits that it names.

    Raises:
        AnswersError: other columns, or not each of the first queries once.
        InputError: a column cannot be read.
    """
    column = column_of(table.schema.names)
    if not pa.types.is_integer(kind := table.schema.field(QUERY).type):
        raise AnswersError.of(f"the column query: {kind}", "whole numbers: of the questions, from 0")
    query = table.column(QUERY).combine_chunks()
    if query.null_count:
        raise AnswersError.of("a row without its query", "the number of a question in each")
    order = in_order(query.to_pylist())
    try:
        stated = set(table.column(KIT).to_pylist()) if KIT in table.schema.names else set()
        answers = table.column(column).combine_chunks()
        rows = (
            _numbers(answers)[order]
            if _lists_of_numbers(answers.type)
            else [answers[i].as_py() for i in order]
        )
    except (pa.ArrowException, NotImplementedError, TypeError, OverflowError) as error:
        raise InputError(
            f"the column {column} cannot be read ({str(error).splitlines()[0][:200]})"
        ) from error
    stated.add((table.schema.metadata or {}).get(KIT.encode(), b"").decode(errors="replace"))
    return rows, [str(kit) for kit in stated if kit]


def column_of(names: Sequence[str]) -> str:
    """The column that holds the answers.

    Raises:
        AnswersError: there is none, there is no column of queries, or one of the two occurs twice.
    """
    column = next((c for c in ANSWERS if c in names), "")
    if not column or names.count(QUERY) != 1 or names.count(column) != 1 or names.count(KIT) > 1:
        raise AnswersError.of(
            f"the columns {', '.join(map(str, names))[:300] or 'none'}",
            f"query and one of {', '.join(ANSWERS)}",
        )
    return column


def in_order(numbers: Sequence[Any]) -> list[int]:
    """The places of the first queries, each of which must occur once.

    Raises:
        AnswersError: one is missing or occurs twice.
    """
    places: dict[int, int] = {}
    for i, number in enumerate(numbers):
        if not isinstance(number, int) or isinstance(number, bool):
            raise AnswersError.of(f"the query {str(number)[:40]!r}", "the number of the question, from 0")
        if number in places:
            raise AnswersError.of(f"query {number} {list(numbers).count(number)} times", "each once")
        places[number] = i
    missing = [i for i in range(len(places)) if i not in places]
    if missing:
        raise AnswersError.of(
            f"{len(places)} rows but no query {missing[0]}", "the first queries without a gap: 0, 1, 2, ..."
        )
    return [places[i] for i in range(len(places))]


def _lists_of_numbers(kind: pa.DataType) -> bool:
    types = pa.types
    listed = types.is_list(kind) or types.is_fixed_size_list(kind) or types.is_large_list(kind)
    return listed and bool(types.is_floating(kind.value_type) or types.is_integer(kind.value_type))


def _numbers(lists: pa.Array) -> Tensor:
    """Convert lists of numbers to a matrix."""
    if lists.null_count:
        raise AnswersError.of("missing values", "a list of numbers in each row")
    flat = lists.flatten()
    lengths = np.asarray(lists.value_lengths()) if len(lists) else np.zeros(0, int)
    if flat.null_count or (len(lengths) and (lengths != lengths[0]).any()):
        raise AnswersError.of(
            "lists of several lengths, or with gaps", "as many numbers in each, one a class"
        )
    with np.errstate(over="ignore"):
        return torch.from_numpy(np.asarray(flat).astype(np.float32).reshape(len(lists), -1))


def from_stream(body: bytes) -> pa.Table:
    """The table of an Arrow stream. Its size in memory is known before it is read: compressed buffers are
    refused.

    Raises:
        AnswersError: buffers or messages of another kind.
        InputError: not an Arrow stream.
    """
    try:
        for message in pa.ipc.MessageReader.open_stream(pa.BufferReader(body)):
            if not is_plain(message.metadata.to_pybytes()):
                raise AnswersError.of(
                    "compressed buffers, or an old format", "an Arrow stream of version 5 without compression"
                )
            if message.type not in ("schema", "record batch"):
                raise AnswersError.of(f"a {message.type}", "plain columns")
        with pa.ipc.open_stream(pa.BufferReader(body)) as reader:
            table = reader.read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, struct.error) as error:
        if isinstance(error, AnswersError):
            raise
        raise InputError(str(error).splitlines()[0][:200] if str(error) else type(error).__name__) from error
    return table


def is_plain(metadata: bytes) -> bool:
    """Whether an Arrow message's buffers have the length that they state: metadata version 5, in which only a
    record batch's own field can announce compression (earlier, a custom field could), and without it. The
    flatbuffer is ``Message``: field 0 is the version, 2 the header; field 3 of a ``RecordBatch`` is
    ``compression``: https://arrow.apache.org/docs/format/Columnar.html.
    """

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
