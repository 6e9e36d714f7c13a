"""The console: one page and its three files, from the package. They hold no data; what they show they ask for with the caller's key."""

from importlib.resources import files

from fastapi import APIRouter, Response

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
router = APIRouter(include_in_schema=False)


def _file(name: str, kind: str) -> Response:
    return Response((files("zooaudit.serving") / "console" / name).read_bytes(), media_type=kind, headers=HEADERS)


@router.get("/")
def page() -> Response:
    """The page."""
    return _file("index.html", "text/html; charset=utf-8")


@router.get("/console.js")
def script() -> Response:
    """Its script."""
    return _file("console.js", "text/javascript; charset=utf-8")


@router.get("/draw.js")
def drawing() -> Response:
    """What it draws."""
    return _file("draw.js", "text/javascript; charset=utf-8")


@router.get("/console.css")
def style() -> Response:
    """Its looks."""
    return _file("console.css", "text/css; charset=utf-8")
