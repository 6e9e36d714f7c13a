"""Read columns of Parquet and Arrow files batch by batch."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from zooaudit.data.messages import guard
from zooaudit.errors import DataError

Batches = Callable[[list[str]], Iterator[pa.RecordBatch]]
BATCH_BYTES = 32 * 2**20
MOST_ROWS = 4096
READ_AHEAD = 2**20
STREAM_END = b"\xff\xff\xff\xff\0\0\0\0"


@dataclass(frozen=True)
class Columns:
    """One file: its schema, its columns a few rows at a time, and the function that opened it."""

    path: Path
    schema: pa.Schema
    rows: int
    batches: Batches
    opened: "Callable[[Path], Columns]"


def open_parquet(path: Path) -> Columns:
    """Open a Parquet file; reads only its footer for now."""

    # Read instead of mapped: mapped pages count as this process's memory.
    def opened() -> pq.ParquetFile:
        return pq.ParquetFile(path, memory_map=False, buffer_size=READ_AHEAD, pre_buffer=False)

    file = guard(path, "Parquet", lambda _: opened())
    meta, schema = file.metadata, file.schema_arrow

    def batches(names: list[str]) -> Iterator[pa.RecordBatch]:
        plain = all(pa.types.is_primitive(schema.field(name).type) for name in names)
        rows = MOST_ROWS if plain else max(1, min(MOST_ROWS, BATCH_BYTES // max(_largest(meta), 1)))
        return opened().iter_batches(batch_size=rows, columns=names, use_threads=False)

    return Columns(path, schema, meta.num_rows, batches, open_parquet)


def _largest(meta: pq.FileMetaData) -> int:
    """The most that one value may take, a row group's size: a dictionary can hold a large value that all rows
    repeat. Single columns are not checked: Arrow aborts the process if a damaged footer contradicts itself
    about one."""
    return max((meta.row_group(i).total_byte_size for i in range(meta.num_row_groups)), default=0)


def open_arrow(path: Path) -> Columns:
    """Open a file of ``datasets``' ``save_to_disk``: an Arrow stream, mapped into memory."""

    def opened() -> Any:
        return pa.ipc.open_stream(pa.memory_map(str(path)))

    def batches(names: list[str]) -> Iterator[pa.RecordBatch]:
        return (batch.select(names) for batch in opened())

    guard(path, "Arrow", _check_end)
    rows = guard(path, "Arrow", lambda _: sum(batch.num_rows for batch in opened()))
    return Columns(path, guard(path, "Arrow", lambda _: opened().schema), rows, batches, open_arrow)


def _check_end(path: Path) -> None:
    """Refuse a stream that is cut off between two batches, which Arrow takes for complete."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - len(STREAM_END)))
        if file.read() != STREAM_END:
            raise DataError(
                f"{path} has no end: not a readable Arrow file, or one that is cut short; fetch or save it"
                " again"
            )


def guarded(file: Columns, name: str) -> Iterator[pa.RecordBatch]:
    """The batches of one column; damage is reported while reading."""
    batches = guard(file.path, "Parquet", lambda _: file.batches([name]))
    while (batch := guard(file.path, "Parquet", lambda _: next(batches, None))) is not None:
        yield batch


def plain(column: pa.Array) -> pa.Array:
    """A column with its dictionary, if any, decoded."""
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def is_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" for field in kind)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
