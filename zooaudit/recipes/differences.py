"""The differences of two recipes."""

from dataclasses import dataclass
from typing import Any

from zooaudit.config import Recipe
from zooaudit.recipes.fields import fields_of, is_mapping
from zooaudit.recipes.text import key, toml_value

MOST_NAMED = 3
"""How many changed fields a name lists."""


@dataclass(frozen=True)
class Difference:
    """A field whose values differ, both as TOML."""

    path: str
    before: str
    after: str


def differences(before: Recipe, after: Recipe) -> list[Difference]:
    """The fields that differ, in the recipe's order, apart from the name."""
    return [d for d in _compared(before, after, type(before), "") if d.path != "name"]


def _compared(before: Any, after: Any, owner: type, path: str) -> list[Difference]:
    found = []
    for name, one in fields_of(owner).items():
        a, b = getattr(before, name), getattr(after, name)
        if a == b:
            continue
        if one.table is not None and not one.many and a is not None and b is not None:
            found += _compared(a, b, one.table, f"{path}{name}.")
        elif is_mapping(one.hint) and list(dict(b))[: len(a)] == list(
            dict(a)
        ):  # entries were changed or added
            there = dict(a)
            changed = {n: v for n, v in b if there.get(n) != v}
            found += [
                Difference(
                    f"{path}{name}.{key(n)}",
                    toml_value(there[n]) if n in there else "not there",
                    toml_value(v),
                )
                for n, v in changed.items()
            ]
        else:
            # A list of names, which replaces all of it.
            found.append(Difference(f"{path}{name}", toml_value(a), toml_value(b)))
    return found


def changed_name(before: Recipe, after: Recipe) -> str:
    """The name of a changed recipe: ``fmnist-quick with zoo.references=8``."""
    listed = [f"{d.path}={d.after}" for d in differences(before, after)]
    if not listed:
        return before.name
    text = f"{before.name} with {', '.join(listed[:MOST_NAMED])}"
    if len(listed) <= MOST_NAMED and len(text) <= 120 and text.isprintable():
        return text
    return (
        f"{before.name[:80]} with {len(listed)} {'field' if len(listed) == 1 else 'fields'} changed"
        f" ({after.digest[:8]})"
    )
