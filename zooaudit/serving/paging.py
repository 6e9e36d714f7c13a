"""Lists in pages: at most so many, and a cursor to what follows."""

import base64
import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Query

from zooaudit.serving.problems import Refused

MOST = 1000
Limit = Annotated[int, Query(ge=1, le=MOST, description="entries at most")]
Cursor = Annotated[
    str | None, Query(max_length=500, description="as the page before said in next: what follows it")
]
Place = Sequence[int | float | str]
"""Of an entry among all, in their order."""


def cursor_of(place: Place) -> str:
    """An entry's place, for callers to send back as it is."""
    return base64.urlsafe_b64encode(json.dumps(list(place)).encode()).decode().rstrip("=")


def place_of(cursor: str | None, kinds: Sequence[type]) -> list[Any] | None:
    """The place that ``cursor_of`` told; None for the first page.

    Raises:
        Refused: 422, it told none such.
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
            "the cursor is none of this list's",
            cursor[:80],
            "what next said, as it was",
        )
    return place


def page_of(names: Sequence[str], limit: int, cursor: str | None) -> tuple[list[str], str | None]:
    """A page of names, which are in order, and the cursor to the next; None if it is the last."""
    after = place_of(cursor, [str])
    left = [n for n in names if after is None or n > after[0]]
    return left[:limit], cursor_of([left[limit - 1]]) if len(left) > limit else None
