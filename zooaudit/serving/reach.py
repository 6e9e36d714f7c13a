"""Which suspects the service may ask: only hosts that the operator named, at the address that they had when the audit began."""

import ipaddress
import socket
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx

from zooaudit.errors import ConfigError, SuspectError

PORTS = {"http": 80, "https": 443}


def refuse_unless_named(url: str, named: Sequence[str]) -> None:
    """Refuse a host that is not on the list, as ``host`` (any port) or ``host:port``.

    Raises:
        ConfigError: it is not, there is no list, or the scheme is another.
    """
    parts = urlsplit(url)
    if parts.scheme not in PORTS:  # what looks up names by itself cannot be held to one address
        raise ConfigError(f"this service asks suspects by http and https only, not by {parts.scheme}; ask this one from the command line")
    try:
        host, port = (parts.hostname or "").lower(), parts.port or PORTS[parts.scheme]
    except ValueError as error:
        raise ConfigError(f"the url has no port that can be: {error}") from error
    if not named:
        raise ConfigError("this service asks no suspects; its operator can name hosts that it may ask (ZOOAUDIT_SERVE_SUSPECTS)")
    shown = f"[{host}]" if ":" in host else host
    if shown not in named and f"{shown}:{port}" not in named:
        raise ConfigError(f"this service may not ask the host {shown}:{port}; its operator can name it (ZOOAUDIT_SERVE_SUSPECTS)")


def resolved(url: str) -> str:
    """The address of a URL's host, looked up once.

    A name must not lead to an address that is private, of this machine or link-local: whoever owns the name could aim it at what only this
    machine reaches. An address that the operator wrote out himself may, unless it is link-local, where clouds keep their credentials.

    Raises:
        SuspectError: the name is not known.
        ConfigError: it leads where it must not.
    """
    host = urlsplit(url).hostname or ""
    try:
        literal: Any = ipaddress.ip_address(host)
    except ValueError:
        literal = None
    try:
        found = [literal] if literal else [ipaddress.ip_address(a[4][0]) for a in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
    except OSError as error:
        raise SuspectError(f"the host {host} is not known: {error}") from error
    for address in found:
        plain = getattr(address, "ipv4_mapped", None) or address
        if plain.is_link_local or plain.is_multicast or plain.is_unspecified or (literal is None and not plain.is_global):
            raise ConfigError(f"the host {host} leads to {address}, an address that is not public; expected a public one")
    return str(found[0])


class Pinned(httpx.HTTPTransport):
    """Connects to one address for one host, whatever its name leads to by now; certificates are still checked against the name.

    Args:
        host: the name.
        address: as ``resolved``.
    """

    def __init__(self, host: str, address: str, verify: Any, limits: httpx.Limits) -> None:
        super().__init__(verify=verify, limits=limits, trust_env=False)
        self._host, self._address = host, address

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host != self._host:
            raise SuspectError(f"the suspect points to {request.url.host}; only {self._host} is asked")
        request.url = request.url.copy_with(host=self._address)  # the Host header is of the name
        request.extensions = {**request.extensions, "sni_hostname": self._host}
        return super().handle_request(request)
