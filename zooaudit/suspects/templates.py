"""Requests described by a template: JSON in which placeholders stand for images. Pure."""

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from zooaudit.suspects.pictures import jpeg, png

SINGLE, MANY = ("$image", "$png", "$jpeg"), ("$images", "$pngs", "$jpegs")
"""Stand in a template for one image and for all of a request: numbers in the layout, or a file as base64. ``$png`` and ``$jpeg`` may have
text before them, as in ``data:image/png;base64,$png``."""
EACH = "$each"
"""An object with this one key is a list: what stands under it once for each image of the request, where ``$image`` is that image."""
FILES = {"$png": png, "$jpeg": jpeg}
Numbers = Callable[[Tensor], Any]


def placeholders(template: Any) -> set[str]:
    """Placeholders in a template; those under ``$each`` as the ones for all images."""
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
    """A template with float images ``[n, c, h, w]`` in the places of placeholders.

    Args:
        numbers: from images to an array ``[n, ...]``.
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
