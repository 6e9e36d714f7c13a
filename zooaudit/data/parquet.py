"""Parquet and Arrow files as Hugging Face writes them: a column of encoded images (or paths to them), a
column of labels.

Images are read a few rows at a time, whatever the row groups: memory holds the labels, a small batch of rows,
and the page of the file that contains them (usually a few MiB, or 1,024 rows). Access by number reads from a
copy (``packed``).
"""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from zooaudit.data.classes import Targets
from zooaudit.data.columns import IMAGE_NAMES, PATH_NAMES, image_column, label_column, whole_numbers
from zooaudit.data.decode import refuse_too_much
from zooaudit.data.encoded import Encoded, Files
from zooaudit.data.folders import Undecoded
from zooaudit.data.messages import guard, short
from zooaudit.data.packed import packed
from zooaudit.data.parquet_columns import Columns, guarded, is_bytes, is_text, plain, value_type
from zooaudit.data.paths import Places
from zooaudit.data.reading import Reading
from zooaudit.data.reading_notes import Met
from zooaudit.errors import DataError

ALIKE = (
    "expected one or the other, as the images are too large for memory: write them alike, or give a smaller"
    " --size"
)
IMAGE_KINDS = "encoded images (struct<bytes, path>, or binary) or paths to them"


def read_columns(files: list[Columns], reading: Reading, met: Met, root: Path) -> Undecoded:
    """Read the files of one part together.

    Args:
        root: the data folder; paths in the files must not lead out of it.

    Raises:
        DataError: columns do not fit, files do not go together, or a label is null.
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
    """Each row's encoded image, or its path."""
    row = 0
    for batch in guarded(file, image):
        for cell in plain(batch.column(0)):
            where = f"{file.path} row {row}"
            yield _cell(cell.as_py(), image, where), where
            row += 1


def _by_number(files: list[Columns], image: str, root: Path, outside: bool, cache: Path) -> Encoded:
    """The images by number: the files that the rows name, or a copy of the images in the rows."""
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


def likely_image(file: Columns, asked: str) -> str:
    """The column of images, by its name and type.

    Raises:
        DataError: there is none, or more than one, or it holds something else.
    """
    kinds = {field.name: value_type(field.type) for field in file.schema}
    likely = [name for name, kind in kinds.items() if is_bytes(kind)] or [
        name for name, kind in kinds.items() if is_text(kind)
    ]
    if likely and not is_bytes(kinds[likely[0]]) and not asked:  # texts are paths only in columns named so
        likely = [name for name in likely if name in (*IMAGE_NAMES, *PATH_NAMES)]
    found = image_column(asked, likely, file.schema.names, str(file.path), IMAGE_KINDS)
    if not (is_bytes(kinds[found]) or is_text(kinds[found])):
        raise DataError(f"{file.path}: {found} is {kinds[found]}; expected {IMAGE_KINDS}")
    return found


def _label_column(file: Columns, image: str, reading: Reading, met: Met) -> str:
    others = {field.name: value_type(field.type) for field in file.schema if field.name != image}
    likely = [n for n in _class_labels(file.schema) if n in others]
    likely = likely or [n for n, kind in others.items() if pa.types.is_integer(kind)]
    return label_column(reading.label_column, likely, list(others), str(file.path), met)


def _labels(file: Columns, column: str, _: Path) -> list[int] | list[str]:
    kind = value_type(file.schema.field(column).type)
    arrays = [plain(batch.column(0)) for batch in file.batches([column])]
    whole = pa.chunked_array(arrays, type=kind) if arrays else pa.chunked_array([], type=kind)
    if whole.null_count:
        row = int(np.flatnonzero(whole.is_null().to_numpy())[0])
        raise DataError(f"{file.path} row {row}: {column} is null; expected a class for every image")
    if is_text(kind):
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
    except (ValueError, KeyError, TypeError):  # metadata is optional: without it classes have numbers
        return {}
    return features if isinstance(features, dict) else {}


def _class_labels(schema: pa.Schema) -> list[str]:
    """Columns that the metadata marks as labels."""
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
    """The Arrow files of one part that ``save_to_disk`` wrote, all that it lists.

    Raises:
        DataError: one is missing, or rows were selected or shuffled without being rewritten.
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
