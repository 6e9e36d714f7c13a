"""Which addresses a suspect may have, and what must not travel to them in plain text."""

import os
from typing import Any
from urllib.parse import urlsplit

from zooaudit.errors import ConfigError

HTTP, GRPC = ("http", "https"), ("grpc", "grpcs")
PLAIN = ("http", "grpc")
LOOPBACK = ("127.0.0.1", "::1", "localhost")
ALLOW_HTTP = "ZOOAUDIT_SUSPECT_ALLOW_HTTP"


def is_address(url: Any, schemes: tuple[str, ...] = (*HTTP, *GRPC)) -> bool:
    """Whether it is ``scheme://host/...`` in plain ASCII, without a password and with a port that can be."""
    try:
        parts = urlsplit(url)
        named = parts.scheme in schemes and bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
        return named and url.isascii() and url.isprintable() and " " not in url
    except (ValueError, TypeError, AttributeError):
        return False


def is_address_of_suspects(name: str) -> bool:
    """Whether a suspect's name is meant as an address."""
    return name.startswith(tuple(f"{scheme}://" for scheme in (*HTTP, *GRPC)))


def guard_plain(url: str, what: str) -> None:
    """Refuse to send a secret in plain text, but to this machine.

    Args:
        what: the secret, as in "the key".

    Raises:
        ConfigError: the address is neither encrypted nor of this machine, and the operator did not allow it.
    """
    parts = urlsplit(url)
    if parts.scheme in PLAIN and parts.hostname not in LOOPBACK and os.environ.get(ALLOW_HTTP) != "1":
        plain = "plain HTTP" if parts.scheme == "http" else "gRPC in plain text"
        raise ConfigError(f"{url} is {plain}, and {what} would be readable on the way; use {parts.scheme}s, or set {ALLOW_HTTP}=1")
