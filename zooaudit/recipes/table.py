"""All fields of a recipe as Markdown, for docs/recipes.md."""

from collections.abc import Iterator

from zooaudit.config import Recipe
from zooaudit.recipes.fields import fields_of, tables, type_text
from zooaudit.recipes.text import toml_value


def fields_table() -> str:
    """A table for each dataclass, in the order of a file."""
    return "\n".join(_sections())


def _sections() -> Iterator[str]:
    for owner, paths in {Recipe: [""], **tables()}.items():
        names = ", ".join(
            f"`[{p}]`" if "[]" not in p else f"`[[{p.removesuffix('[]')}]]`" for p in paths if p
        )
        yield f"### {names or 'At the top'}\n"
        yield "| field | takes | default | meaning |\n|---|---|---|---|"
        for name, one in fields_of(owner).items():
            if one.table is not None and not one.many and one.default is not None:
                continue  # a table of its own, below
            default = "" if one.required else f"`{toml_value(one.default, one.hint)}`"
            yield f"| `{name}` | {type_text(one.hint)} | {default} | {one.meaning} |"
        yield ""
