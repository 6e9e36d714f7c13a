"""Lists in pages: a limited number of entries, and a cursor to the next page."""

import base64
import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Query

from zooaudit.serving.problems import Refused

MOST = 1000
Limit = Annotated[int, Query(ge=1, le=MOST, description="the most entries")]
Cursor = Annotated[
    str | None, Query(max_length=500, description="the field next of the page before: gives the next page")
]
Place = Sequence[int | float | str]
"""The place of an entry in the order of all."""


def cursor_of(place: Place) -> str:
    """Encode an entry's place as a cursor, for callers to send back unchanged."""
    return base64.urlsafe_b64encode(json.dumps(list(place)).encode()).decode().rstrip("=")


def place_of(cursor: str | None, kinds: Sequence[type]) -> list[Any] | None:
    """The place in a cursor from ``cursor_of``; None for the first page.

    Raises:
        Refused: 422, the cursor is not valid.
    """
    if cursor is None:
        return None
    try:
        place = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError):
        place = None
    if not isinstance(place, list) or [type(p) for p in place] != list(kinds):
        raise Refused(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "the cursor is not one of this list's",
            cursor[:80],
            "what next said, unchanged",
        )
    return place


def page_of(names: Sequence[str], limit: int, cursor: str | None) -> tuple[list[str], str | None]:
    """A page of sorted names, and the cursor to the next page; None if it is the last."""
    after = place_of(cursor, [str])
    left = [n for n in names if after is None or n > after[0]]
    return left[:limit], cursor_of([left[limit - 1]]) if len(left) > limit else None
