"""Protect a service without keys from web pages: it is open to this machine's users, not to every page that
they view. A browser lets any page send requests to 127.0.0.1, or give its own name that address (DNS
rebinding)."""

import ipaddress
from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.requests import Request

from zooaudit.serving.problems import Refused
from zooaudit.serving.settings import HOSTS

SAME = ("same-origin", "none")
"""``Sec-Fetch-Site`` for this service's own pages, and for typed addresses."""


def refuse_strangers(request: Request, named: Sequence[str]) -> None:
    """Refuse a request from another site's page, or under a name that is not this machine's.

    Args:
        named: further names of this machine.

    Raises:
        Refused: 403.
    """
    host = request.headers.get("Host", "")
    if not _is_own(host, named):
        expected = f"localhost, 127.0.0.1, [::1], or a name in {HOSTS}"
        raise Refused(
            HTTPStatus.FORBIDDEN,
            "this service needs no keys, and answers only under this machine's own names",
            host[:100],
            expected,
        )
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site", "")
    foreign = origin is not None and _place(origin) != host.lower()
    if foreign or (site and site not in SAME and request.method not in ("GET", "HEAD")):
        found = f"Origin {origin}" if foreign else f"Sec-Fetch-Site {site}"
        raise Refused(
            HTTPStatus.FORBIDDEN,
            "another site's page sent this",
            found[:200],
            "a page of this service, or no page",
        )


def _place(origin: str) -> str:
    """Host and port; "" without any."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _is_own(host: str, named: Sequence[str]) -> bool:
    try:
        name = (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return False
    if name == "localhost" or name in named or host.lower() in named:
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
