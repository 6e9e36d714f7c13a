"""Parquet and Arrow files as Hugging Face writes them: a column of encoded images (or paths
to them), a column of labels.

Images are read a few rows at a time, whatever the row groups: memory holds the labels, one small batch of
rows, and the page of the file that they are in (writers make them of a few MiB, or of 1,024 rows). By number
they are read from a copy (``packed``).
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zooaudit.data.classes import Targets
from zooaudit.data.columns import IMAGE_NAMES, PATH_NAMES, image_column, label_column, whole_numbers
from zooaudit.data.decode import refuse_too_much
from zooaudit.data.encoded import Encoded, Files
from zooaudit.data.folders import Undecoded
from zooaudit.data.messages import guard, short
from zooaudit.data.packed import packed
from zooaudit.data.paths import Places
from zooaudit.data.reading import Reading
from zooaudit.data.reading_notes import Met
from zooaudit.errors import DataError

Batches = Callable[[list[str]], Iterator[pa.RecordBatch]]
BATCH_BYTES = 32 * 2**20
MOST_ROWS = 4096
READ_AHEAD = 2**20
STREAM_END = b"\xff\xff\xff\xff\0\0\0\0"
ALIKE = (
    "expected one or the other, as the images are too large for memory: write them alike, or give a smaller"
    " --size"
)
IMAGE_KINDS = "encoded images (struct<bytes, path>, or binary) or paths to them"


@dataclass(frozen=True)
class Columns:
    """One file: what it has, its columns a few rows at a time, and what opened it."""

    path: Path
    schema: pa.Schema
    rows: int
    batches: Batches
    opened: "Callable[[Path], Columns]"


def open_parquet(path: Path) -> Columns:
    """A Parquet file; only its footer is read yet."""

    def opened() -> (
        pq.ParquetFile
    ):  # read, not mapped: what was read of a mapped file counts as this process's memory
        return pq.ParquetFile(path, memory_map=False, buffer_size=READ_AHEAD, pre_buffer=False)

    file = guard(path, "Parquet", lambda _: opened())
    meta, schema = file.metadata, file.schema_arrow

    def batches(names: list[str]) -> Iterator[pa.RecordBatch]:
        plain = all(pa.types.is_primitive(schema.field(name).type) for name in names)
        rows = MOST_ROWS if plain else max(1, min(MOST_ROWS, BATCH_BYTES // max(_largest(meta), 1)))
        return opened().iter_batches(batch_size=rows, columns=names, use_threads=False)

    return Columns(path, schema, meta.num_rows, batches, open_parquet)


def _largest(meta: pq.FileMetaData) -> int:
    """What one value may at most take, a row group's size: a dictionary can hold a large one that all rows
    repeat. Columns by themselves are not looked at: Arrow ends the whole process where a damaged footer
    contradicts itself about one."""
    return max((meta.row_group(i).total_byte_size for i in range(meta.num_row_groups)), default=0)


def open_arrow(path: Path) -> Columns:
    """A file of ``datasets``' ``save_to_disk``: an Arrow stream, mapped into memory."""

    def opened() -> Any:
        return pa.ipc.open_stream(pa.memory_map(str(path)))

    def batches(names: list[str]) -> Iterator[pa.RecordBatch]:
        return (batch.select(names) for batch in opened())

    guard(path, "Arrow", _check_end)
    rows = guard(path, "Arrow", lambda _: sum(batch.num_rows for batch in opened()))
    return Columns(path, guard(path, "Arrow", lambda _: opened().schema), rows, batches, open_arrow)


def _check_end(path: Path) -> None:
    """A stream that is cut short between two batches looks whole to Arrow."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - len(STREAM_END)))
        if file.read() != STREAM_END:
            raise DataError(
                f"{path} has no end: not a readable Arrow file, or one that is cut short; fetch or save it"
                " again"
            )


def read_columns(files: list[Columns], reading: Reading, met: Met, root: Path) -> Undecoded:
    """The files of one part together.

    Args:
        root: the data folder; paths in the files must lead to somewhere in it.

    Raises:
        DataError: columns that do not fit, files that do not go together, or a label that is null.
    """
    first = files[0]
    image = likely_image(first, reading.image_column)
    label = _label_column(first, image, reading, met)
    for file in files[1:]:
        if not {image, label} <= set(file.schema.names):
            raise DataError(
                f"{file.path} has columns {file.schema.names}; expected {image} and {label}, as {first.path}"
                " has them"
            )
        if _class_names(file.schema, label) != _class_names(first.schema, label):
            raise DataError(
                f"{file.path} has other class names than {first.path}; expected the same in every file of a"
                " split"
            )
    count = sum(file.rows for file in files)
    refuse_too_much(8 * count, f"{first.path}: {count:,} labels")
    targets = Targets(_all_labels(files, label), _class_names(first.schema, label))
    by_number = partial(_by_number, files, image, root, reading.outside)
    return Undecoded(
        str(first.path), lambda: encoded(files, image, root, reading.outside), count, targets, by_number
    )


def _all_labels(files: list[Columns], label: str) -> list[int] | list[str]:
    numbers: list[int] = []
    texts: list[str] = []
    for file in files:
        found = guard(file.path, "Parquet", partial(_labels, file, label))
        numbers += [value for value in found if isinstance(value, int)]
        texts += [value for value in found if isinstance(value, str)]
    if numbers and texts:
        raise DataError(
            f"{files[0].path}: labels are names in some files and numbers in others; expected one or the"
            " other"
        )
    return texts or numbers


def encoded(files: list[Columns], image: str, root: Path, outside: bool) -> Iterator[tuple[bytes, str]]:
    """Each row's encoded image, one at a time, and its name."""
    for file in files:
        places = Places((file.path.parent, root), root, outside)
        for found, where in _cells(file, image):
            yield (found if isinstance(found, bytes) else places.read(found, where)), where


def _cells(file: Columns, image: str) -> Iterator[tuple[bytes | str, str]]:
    """Each row's encoded image, or the path of it."""
    row = 0
    for batch in guarded(file, image):
        for cell in plain(batch.column(0)):
            where = f"{file.path} row {row}"
            yield _cell(cell.as_py(), image, where), where
            row += 1


def _by_number(files: list[Columns], image: str, root: Path, outside: bool, cache: Path) -> Encoded:
    """The images by number: the files that the rows name, or a copy of the images that are in the rows."""
    if isinstance(next((found for file in files for found, _ in _cells(file, image)), b""), str):
        return Files(
            [
                path
                for file in files
                for path in _paths(file, image, Places((file.path.parent, root), root, outside))
            ]
        )
    paths = [str(file.path) for file in files]
    return packed(
        paths, [file.rows for file in files], image, partial(_within, paths, files[0].opened, image), cache
    )


def _paths(file: Columns, image: str, places: Places) -> Iterator[Path]:
    for found, where in _cells(file, image):
        if isinstance(found, bytes):
            raise DataError(f"{where}: {image} is the image itself, in rows before it is a path; {ALIKE}")
        yield places.find(found, where)


def _within(paths: list[str], opened: Callable[[Path], Columns], image: str) -> Iterator[tuple[bytes, str]]:
    for path in paths:
        for found, where in _cells(opened(Path(path)), image):
            if isinstance(found, str):
                raise DataError(f"{where}: {image} is a path, in rows before it is the image itself; {ALIKE}")
            yield found, where


def guarded(file: Columns, name: str) -> Iterator[pa.RecordBatch]:
    """The batches of one column; what is damaged is found on the way."""
    batches = guard(file.path, "Parquet", lambda _: file.batches([name]))
    while (batch := guard(file.path, "Parquet", lambda _: next(batches, None))) is not None:
        yield batch


def _cell(found: object, column: str, where: str) -> bytes | str:
    path: object = found if isinstance(found, str) else None
    if isinstance(found, dict):
        cell: dict[str, object] = found
        found, path = cell.get("bytes"), cell.get("path")
    if isinstance(found, bytes) and found:
        return found
    if isinstance(path, str) and path:
        return path
    kind = "null" if found is None else "empty" if found == b"" else type(found).__name__
    raise DataError(f"{where}: {column} is {kind}; expected the bytes of an image, or a path to one")


def plain(column: pa.Array) -> pa.Array:
    """A column without a dictionary of its values."""
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _is_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" for field in kind)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)


def likely_image(file: Columns, asked: str) -> str:
    """The column of images, by its name and type.

    Raises:
        DataError: there is none, or more than one, or it holds something else.
    """
    kinds = {field.name: _value_type(field.type) for field in file.schema}
    likely = [name for name, kind in kinds.items() if _is_bytes(kind)] or [
        name for name, kind in kinds.items() if _is_text(kind)
    ]
    if likely and not _is_bytes(kinds[likely[0]]) and not asked:  # texts are paths only if they are called so
        likely = [name for name in likely if name in (*IMAGE_NAMES, *PATH_NAMES)]
    found = image_column(asked, likely, file.schema.names, str(file.path), IMAGE_KINDS)
    if not (_is_bytes(kinds[found]) or _is_text(kinds[found])):
        raise DataError(f"{file.path}: {found} is {kinds[found]}; expected {IMAGE_KINDS}")
    return found


def _label_column(file: Columns, image: str, reading: Reading, met: Met) -> str:
    others = {field.name: _value_type(field.type) for field in file.schema if field.name != image}
    likely = [n for n in _class_labels(file.schema) if n in others]
    likely = likely or [n for n, kind in others.items() if pa.types.is_integer(kind)]
    return label_column(reading.label_column, likely, list(others), str(file.path), met)


def _labels(file: Columns, column: str, _: Path) -> list[int] | list[str]:
    kind = _value_type(file.schema.field(column).type)
    arrays = [plain(batch.column(0)) for batch in file.batches([column])]
    whole = pa.chunked_array(arrays, type=kind) if arrays else pa.chunked_array([], type=kind)
    if whole.null_count:
        row = int(np.flatnonzero(whole.is_null().to_numpy())[0])
        raise DataError(f"{file.path} row {row}: {column} is null; expected a class for every image")
    if _is_text(kind):
        return [str(value) for value in whole.to_pylist()]
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return [int(value) for value in whole_numbers(whole.to_numpy(), str(file.path))]
    raise DataError(
        f"{file.path}: {column} is {kind}; expected whole numbers or names, one class for every image:"
        " --label-column NAME"
    )


def _features(schema: pa.Schema) -> dict[str, Any]:
    try:
        features: object = json.loads((schema.metadata or {}).get(b"huggingface") or b"{}")["info"][
            "features"
        ]
    except (ValueError, KeyError, TypeError):  # metadata is a courtesy: without it classes go by number
        return {}
    return features if isinstance(features, dict) else {}


def _class_labels(schema: pa.Schema) -> list[str]:
    """Columns that the metadata calls labels."""
    return [
        name
        for name, feature in _features(schema).items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
    ]


def _class_names(schema: pa.Schema, label: str) -> tuple[str, ...]:
    feature = _features(schema).get(label)
    names = feature.get("names") if isinstance(feature, dict) else None
    return tuple(map(str, names)) if isinstance(names, list) else ()


def saved_files(folder: Path) -> list[Path]:
    """The Arrow files of one part that ``save_to_disk`` wrote, all of those that it lists.

    Raises:
        DataError: one is missing, or rows were chosen or shuffled without being written anew.
    """
    state = guard(folder / "state.json", "JSON", lambda p: json.loads(p.read_text(encoding="utf-8")))
    if not isinstance(state, dict) or not isinstance(state.get("_data_files"), list):
        raise DataError(
            f"{folder / 'state.json'} lists no _data_files; expected what datasets' save_to_disk writes"
        )
    if state.get("_indices_data_files") or state.get("_indices_files"):
        raise DataError(
            f"{folder}: its rows were chosen or shuffled by a list of indices, which is not read; call"
            " flatten_indices() and save it again"
        )
    listed: list[Any] = state["_data_files"]
    names = [str(entry.get("filename")) for entry in listed if isinstance(entry, dict)]
    if bad := [name for name in names if Path(name).name != name or not (folder / name).is_file()]:
        raise DataError(
            f"{folder} lacks {short(bad)}, which its state.json lists; expected all of them: save it again"
        )
    if not names:
        raise DataError(f"{folder}: state.json lists no files; expected one at least")
    return [folder / name for name in names]
