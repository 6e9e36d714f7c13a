"""Tables of paths and labels: CSV, TSV, JSON lines; and ``metadata`` tables inside a folder of images, as in
``datasets``."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

from zooaudit.data.classes import Targets
from zooaudit.data.columns import IMAGE_NAMES, LABEL_NAMES, PATH_NAMES, as_labels, image_column, label_column
from zooaudit.data.decode import refuse_too_much
from zooaudit.data.folders import IMAGE_SUFFIXES, Undecoded, from_files
from zooaudit.data.messages import guard, short
from zooaudit.data.paths import Places
from zooaudit.data.reading import Reading
from zooaudit.data.reading_notes import Met
from zooaudit.errors import DataError

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson")
Row = tuple[str, dict[str, str]]
"""Where the row is, and its cells by column."""


def read_table(path: Path, bases: tuple[Path, ...], root: Path, reading: Reading, met: Met) -> Undecoded:
    """Read one part: a row for every image, with its path and its class.

    Args:
        bases: folders that paths may be relative to, besides the table's own.
        root: the data folder; paths must not lead out of it.

    Raises:
        DataError: columns do not fit, a row is incomplete, a path leads nowhere or out, or a file has two
            classes.
    """
    rows = guard(path, "table", lambda p: list(_rows(p)))
    if not rows:
        raise DataError(f"{path} has no rows; expected one for every image")
    columns = list(rows[0][1])
    image, label = _columns(path, columns, reading, met)
    places = Places((path.parent, *bases), root, reading.outside)
    files: dict[Path, str] = {}
    twice = 0
    for where, cells in rows:
        file, cls = places.find(cells[image], where), cells[label].strip()
        if not cls:
            raise DataError(f"{where}: {label} is empty; expected a class for every image")
        if files.setdefault(file, cls) != cls:
            raise DataError(
                f"{where}: {cells[image]} has class {cls} here and {files[file]} before; expected one class"
                " an image"
            )
        twice += 1
    if twice > len(files):
        met.note(f"{path} names {twice - len(files)} images more than once; each is used once")
    return from_files(str(path), list(files), Targets(as_labels(list(files.values()))))


def _columns(path: Path, columns: list[str], reading: Reading, met: Met) -> tuple[str, str]:
    plain = {name.strip().lower(): name for name in columns}
    likely = [name for name in plain if name in (*IMAGE_NAMES, *PATH_NAMES)]
    asked = [_number(option, columns) for option in (reading.image_column, reading.label_column)]
    image = (
        asked[0]
        or plain[
            image_column(
                "",
                likely,
                list(plain),
                f"{path}",
                "paths of images (a column named path, file_name, image, ...)",
            )
        ]
    )
    others = [name for name in plain if plain[name] != image]
    label = asked[1] or plain[label_column("", others if len(others) == 1 else [], others, str(path), met)]
    for option, name in (("--image-column", image), ("--label-column", label)):
        if name not in columns:
            raise DataError(f"{path} has columns {short(columns)}; there is no {option} {name}")
    return image, label


def _number(asked: str, columns: list[str]) -> str:
    """A column by its name, or by its number from 1 if that is not a name."""
    if asked.isdecimal() and asked not in columns and 1 <= int(asked) <= len(columns):
        return columns[int(asked) - 1]
    return asked


def _rows(path: Path) -> Iterator[Row]:
    refuse_too_much(8 * path.stat().st_size, f"{path}: its rows")
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        yield from _json_rows(path, text)
        return
    lines = list(io.StringIO(text, newline=""))  # a line end inside quotes does not end a row
    mark = (
        "\t"
        if path.suffix.lower() == ".tsv"
        else ";"
        if lines and ";" in lines[0] and "," not in lines[0]
        else ","
    )
    rows = list(_split(path, lines, mark))
    if not rows:
        return
    header = _header(path, rows[0][1])
    for number, cells in rows[0 if header is None else 1 :]:
        names = header or [str(i) for i in range(1, len(rows[0][1]) + 1)]
        if len(cells) != len(names):
            raise DataError(
                f"{path} line {number} has {len(cells)} cells; expected {len(names)}: {short(names)}"
            )
        named = dict(zip(names, cells, strict=True))
        yield (
            f"{path} line {number}",
            (named if header else {"path": cells[0], "label": cells[1]} if len(cells) == 2 else named),
        )


def _split(path: Path, lines: list[str], mark: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(lines, delimiter=mark, strict=True)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        raise DataError(
            f"{path} line {reader.line_num}: {error}; expected cells separated by {mark!r}"
        ) from error


def _header(path: Path, first: list[str]) -> list[str] | None:
    """The names of the columns; None if the first row is already an image's."""
    plain = [cell.strip().lower() for cell in first]
    known = {*IMAGE_NAMES, *PATH_NAMES, *LABEL_NAMES}
    if not known & set(plain) and any(Path(cell).suffix in IMAGE_SUFFIXES for cell in plain):
        return None
    if len(set(first)) < len(first):
        raise DataError(f"{path} has columns {short(first)}; expected every name once")
    return first


def _json_rows(path: Path, text: str) -> Iterator[Row]:
    names: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path} line {number}: not readable JSON; expected one object a line") from error
        if not isinstance(found, dict):
            raise DataError(
                f"{path} line {number} is {type(found).__name__}; expected one object a line, with a path and"
                " a label"
            )
        names = names or list(found)
        if missing := [name for name in names if name not in found]:
            raise DataError(
                f"{path} line {number} lacks {short(missing)}; expected the fields of the first line"
            )
        yield f"{path} line {number}", {k: _text(v) for k, v in found.items()}


def _text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
