"""Which suspects the service may ask: only hosts that the operator named, at the address that they had when
the audit began."""

import ipaddress
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx

from zooaudit.errors import ConfigError, SuspectError
from zooaudit.suspects.deadlines import Clock, looked_up

PORTS = {"http": 80, "https": 443}
ODD = re.compile(r"(?:^|/)(?:\.|%2e){1,2}(?:[/;]|$)|//|\\|%2f|%5c|%25|%00", re.IGNORECASE)
"""Parts of a path that one server reads as a parent folder or a slash, and another does not."""
WELL_KNOWN, LOCAL_USE = ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48")
"""NAT64, RFC 6052 and RFC 8215."""
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
LOOK_UP_S = 10.0


def refuse_unless_named(url: str, named: Sequence[str]) -> None:
    """Refuse a host that is not on the list. Entries are ``host`` (any port), ``host:port``, or
    ``http(s)://host[:port]/path`` for addresses there and below it.

    Raises:
        ConfigError: it is not on the list, there is no list, or the scheme is another.
    """
    parts = urlsplit(url)
    if parts.scheme not in PORTS:  # gRPC looks up names by itself, so it cannot be held to one address
        raise ConfigError(
            f"this service asks suspects by http and https only, not by {parts.scheme}; ask this one from the"
            " command line"
        )
    try:
        host, port = (parts.hostname or "").lower(), parts.port or PORTS[parts.scheme]
    except ValueError as error:
        raise ConfigError(f"the url has no valid port: {error}") from error
    if not named:
        raise ConfigError(
            "this service asks no suspects; its operator can name hosts that it may ask"
            " (ZOOAUDIT_SERVE_SUSPECTS)"
        )
    shown = f"[{host}]" if ":" in host else host
    if any(_below(parts.scheme, f"{shown}:{port}", parts.path, one) for one in named if "://" in one):
        return
    if shown not in named and f"{shown}:{port}" not in named:
        raise ConfigError(
            f"this service may not ask the host {shown}:{port}; its operator can name it"
            " (ZOOAUDIT_SERVE_SUSPECTS)"
        )


def _below(scheme: str, host: str, path: str, named: str) -> bool:
    """Whether an address is a named one, or below it. A path that servers read differently is never below
    it."""
    other = urlsplit(named)
    name = f"[{other.hostname}]" if ":" in (other.hostname or "") else other.hostname
    if (scheme, host) != (other.scheme, f"{name}:{other.port or PORTS[other.scheme]}") or ODD.search(path):
        return False
    prefix = other.path.rstrip("/")
    return path == prefix or path.startswith(f"{prefix}/")


def meant_by(address: IPAddress) -> list[IPAddress]:
    """An address, and the IPv4 addresses within an IPv6 address that a gateway or tunnel would go to."""
    if not isinstance(address, ipaddress.IPv6Address):
        return [address]
    number, low = int(address), ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    found: list[IPAddress] = [address.ipv4_mapped] if address.ipv4_mapped else [address]
    if address.sixtofour:
        found.append(address.sixtofour)
    if address.teredo:
        found += address.teredo
    isatap = (number >> 32) & 0xFFFFFFFF in (0x00005EFE, 0x02005EFE)
    compatible = number >> 32 == 0 and number > 0xFFFF  # ::a.b.c.d; not :: and ::1
    # ::ffff:0:a.b.c.d, RFC 2765
    if isatap or compatible or address in WELL_KNOWN or number >> 32 == 0xFFFF0000:
        found.append(low)
    if address in LOCAL_USE:
        found += [low, *_in_prefixes(number)]
    return found


def _in_prefixes(number: int) -> list[IPAddress]:
    """The IPv4 address within 64:ff9b:1::/48, for each prefix length in RFC 6052: /48, /56, /64. Bits 64 to
    71 are skipped."""
    bits = f"{number:0128b}"
    plain = bits[:64] + bits[72:]
    return [ipaddress.IPv4Address(int(plain[length : length + 32], 2)) for length in (48, 56, 64)]


def resolved(url: str) -> str:
    """Look up the address of a URL's host once.

    A name must not resolve to an address that is private, of this machine or link-local, since its owner
    could aim it at what only this machine reaches. An address that the operator wrote out may be private, but
    not link-local, where clouds keep their credentials.

    Raises:
        SuspectError: the name is unknown, or its look-up takes longer than ``LOOK_UP_S``.
        ConfigError: it resolves to a forbidden address.
        StoppedError: the audit was stopped meanwhile (``exchange.heeding``).
    """
    host = urlsplit(url).hostname or ""
    try:
        literal: IPAddress | None = ipaddress.ip_address(host)
    except ValueError:
        literal = None
    try:
        found = (
            [literal]
            if literal
            else [ipaddress.ip_address(a[4][0]) for a in looked_up(host, 0, Clock(LOOK_UP_S, TimeoutError))]
        )
    except TimeoutError as error:
        raise SuspectError(
            f"the host {host} could not be looked up within {LOOK_UP_S:g} s; does this service reach its name"
            " server?"
        ) from error
    except OSError as error:
        raise SuspectError(f"the host {host} is not known: {error}") from error
    for address in found:
        if any(_never(one) or (literal is None and not _public(one)) for one in meant_by(address)):
            raise ConfigError(
                f"the host {host} leads to {address}, an address that is not public; expected a public one"
            )
    return str(found[0])


def _never(address: IPAddress) -> bool:
    return address.is_link_local or address.is_multicast or address.is_unspecified


def _public(address: IPAddress) -> bool:
    local = isinstance(address, ipaddress.IPv6Address) and (address.is_site_local or address in LOCAL_USE)
    return address.is_global and not local


class Pinned(httpx.HTTPTransport):
    """Connects to one address for one host, even if its name resolves to another by now; certificates are
    still checked against the name.

    Args:
        host: the name.
        address: from ``resolved``.
        named: as for ``refuse_unless_named``, checked for every request; None if that is done already.
    """

    def __init__(
        self, host: str, address: str, verify: Any, limits: httpx.Limits, named: Sequence[str] | None = None
    ) -> None:
        super().__init__(verify=verify, limits=limits, trust_env=False)
        self._host, self._address, self._named = host, address, named

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host != self._host:
            raise SuspectError(f"the suspect points to {request.url.host}; only {self._host} is asked")
        if self._named is not None:
            refuse_unless_named(str(request.url), self._named)
        request.url = request.url.copy_with(host=self._address)  # the Host header keeps the name
        request.extensions = {**request.extensions, "sni_hostname": self._host}
        return super().handle_request(request)
