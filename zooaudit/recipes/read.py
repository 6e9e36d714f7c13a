"""A recipe by its name, or from a TOML file that may inherit from another, with single fields changed."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from zooaudit.config import Recipe
from zooaudit.errors import ConfigError
from zooaudit.recipes.differences import changed_name, differences
from zooaudit.recipes.named import RECIPES
from zooaudit.recipes.text import toml_value
from zooaudit.recipes.values import Place, changed, found, nearest

INHERIT = "inherit"
MOST_BYTES = 2**20
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.:/+-]*")
"""Values that need no quotes on the command line; ``true``, ``inf`` and ``nan`` are TOML's own."""
EXPECTED = "expected for example zoo.references=8"


def recipe_of(named: str, settings: Sequence[str] = ()) -> Recipe:
    """The recipe of that name, or in that file, changed by ``settings``: each ``table.field=value``, with the
    value as in TOML.

    A changed recipe is named after its changes, ``fmnist-quick with zoo.references=8``, unless ``name`` is
    set too.

    Raises:
        ConfigError: there is no such recipe, or a file or a setting is wrong: names the field, what was found
            and what was expected.
    """
    base = named_recipe(named)
    if not settings:
        return base
    table = _merged(settings)
    made: Recipe = changed(base, Recipe, table, Place("--set"))
    if "name" not in table:
        return replace(made, name=changed_name(base, made))
    return _own_name(made, "--set name")


def named_recipe(named: str) -> Recipe:
    """The recipe of that name or in that file."""
    if is_file(named):
        return read_recipe(Path(named))
    if named in RECIPES:
        return RECIPES[named]
    raise _unknown(named, Path())


def is_file(named: str) -> bool:
    """Whether it is a path, as opposed to a recipe's name."""
    return named not in RECIPES and (named.endswith(".toml") or "/" in named or "\\" in named)


def read_recipe(path: Path) -> Recipe:
    """The complete recipe in a file, named after the file unless it states a name.

    Raises:
        ConfigError: see ``recipe_of``; or files inherit from each other in a circle.
    """
    return _read(path, ())


def base_of(path: Path) -> Recipe | None:
    """The recipe that a file inherits from, if it does."""
    table = _table(path)
    return _inherited(path, table, (path.resolve(),))


def _read(path: Path, behind: tuple[Path, ...]) -> Recipe:
    if path.resolve() in behind:
        circle = " inherits from ".join(p.name for p in (*behind[behind.index(path.resolve()) :], path))
        raise ConfigError(f"{path}: {circle}; expected no circle")
    table = _table(path)
    base = _inherited(path, table, (*behind, path.resolve()))
    own = {"name": path.stem} | {k: v for k, v in table.items() if k != INHERIT}
    if base is None and "dataset" not in own:
        raise ConfigError(
            f'{path}: it has neither {INHERIT} nor dataset; expected {INHERIT} = "NAME", to change a recipe,'
            ' or dataset = "NAME"'
        )
    made: Recipe = changed(base, Recipe, own, Place(str(path)))
    return _own_name(made, f"{path}: name")


def _own_name(made: Recipe, where: str) -> Recipe:
    """Refuse the name of a built-in recipe: readers of a report would confuse the two."""
    known = RECIPES.get(made.name)
    if known is not None and (differ := differences(known, made)):
        listed = ", ".join(f"{d.path} ({d.before} there, {d.after} here)" for d in differ[:3])
        raise ConfigError(
            f'{where} is "{made.name}", a built-in recipe that differs in {listed}; expected another name'
        )
    return made


def _inherited(path: Path, table: Mapping[str, Any], behind: tuple[Path, ...]) -> Recipe | None:
    if INHERIT not in table:
        return None
    named = table[INHERIT]
    if not isinstance(named, str):
        raise ConfigError(
            f"{path}: {INHERIT} is {found(named)}; expected a recipe's name, or a file's, in quotes"
        )
    if is_file(named):
        return _read(path.parent / named, behind)
    if named in RECIPES:
        return RECIPES[named]
    raise ConfigError(f"{path}: {INHERIT}: {_unknown(named, path.parent)}")


def _unknown(named: str, folder: Path) -> ConfigError:
    known = ", ".join(sorted(RECIPES))
    near = nearest(named, RECIPES)
    if (folder / f"{named}.toml").is_file():
        hint = f"; there is a file {named}.toml: add .toml for it"
    else:
        hint = f"; did you mean {near}?" if near else "; a file's name ends in .toml"
    return ConfigError(f"unknown recipe {named!r}; known recipes: {known}{hint}")


def _table(path: Path) -> dict[str, Any]:
    """A file's TOML."""
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; expected a recipe's TOML file")
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except OSError as error:
        why = (
            "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        )
        raise ConfigError(
            f"{path} {why}; expected a recipe's TOML file, or one of {', '.join(sorted(RECIPES))}"
        ) from error
    if len(raw) > MOST_BYTES:
        raise ConfigError(f"{path} is larger than {MOST_BYTES:,} bytes; expected a recipe's TOML file")
    try:
        return tomllib.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8; expected TOML in UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    except (
        RecursionError,
        ValueError,
    ) as error:  # thousands of brackets; an impossible date; an integer of thousands of digits
        raise ConfigError(
            f"{path} is not TOML that can be read: {type(error).__name__}: {str(error).splitlines()[0]}"
        ) from error


def _merged(settings: Sequence[str]) -> dict[str, Any]:
    """All settings as one table."""
    merged: dict[str, Any] = {}
    for text in settings:
        _put(merged, _setting(text), text, ())
    return merged


def _setting(text: str) -> dict[str, Any]:
    """``a.b=value`` as the table ``{"a": {"b": value}}``."""
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not name or "\n" in text or "\r" in text:
        raise ConfigError(f"--set {text!r} is not a setting; {EXPECTED}")
    if not value:
        raise ConfigError(f'--set {name} has no value; {EXPECTED}, or "" for an empty string')
    try:
        return tomllib.loads(f"{name} = {value}")
    except (ValueError, RecursionError) as error:
        why = str(error).replace("(at line 1, ", "(").splitlines()[0]
    if not WORD.fullmatch(value):
        quoted = toml_value(value)
        raise ConfigError(
            f'--set {text}: the value is not TOML: {why}; {EXPECTED}, zoo.architectures=\'["B", "C"]\', or a'
            f" string, {quoted}"
        )
    try:
        return tomllib.loads(f'{name} = "{value}"')
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"--set {text}: {name!r} is not a field's name; {EXPECTED}") from error


def _put(into: dict[str, Any], table: Mapping[str, Any], text: str, path: tuple[str, ...]) -> None:
    for name, value in table.items():
        here = (*path, name)
        if name not in into:
            into[name] = dict(_copied(value)) if isinstance(value, Mapping) else value
        elif isinstance(into[name], dict) and isinstance(value, Mapping):
            _put(into[name], value, text, here)
        else:
            raise ConfigError(f"--set {text}: {'.'.join(here)} is set twice; expected once")


def _copied(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        yield name, dict(_copied(value)) if isinstance(value, Mapping) else value
