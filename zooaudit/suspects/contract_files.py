"""Read contracts: a TOML file, or ``table.field=value`` words. An unknown name is refused with the nearest
valid one."""

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from zooaudit.errors import ConfigError, InputError
from zooaudit.suspects.contract import (
    Channels,
    Classes,
    Contract,
    Cut,
    DType,
    Filter,
    Input,
    Layout,
    Output,
    Resize,
    Values,
)

MOST_BYTES = 2**20
"""The largest contract file: 1,001 names of classes take a tenth of it."""
EXAMPLE = """[input]
size = [224, 224]                 # height, width
resize = "shorter"                # the shorter side, then the middle; or squash, crop
resize_to = 256
filter = "bilinear"
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
"""

TABLES: dict[str, type] = {"input": Input, "output": Output, "classes": Classes}
CHOICES: dict[tuple[str, str], Any] = {
    ("input", "resize"): Resize,
    ("input", "cut"): Cut,
    ("input", "filter"): Filter,
    ("input", "layout"): Layout,
    ("input", "dtype"): DType,
    ("input", "channels"): Channels,
    ("output", "values"): Values,
}
LISTS: dict[tuple[str, str], tuple[type, ...]] = {
    ("input", "size"): (int,),
    ("input", "resize_to"): (int,),
    ("input", "range"): (int, float),
    ("input", "mean"): (int, float),
    ("input", "std"): (int, float),
    ("classes", "names"): (str,),
    ("classes", "missing"): (str,),
    ("classes", "columns"): (int,),
}
PLAIN: dict[tuple[str, str], tuple[tuple[type, ...], str]] = {
    ("input", "antialias"): ((bool,), "true or false"),
    ("input", "scale"): ((int, float), "a number"),
    ("input", "zero_point"): ((int,), "a whole number"),
    ("input", "batch"): ((int,), "a whole number"),
    ("input", "name"): ((str,), "a text"),
    ("output", "name"): ((str,), "a text"),
    ("output", "index"): ((int,), "a whole number"),
}
EXPECTED: dict[tuple[type, ...], str] = {
    (int,): "a list of whole numbers",
    (int, float): "a list of numbers",
    (str,): "a list of texts",
}


def contract_of(tables: Mapping[str, Any], where: str = "the contract") -> Contract:
    """A contract from plain tables:
    ``{"input": {...}, "output": {...}, "classes": {...}}``, each of which is optional.

    Raises:
        ConfigError: an unknown table or field, with the nearest valid one, or a value that is not valid.
    """
    made: dict[str, Any] = {}
    for table, values in tables.items():
        _known(table, TABLES, f"{where} has a table")
        if not isinstance(values, Mapping):
            raise ConfigError(
                f"{where}: {table} is {str(values)[:80]!r}; expected a table, such as\n{EXAMPLE}"
            )
        names = [f.name for f in fields(TABLES[table])]
        for name in values:
            _known(name, names, f"{where}: [{table}] has a field")
        try:
            made[table] = TABLES[table](
                **{name: _value(table, name, value) for name, value in values.items()}
            )
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from error
    return Contract(**made)


def _known(name: Any, right: Any, what: str) -> None:
    if name not in right:
        near = difflib.get_close_matches(str(name), list(right), 1, 0.5)
        expected = f"expected {near[0]}" if near else f"expected some of {', '.join(right)}"
        raise ConfigError(f"{what} {str(name)[:80]!r}, which is unknown; {expected}")


def _value(table: str, name: str, value: Any) -> Any:
    key = (table, name)
    if key in CHOICES:
        choices = [c for c in get_args(CHOICES[key]) if c]
        if value not in choices:
            raise ConfigError(f"{table}.{name} is {str(value)[:80]!r}; expected one of {', '.join(choices)}")
        return value
    if key in LISTS:
        single = isinstance(value, int) and name in ("size", "resize_to")
        items = [value] if single else value
        if not isinstance(items, list | tuple) or not all(_is(item, LISTS[key]) for item in items):
            raise ConfigError(f"{table}.{name} is {_shown(value)}; expected {EXPECTED[LISTS[key]]}")
        both = single and name == "size"
        return tuple(items) * 2 if both else tuple(items)
    kinds, result = PLAIN[key]
    if not _is(value, kinds):
        raise ConfigError(f"{table}.{name} is {_shown(value)}; expected {result}")
    return value


def _shown(value: Any) -> str:
    return repr(value)[:80]


def _is(value: Any, kinds: tuple[type, ...]) -> bool:
    finite = not isinstance(value, float) or abs(value) < float("inf")  # false for NaN
    return isinstance(value, kinds) and isinstance(value, bool) == (bool in kinds) and finite


def read_contract(words: Sequence[str]) -> Contract:
    """A contract from the command line: a TOML file, ``table.field=value`` words in TOML's syntax, or both;
    later ones win.

    Raises:
        InputError: no such file, or not TOML; ConfigError: see ``contract_of``.
    """
    tables: dict[str, dict[str, Any]] = {}
    for word in words:
        for name, values in (_word(word) if _is_word(word) else _file(Path(word))).items():
            tables[name] = (tables.get(name, {}) | values) if isinstance(values, dict) else values
    return contract_of(tables, " ".join(words) or "the contract")


def _is_word(word: str) -> bool:
    name, equals, _ = word.partition("=")
    return bool(equals) and name.strip().partition(".")[0] in TABLES


def _word(word: str) -> dict[str, Any]:
    name, _, value = word.partition("=")
    try:
        return tomllib.loads(f"{name} = {value}")
    except (tomllib.TOMLDecodeError, RecursionError):
        pass
    try:
        return tomllib.loads(f"{name} = {_quoted(value.strip())}")  # a shell removes quotes
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(
            f"{word!r} cannot be read ({error}); expected for example input.range=[-1,1]"
        ) from error


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _file(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(
                f"{path} has {path.stat().st_size:,} bytes; expected a contract of {MOST_BYTES:,} at most"
            )
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(
            f"contract {path} cannot be read ({error}); expected TOML such as\n{EXAMPLE}"
        ) from error
