"""What the project requires, and what of it a machine installs."""

import importlib.metadata
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.places import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TARGETS = pytest.mark.parametrize("target", ["cpu", "cuda"])
TORCHS_OWN = ("nvidia-", "cuda-", "triton")
"""Platform parts of torch, which follow its own pins."""


def installed_by(wanted: list[str]) -> dict[str, Requirement]:
    """Every package that pip would install for these requirements, by what the packages
    installed here say."""
    found: dict[str, Requirement] = {}
    open_ = [Requirement(text) for text in wanted]
    while open_:
        requirement = open_.pop()
        name = canonicalize_name(requirement.name)
        asked = found.get(name, Requirement(name)).extras | requirement.extras
        if name in found and asked == found[name].extras:
            continue
        found[name] = requirement
        for text in importlib.metadata.requires(requirement.name) or []:
            needed = Requirement(text)
            if not needed.marker or any(needed.marker.evaluate({"extra": extra}) for extra in {"", *asked}):
                open_.append(needed)
    return found
