"""Audits from Python."""

import html
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zooaudit import config
from zooaudit.api.command import run
from zooaudit.recipes.read import recipe_of
from zooaudit.recipes.text import toml_value


@dataclass(frozen=True)
class Recipe:
    """What an audit does: a named recipe or a TOML file, with single fields changed.

    >>> Recipe.load("digits").with_({"zoo.twins": 39}, seed=3).config.zoo.twins
    39
    """

    source: str
    settings: tuple[str, ...] = ()

    @staticmethod
    def load(source: str | Path) -> "Recipe":
        """Load a recipe by its name, or from a TOML file.

        Raises:
            ConfigError: there is no such recipe, or the file is not a valid one.
        """
        recipe = Recipe(str(source))
        _ = recipe.config
        return recipe

    def with_(self, fields: Mapping[str, Any] | None = None, **more: Any) -> "Recipe":
        """The recipe with new values for some fields, by their paths:
        ``{"zoo.twins": 39, "uap.epsilon": 0.1}``; top-level fields also by keyword: ``seed=3``.
        All fields: docs/recipes.md.

        Raises:
            ConfigError: there is no such field, or it cannot have that value.
        """
        values = (dict(fields or {}) | more).items()
        changed = Recipe(
            self.source, (*self.settings, *(f"{name}={toml_value(value)}" for name, value in values))
        )
        _ = changed.config
        return changed

    @property
    def config(self) -> config.Recipe:
        """All values."""
        return recipe_of(self.source, list(self.settings))


@dataclass(frozen=True)
class Audit:
    """A finished audit.

    Attributes:
        run: its name in the store.
        kit: the audit kit's id, for ``load_kit``.
        report: the path of the HTML report.
        summary: everything that ``zooaudit audit --json`` prints.
    """

    run: str
    kit: str
    report: Path
    summary: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return self.summary

    def _repr_html_(self) -> str:
        finding, run, page = (
            html.escape(str(x)) for x in (self.summary["finding"]["text"], self.run, self.report)
        )
        return f"<p>{finding}</p><p>run <code>{run}</code>, kit <code>{self.kit}</code>, report {page}</p>"


def audit(
    recipe: "str | Path | Recipe" = "digits",
    store: str | Path = "store",
    farm: str = "serial",
    **options: Any,
) -> Audit:
    """Audit a victim from end to end: train twins, references and suspects, make the kit, write the report.
    Models that are in the store are not trained again, so repeat the call to resume an interrupted audit.

    Args:
        recipe: a name, a TOML file or a ``Recipe``.
        store: a folder or ``s3://bucket/prefix``.
        farm: ``serial``: train in this process; ``ray``: on the cluster of RAY_ADDRESS or a private one.
        options: those of ``zooaudit audit``, with ``_`` for ``-``:
            ``data="photos", victim="mine.safetensors", factory="nets:make", train="training:train",
            twins=39``.

    Raises:
        ConfigError, DataError, ModelError: an option, the data or the victim does not fit.
        StoreError, NotEnoughModelsError, FarmError: see :mod:`zooaudit.errors`.
    """
    chosen = recipe if isinstance(recipe, Recipe) else Recipe(str(recipe))
    settings = [*chosen.settings, *options.pop("set", ())]
    summary = run(
        "audit", {"recipe": chosen.source, "set": settings or None, "store": store, "farm": farm, **options}
    )
    return Audit(summary["run"], summary["kit"], Path(summary["report"]), summary)
