"""Requests described by a template: JSON in which placeholders stand for images. Pure."""

import base64
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from zooaudit.errors import ConfigError
from zooaudit.suspects.pictures import jpeg, png

SINGLE, MANY = ("$image", "$png", "$jpeg"), ("$images", "$pngs", "$jpegs")
"""Placeholders for one image and for all images of a request: numbers in the layout, or a file as base64.
``$png`` and ``$jpeg`` may have text before them, as in ``data:image/png;base64,$png``."""
EACH = "$each"
"""An object with this single key becomes a list: its value once for each image of the request, with
``$image`` as that image."""
LARGEST = 2**63
FILES = {"$png": png, "$jpeg": jpeg}
Numbers = Callable[[Tensor], Any]
MOST_PLACES, MOST_VALUES, MOST_CHARACTERS, DEEPEST = 4, 10_000, 100_000, 32
"""A template's limits of placeholders, values, characters and levels: a request is at most this multiple of
its images, plus a constant."""


def check_template(template: Any) -> None:
    """Refuse a template that would make a request far larger than its images, before it is filled.

    Raises:
        ConfigError: too many places for images, values, characters or levels, or something that JSON lacks.
    """
    places = values = characters = 0
    pending = [(template, 1)]
    while pending:
        one, level = pending.pop()
        values += 1
        if isinstance(one, dict | list) and level > DEEPEST:
            raise ConfigError(f"the request template has more than {DEEPEST} levels; expected fewer")
        if isinstance(one, dict):
            if wrong := next((k for k in one if not isinstance(k, str)), None):
                raise ConfigError(
                    f"the request template is not JSON (the name {str(wrong)[:40]!r}); expected texts as"
                    " names"
                )
            characters += sum(map(len, one))
            pending += [(inner, level + 1) for inner in one.values()]
        elif isinstance(one, list):
            pending += [(inner, level + 1) for inner in one]
        elif isinstance(one, str):
            places, characters = places + bool(_placeholder(one)), characters + len(one)
        elif isinstance(one, float) and not math.isfinite(one):
            raise ConfigError(f"the request template is not JSON ({one}); expected finite numbers")
        elif isinstance(one, int) and abs(one) > LARGEST:
            raise ConfigError("the request template has a number of more than 64 bits; expected smaller ones")
        elif one is not None and not isinstance(one, int | float):
            raise ConfigError(
                f"the request template is not JSON (a {type(one).__name__}); expected texts, numbers, lists"
                " and tables"
            )
        for what, found, most in (
            ("places for images", places, MOST_PLACES),
            ("values", values, MOST_VALUES),
        ):
            if found > most:
                raise ConfigError(
                    f"the request template has more than {most:,} {what}; expected {most:,} at most"
                )
        if characters > MOST_CHARACTERS:
            raise ConfigError(
                f"the request template has more than {MOST_CHARACTERS:,} characters; expected"
                f" {MOST_CHARACTERS:,} at most"
            )


def placeholders(template: Any) -> set[str]:
    """Placeholders in a template; those under ``$each`` are named as the ones for all images."""
    if isinstance(template, dict):
        if set(template) == {EACH}:
            return {MANY[SINGLE.index(one)] if one in SINGLE else one for one in placeholders(template[EACH])}
        return set().union(*map(placeholders, template.values()))
    if isinstance(template, list):
        return set().union(*map(placeholders, template))
    found = _placeholder(template)
    return {found} if found else set()


def _placeholder(text: Any) -> str:
    if not isinstance(text, str):
        return ""
    if text in (*SINGLE, *MANY):
        return text
    return next((name for name in FILES if text.startswith("data:") and text.endswith(name)), "")


def filled(template: Any, images: Tensor, numbers: Numbers) -> Any:
    """A template with float images ``[n, c, h, w]`` in the place of placeholders.

    Args:
        numbers: converts images to an array ``[n, ...]``.
    """
    if isinstance(template, dict):
        if set(template) == {EACH}:
            return [filled(template[EACH], images[i : i + 1], numbers) for i in range(len(images))]
        return {k: filled(v, images, numbers) for k, v in template.items()}
    if isinstance(template, list):
        return [filled(v, images, numbers) for v in template]
    name = _placeholder(template)
    if not name:
        return template
    if name in ("$image", "$images"):
        values: np.ndarray = numbers(images)
        return values[0].tolist() if name == "$image" else values.tolist()
    packed = [base64.b64encode(FILES[name.removesuffix("s")](i)).decode() for i in images]
    return template.removesuffix(name) + packed[0] if name in FILES else packed
