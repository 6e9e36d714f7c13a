"""A service that is open to all is open to this machine's people, not to every page that
they look at: a page cannot be kept from sending requests to 127.0.0.1, nor from giving a
name of its own that address (DNS rebinding)."""

import ipaddress
from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.requests import Request

from zooaudit.serving.problems import Refused
from zooaudit.serving.settings import HOSTS

SAME = ("same-origin", "none")
"""``Sec-Fetch-Site`` of this service's own pages, and of what somebody typed."""


def refuse_strangers(request: Request, named: Sequence[str]) -> None:
    """Refuse a request that was sent by another site's page, or under a name that is not this machine's.

    Args:
        named: names that are, too.

    Raises:
        Refused: 403.
    """
    host = request.headers.get("Host", "")
    if not _is_own(host, named):
        expected = f"localhost, 127.0.0.1, [::1], or a name in {HOSTS}"
        raise Refused(
            HTTPStatus.FORBIDDEN,
            "this service is open to all, and answers under this machine's own names only",
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
    """Host and port; "" where there is none."""
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
