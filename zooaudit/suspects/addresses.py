"""Which addresses a suspect may have, and what must not be sent to them in plain text."""

import os
import re
from typing import Any
from urllib.parse import unquote, unquote_plus, urlsplit

from zooaudit.errors import ConfigError

HTTP, GRPC = ("http", "https"), ("grpc", "grpcs")
PLAIN = ("http", "grpc")
HIDDEN = "***"
SETTING = re.compile(r"([?&;])([^=&;#?\s]+)=([^&;#\s]*)")
SECRET = re.compile(
    r"key|token|secret|passw|pwd|passphrase|credential|signature|\bsig\b|\bauth|bearer|jwt|\bcode\b|session|\bsas\b|\bpin\b|\bpat\b|\baccess\b",
    re.IGNORECASE,
)
"""If the name of a setting in an address contains one of these, its value is a key."""
KEY = re.compile(r"[A-Za-z0-9+/=]{20,}")
"""A value that looks like a key, if it has both letters and digits."""
LOOPBACK = ("127.0.0.1", "::1", "localhost")
ALLOW_HTTP = "ZOOAUDIT_SUSPECT_ALLOW_HTTP"


def is_address(url: Any, schemes: tuple[str, ...] = (*HTTP, *GRPC)) -> bool:
    """Whether it is ``scheme://host/...`` in plain ASCII, without a password and with a valid port."""
    try:
        parts = urlsplit(url)
        named = (
            parts.scheme in schemes and bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
        )
        return named and url.isascii() and url.isprintable() and " " not in url
    except (ValueError, TypeError, AttributeError):
        return False


def is_address_of_suspects(name: str) -> bool:
    """Whether a suspect's name is an address."""
    return name.startswith(tuple(f"{scheme}://" for scheme in (*HTTP, *GRPC)))


def without_keys(text: str) -> str:
    """An address that may be shown and stored: keys in it, by their name or look, become ``***``. Other texts
    stay as they are."""
    if "://" not in text:
        return text
    text = re.sub(r"(://)[^/?#@\s]*(?:@[^/?#@\s]*)*@", r"\1***@", text)
    return SETTING.sub(lambda m: m[0] if not _is_key(m[2], m[3]) else f"{m[1]}{m[2]}={HIDDEN}", text)


def keys_of(url: str) -> tuple[str, ...]:
    """The keys in an address, both as written and decoded: what ``without_keys`` leaves out."""
    found = [m[3] for m in SETTING.finditer(url) if _is_key(m[2], m[3])]
    return tuple(dict.fromkeys(form for one in found for form in (one, unquote(one), unquote_plus(one))))


def _is_key(name: str, value: str) -> bool:
    plain = unquote_plus(value)
    looks = bool(KEY.fullmatch(plain)) and any(map(str.isdigit, plain)) and any(map(str.isalpha, plain))
    return value not in ("", HIDDEN) and (bool(SECRET.search(unquote_plus(name))) or looks)


def guard_plain(url: str, what: str) -> None:
    """Refuse to send a secret in plain text, except to this machine.

    Args:
        what: the secret, as in "the key".

    Raises:
        ConfigError: the address is neither encrypted nor on this machine, and the operator did not allow it.
    """
    parts = urlsplit(url)
    if parts.scheme in PLAIN and parts.hostname not in LOOPBACK and os.environ.get(ALLOW_HTTP) != "1":
        shown = without_keys(url)
        plain = "plain HTTP" if parts.scheme == "http" else "gRPC in plain text"
        raise ConfigError(
            f"{shown} is {plain}, and {what} would be readable on the way; use {parts.scheme}s, or set"
            f" {ALLOW_HTTP}=1"
        )
