"""Recipes in files."""

from pathlib import Path

from zooaudit.config import Recipe
from zooaudit.planning.measured import DOMAINS
from zooaudit.planning.sizing import planned


def written(folder: Path, text: str, name: str = "mine.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def ids(recipe: Recipe) -> list[str]:
    return [s.id for s in planned(recipe, DOMAINS[recipe.dataset]).specs]


BASED = 'inherit = "digits"\n'
