"""The fields of a recipe: path, type, meaning and default of each, from the dataclasses of
:mod:`zooaudit.config`."""

import ast
import dataclasses
import inspect
import itertools
import sys
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from zooaudit.config import Recipe

NONE = "none"
"""Stands for None in a file, since TOML has no null."""


@dataclass(frozen=True)
class Field:
    """One field of a recipe's dataclass.

    Attributes:
        hint: its type, as annotated.
        meaning: the docstring under it, on one line.
        default: None without one, see ``required``.
        table: the dataclass, if the value is one or a tuple of them.
    """

    name: str
    hint: Any
    meaning: str
    default: Any
    required: bool
    table: type | None
    many: bool
    """Whether its value is a tuple of ``table``."""


def fields_of(owner: type) -> dict[str, Field]:
    """The fields of one dataclass by name, in order."""
    hints, meanings = typing.get_type_hints(owner), _meanings(owner)
    found = {}
    for one in dataclasses.fields(owner):
        has_factory = one.default_factory is not dataclasses.MISSING
        required = one.default is dataclasses.MISSING and not has_factory
        default = (
            None
            if required
            else one.default_factory()
            if one.default_factory is not dataclasses.MISSING
            else one.default
        )
        table, many = _table(hints[one.name])
        found[one.name] = Field(
            one.name, hints[one.name], meanings.get(one.name, ""), default, required, table, many
        )
    return found


def walk(owner: type = Recipe, path: str = "") -> Iterator[tuple[str, Field]]:
    """Every field with a value, by its path (``zoo.training.epochs``); nested tables are replaced by their
    fields."""
    for name, one in fields_of(owner).items():
        here = f"{path}{name}"
        if one.table is None or one.many:
            yield here, one
        if one.table is not None:
            yield from walk(one.table, f"{here}[]." if one.many else f"{here}.")


def tables() -> dict[type, list[str]]:
    """By dataclass, the tables of a recipe that have its fields: ``{ZooConfig: ["zoo"], ...}``, with ``[]``
    after those in lists."""
    found: dict[type, list[str]] = {}

    def look(owner: type, path: str) -> None:
        for name, one in fields_of(owner).items():
            if one.table is not None:
                here = f"{path}{name}{'[]' if one.many else ''}"
                found.setdefault(one.table, []).append(here)
                look(one.table, f"{here}.")

    look(Recipe, "")
    return found


def optional(hint: Any) -> tuple[Any, bool]:
    """A type without its ``| None``, and whether it had one."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return hint, False
    rest = [t for t in typing.get_args(hint) if t is not type(None)]
    return (rest[0] if len(rest) == 1 else typing.Union[tuple(rest)]), len(rest) < len(typing.get_args(hint))  # noqa: UP007  of a list


def is_mapping(hint: Any) -> bool:
    """Whether a type is a tuple of pairs by name, ``tuple[tuple[str, X], ...]``: a table in a file."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is not tuple or len(arguments) != 2 or arguments[1] is not ...:
        return False
    pair = typing.get_args(arguments[0])
    return typing.get_origin(arguments[0]) is tuple and len(pair) == 2 and pair[0] is str


def type_text(hint: Any) -> str:
    """A type in words, for people."""
    hint, may_be_none = optional(hint)
    arguments = typing.get_args(hint)
    plain = {int: "an integer", float: "a number", str: "a string", bool: "true or false"}
    if hint in plain:
        words = plain[hint]
    elif typing.get_origin(hint) is typing.Literal:
        words = "one of " + ", ".join(f'"{a}"' for a in arguments)
    elif is_mapping(hint):
        words = f"a table of names, each with {type_text(typing.get_args(arguments[0])[1])}"
    elif typing.get_origin(hint) is tuple and len({*arguments} - {...}) > 1:
        words = f"a list of {len(arguments)}: {', '.join(type_text(a) for a in arguments)}"
    elif typing.get_origin(hint) is tuple:
        words = (
            f"a list of {_plural(arguments[0])}"
            if arguments[-1] is ...
            else f"a list of {len(arguments)} {_plural(arguments[0])}"
        )
    else:
        words = "a table"
    return f'{words}, or "{NONE}"' if may_be_none else words


def _plural(hint: Any) -> str:
    plain = {int: "integers", float: "numbers", str: "strings", bool: "true or false"}
    if typing.get_origin(hint) is typing.Literal:
        return "some of " + ", ".join(f'"{a}"' for a in typing.get_args(hint))
    return plain.get(hint, "tables")


def _table(hint: Any) -> tuple[type | None, bool]:
    hint, _ = optional(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return hint, False
    inner = [a for a in typing.get_args(hint) if dataclasses.is_dataclass(a) and isinstance(a, type)]
    return (inner[0], True) if inner else (None, False)


def _meanings(owner: type) -> dict[str, str]:
    """The docstrings under the fields of a class. The interpreter discards them, so they are read from the
    source."""
    body = next(
        (
            n.body
            for n in _module(owner.__module__).body
            if isinstance(n, ast.ClassDef) and n.name == owner.__name__
        ),
        [],
    )
    found = {}
    for field, text in itertools.pairwise(body):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if (
            isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
            and isinstance(text.value.value, str)
        ):
            found[field.target.id] = " ".join(text.value.value.split()).replace("``", "")
    return found


@cache
def _module(name: str) -> ast.Module:
    return ast.parse(inspect.getsource(sys.modules[name]))
