"""Refuse parameters and headers that no route reads, instead of ignoring them: a misspelt level would give a
verdict at another one."""

import difflib
from collections import Counter
from collections.abc import Iterable
from http import HTTPStatus

from fastapi import Request
from fastapi.dependencies.models import Dependant

from zooaudit.serving.problems import Refused

PREFIXES = ("zooaudit", "idempotency")
"""Headers with these prefixes, with or without ``X-``, are for this service, not for a proxy or for HTTP
itself."""


async def refuse_unread(request: Request) -> None:
    """Check a request to one of the routes.

    Raises:
        Refused: 422, a query parameter is unknown or repeated, or a header for this service is unknown.
    """
    queries, headers = _read(request.scope["route"].dependant)
    for name, times in Counter(name for name, _ in request.query_params.multi_items()).items():
        if name not in queries:
            raise _unknown("query parameter", name, queries)
        if times > 1:
            raise Refused(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"the query parameter {name} is given twice",
                f"{times} times",
                "once",
            )
    for name, times in Counter(name.lower() for name in request.headers).items():
        if not _plain(name).startswith(PREFIXES):
            continue
        if name not in headers:
            raise _unknown("header", name, headers)
        if times > 1:
            raise Refused(
                HTTPStatus.UNPROCESSABLE_ENTITY, f"the header {name} is given twice", f"{times} times", "once"
            )


def _unknown(what: str, name: str, known: Iterable[str]) -> Refused:
    listed = sorted(known)
    near = difflib.get_close_matches(name.lower()[:80], listed, 1)
    meant = f"; did you mean {near[0]}?" if near else ""
    text = f"the {what} {ascii(name)[:80]} is unknown here{meant}"
    return Refused(HTTPStatus.UNPROCESSABLE_ENTITY, text, name[:80], ", ".join(listed) or f"no {what}s")


def _plain(header: str) -> str:
    return header.removeprefix("x-").replace("_", "").replace("-", "")


def _read(dependant: Dependant) -> tuple[set[str], set[str]]:
    """Names of the query parameters and headers that a route and its dependencies read."""
    queries = {field.alias for field in dependant.query_params}
    headers = {field.alias.lower() for field in dependant.header_params}
    for inner in dependant.dependencies:
        more = _read(inner)
        queries, headers = queries | more[0], headers | more[1]
    return queries, headers
