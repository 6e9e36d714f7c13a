"""From TOML values to a recipe's values, strictly: nothing is converted that might have been meant
differently.

An integer is accepted as a number, since 1 and 1.0 are the same; a number is never accepted as an integer,
nor ``true`` as 1, nor a string as anything else. Ranges are checked by the dataclasses.
"""

import dataclasses
import datetime
import difflib
import math
import re
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from zooaudit.config import ExtractConfig
from zooaudit.errors import ConfigError
from zooaudit.recipes.fields import NONE, fields_of, is_mapping, optional, tables, type_text, walk
from zooaudit.zoo.arch import EXPECTED, KNOWN, is_known
from zooaudit.zoo.spec import STARTED

NETS = ("victim_architecture", "architectures", "encoder_architectures", "epochs", "mirrored", "thieves")
"""Fields of a zoo that name architectures. The planner uses only some; in the others an unknown name would
silently change nothing."""
SHOWN = 60


@dataclass(frozen=True)
class Place:
    """The place of a value, for errors.

    Attributes:
        source: a file, or ``--set``.
        path: of the table, ``zoo.training``; empty for the top.
    """

    source: str
    path: str = ""

    def at(self, name: str) -> "Place":
        return replace(self, path=f"{self.path}.{name}" if self.path else name)

    def error(self, name: str, what: str) -> ConfigError:
        """An error about the field ``name`` of this table."""
        if self.source.startswith("--set"):
            return ConfigError(f"--set {self.path + '.' if self.path else ''}{name}{what}")
        return ConfigError(f"{self.source}: {f'[{self.path}] ' if self.path else ''}{name}{what}")


def changed(base: Any, owner: type[Any], table: Mapping[str, Any], place: Place) -> Any:
    """``base``, or a new ``owner`` if it is None, with the fields from a table of a file.

    Raises:
        ConfigError: a field is unknown, missing, of another type, or out of the range that the dataclass
            allows.
    """
    known = fields_of(owner)
    values = {}
    for name, raw in table.items():
        if name not in known:
            raise place.error(name, _unknown(name, known, place))
        now = getattr(base, name) if base is not None else known[name].default
        values[name] = _value(known[name].hint, raw, now, place, name)
    if base is None and (lacking := [n for n, f in known.items() if f.required and n not in values]):
        raise place.error(
            lacking[0],
            f" is missing; expected {type_text(known[lacking[0]].hint)}: {known[lacking[0]].meaning}",
        )
    try:
        made = owner(**values) if base is None else dataclasses.replace(base, **values)
    except ConfigError as error:
        raise _placed(error, owner, place) from error
    _check_nets(values, place)
    return made


def _unknown(name: str, known: Iterable[str], place: Place) -> str:
    near = nearest(name, known)
    text = f" is not a field{f' of [{place.path}]' if place.path else ''}; "
    elsewhere = [path for path, _ in walk() if path.rpartition(".")[2] == name and "[]" not in path]
    if elsewhere:
        return f"{text}there is {' and '.join(elsewhere)}"
    if near:
        return f"{text}did you mean {near}?"
    return f"{text}expected one of {', '.join(known)}"


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that ``name`` was probably meant to be; "" if none is similar."""
    return next(iter(difflib.get_close_matches(name, list(known), 1)), "")


def _value(hint: Any, raw: Any, now: Any, place: Place, name: str) -> Any:
    """One value of the type ``hint``; ``now`` is the value that a table changes."""
    hint, may_be_none = optional(hint)
    if may_be_none and raw == NONE:
        return None
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(raw, Mapping):
            raise _mistyped(hint, raw, place, name)
        return changed(now, hint, raw, place.at(name))
    if is_mapping(hint):
        return _pairs(hint, raw, now, place, name)
    if typing.get_origin(hint) is tuple:
        return _items(hint, raw, place, name)
    if typing.get_origin(hint) is typing.Literal:
        return _literal(hint, raw, place, name)
    if isinstance(raw, bool) is not (hint is bool) or not isinstance(
        raw, (int, float) if hint is float else hint
    ):
        raise _mistyped(hint, raw, place, name)
    if hint is not float:
        return raw
    if not math.isfinite(raw):
        raise place.error(name, f" is {raw}; expected a finite number")
    return float(raw)


def _items(hint: Any, raw: Any, place: Place, name: str) -> tuple[Any, ...]:
    """A list, which replaces the previous one."""
    inner = typing.get_args(hint)
    many = inner[-1] is ...
    if not isinstance(raw, list) or not (many or len(raw) == len(inner)):
        raise _mistyped(hint, raw, place, name)
    types_ = [inner[0]] * len(raw) if many else list(inner)
    return tuple(
        _value(t, item, None, place, f"{name}[{i}]")
        for i, (t, item) in enumerate(zip(types_, raw, strict=True))
    )


def _pairs(hint: Any, raw: Any, now: Any, place: Place, name: str) -> tuple[tuple[str, Any], ...]:
    """A table of names, whose entries are added to the existing ones; or a list of pairs, which replaces
    all."""
    if isinstance(raw, list):
        return _items(hint, raw, place, name)
    if not isinstance(raw, Mapping):
        raise _mistyped(hint, raw, place, name)
    type_ = typing.get_args(typing.get_args(hint)[0])[1]
    given = {key: _value(type_, item, None, place.at(name), key) for key, item in raw.items()}
    return tuple((dict(now or ()) | given).items())


def _literal(hint: Any, raw: Any, place: Place, name: str) -> Any:
    choices = typing.get_args(hint)
    if isinstance(raw, str) and raw in choices:
        return raw
    near = nearest(raw, choices) if isinstance(raw, str) else ""
    raise place.error(
        name, f" is {found(raw)}; expected {type_text(hint)}{f'; did you mean {near}?' if near else ''}"
    )


def _mistyped(hint: Any, raw: Any, place: Place, name: str) -> ConfigError:
    quoted = hint is str and not isinstance(raw, list | Mapping)
    hint_ = f', in quotes: "{_toml_word(raw)}"' if quoted else ""
    return place.error(name, f" is {found(raw)}; expected {type_text(hint)}{hint_}")


def _toml_word(raw: Any) -> str:
    return str(raw).lower() if isinstance(raw, bool) else str(raw)


def found(raw: Any) -> str:
    """A value as in a file, with its TOML type."""
    kinds = {
        bool: "a truth value",
        int: "an integer",
        float: "a floating-point number",
        str: "a string",
        list: "a list",
    }
    if isinstance(raw, Mapping):
        return "a table"
    if isinstance(raw, datetime.date | datetime.time):
        return f"{raw}, a date or time"
    shown = f'"{raw}"' if isinstance(raw, str) else _toml_word(raw)
    return (
        f"{shown if len(shown) <= SHOWN else shown[:SHOWN] + '...'},"
        f" {kinds.get(type(raw), type(raw).__name__)}"
    )


def _check_nets(values: Mapping[str, Any], place: Place) -> None:
    """Check that every named architecture exists."""
    if place.path != "zoo":
        return
    for name in NETS:
        value = values.get(name, ())
        named = [value] if isinstance(value, str) else [_net_of(v) for v in value]
        if unknown := [n for n in named if n and n != STARTED and not is_known(n)]:
            near = nearest(unknown[0], KNOWN)
            text = f"did you mean {near}?" if near else f"expected some of {EXPECTED}"
            raise place.error(name, f' names the architecture "{unknown[0]}", which does not exist; {text}')


def _net_of(value: Any) -> str:
    """The architecture in an entry of a list: the entry itself, the first of a pair, or a thief's."""
    if isinstance(value, ExtractConfig):
        return value.architecture
    return str(value if isinstance(value, str) else value[0])


def _placed(error: ConfigError, owner: type, place: Place) -> ConfigError:
    """A dataclass's error in terms of the file: with its tables instead of our classes."""
    message = str(error)
    if match := re.match(rf"{owner.__name__}\.(\w+)", message):
        return place.error(match[1], message[match.end() :])
    for made, paths in tables().items():
        where = " or ".join(f"[{p}]" for p in paths)
        message = re.sub(rf"\b{made.__name__}\.(\w+)", rf"{where} \1", message)
    return ConfigError(f"{place.source}: {message}")
