"""The console: one page for all of its addresses, and its files, from the package. They contain no data: the
page requests that with the caller's key."""

from http import HTTPStatus
from importlib.resources import files

from fastapi import APIRouter, Response
from fastapi.responses import RedirectResponse

from zooaudit.serving.problems import Refused

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; form-action"
    " 'none'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
KINDS = {".js": "text/javascript", ".css": "text/css"}
FILES = sorted(
    f.name for f in (files("zooaudit.serving") / "console").iterdir() if f.name.endswith(tuple(KINDS))
)
router = APIRouter(include_in_schema=False)


def _file(name: str, kind: str) -> Response:
    return Response(
        (files("zooaudit.serving") / "console" / name).read_bytes(),
        media_type=f"{kind}; charset=utf-8",
        headers=HEADERS,
    )


@router.get("/")
def start() -> Response:
    """The console's first page."""
    return RedirectResponse("/console", HTTPStatus.TEMPORARY_REDIRECT)


@router.get("/console/files/{name}")
def part(name: str) -> Response:
    """A script, or the style sheet."""
    if name not in FILES:
        raise Refused(HTTPStatus.NOT_FOUND, "there is no such file", name[:100], ", ".join(FILES))
    return _file(name, KINDS[name[name.rindex(".") :]])


@router.get("/console")
@router.get("/console/{_:path}")
def page() -> Response:
    """The page; its script shows what the address names."""
    return _file("index.html", "text/html")
