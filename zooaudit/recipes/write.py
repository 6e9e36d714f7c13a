"""Write a recipe as a complete, commented TOML file, which reads back to the same recipe."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from zooaudit.config import Recipe
from zooaudit.recipes.fields import Field, fields_of, optional, type_text
from zooaudit.recipes.text import toml_value

WIDTH = 110
HEADER = (
    "A recipe of zooaudit: zooaudit audit --recipe FILE. Lines that begin with # and a field's name have its"
    ' default; remove the # to change it. Instead of everything, a file may have inherit = "NAME" (or'
    " another file's name) and only what it changes."
)
NO_NOTES: Mapping[str, str] = {}


def to_toml(recipe: Recipe, notes: Mapping[str, str] = NO_NOTES, header: str = HEADER) -> str:
    """The whole recipe; fields with their default are commented out.

    Args:
        notes: by path (``zoo.training.epochs``), what a value was derived from; such a value is never
            commented out.
        header: the beginning of the file.
    """
    lines = [*_comment(header), "", *_table(recipe, Recipe, None, "", notes)]
    return "\n".join(lines).rstrip() + "\n"


def _table(value: Any, owner: type, default: Any, path: str, notes: Mapping[str, str]) -> Iterator[str]:
    """Plain fields first, since whatever follows a table's header belongs to that table.

    Args:
        default: the value of a file without this table; None for the dataclass's own defaults.
    """
    later = []
    for name, one in fields_of(owner).items():
        now, usual = getattr(value, name), one.default if default is None else getattr(default, name)
        if one.table is not None and not one.many and now is not None:
            later.append((name, one, now, usual))
            continue
        kept = now != usual or (one.required and default is None) or f"{path}{name}" in notes
        required = one.required and default is None
        yield from _comment(_explained(one, "" if required or now == usual else toml_value(usual, one.hint)))
        if f"{path}{name}" in notes:
            yield from _comment(f"From: {notes[f'{path}{name}']}")
        yield f"{'' if kept else '#'}{name} = {_lines(now, one)}"
        yield ""
    for name, one, now, usual in later:
        assert one.table is not None
        yield from _comment(one.meaning)
        yield f"[{path}{name}]"
        yield from _table(now, one.table, usual, f"{path}{name}.", notes)


def _explained(one: Field, usual: str) -> str:
    """A field's meaning and type, and its default if the value differs."""
    expected, default = type_text(one.hint), f"; default {usual}" if usual else ""
    more = ""
    if one.many and one.table is not None:
        fields = [
            f"{n} ({type_text(f.hint)}'' if f.required else f', default {toml_value(f.default)}'):"
            f" {f.meaning}"
            for n, f in fields_of(one.table).items()
        ]
        more = " Each has " + " ".join(fields)
    elif optional(one.hint)[1] and one.table is not None:
        more = " To have one, make a table of this name, with fields as in the one of the same kind."
    return f"{one.meaning} ({expected[0].upper()}{expected[1:]}{default}.){more}"


def _lines(value: Any, one: Field) -> str:
    """Tables in a list each go on a line of their own."""
    if one.many and value:
        return "[\n" + "".join(f"    {toml_value(v)},\n" for v in value) + "]"
    return toml_value(value, one.hint)


def _comment(text: str) -> list[str]:
    return [
        f"# {line}"
        for line in textwrap.wrap(
            " ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False
        )
    ]
