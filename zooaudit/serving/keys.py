"""Callers' keys, known by their SHA-256 only, with scopes, a rate and an expiry date.

[[key]]                       # of ZOOAUDIT_SERVE_KEYS, a TOML file; 'zooaudit key' writes an entry
name = "team-a"
sha256 = "..."                # of the key
scopes = ["read", "score"]    # of read, score, audit, admin, evidence
per_minute = 600              # requests; more are turned away
expires = 2027-01-01
"""

import datetime
import hashlib
import hmac
import logging
import re
import secrets
import threading
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zooaudit.choices import SCOPES
from zooaudit.errors import ConfigError

log = logging.getLogger(__name__)

FRESH_S = 2.0
"""How long a file of keys is trusted before it is checked for changes."""
KEY_BYTES = 32
FIELDS = {"name", "sha256", "scopes", "per_minute", "expires"}


@dataclass(frozen=True)
class Key:
    """One caller.

    Attributes:
        per_minute: requests, by each replica of the service; 0 is no limit.
        expires: the first day on which it is not accepted, UTC; None for never.

    Raises:
        ConfigError: a value is out of range.
    """

    name: str
    sha256: str = field(repr=False)
    scopes: tuple[str, ...] = SCOPES[:3]
    per_minute: int = 0
    expires: datetime.date | None = None

    def __post_init__(self) -> None:
        if not self.name or not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ConfigError(
                f"the key {self.name!r} has no name, or no SHA-256 of 64 hex digits; 'zooaudit key' writes an"
                " entry"
            )
        if not self.scopes or (unknown := set(self.scopes) - set(SCOPES)):
            found = sorted(unknown) if self.scopes else "none"
            raise ConfigError(f"key {self.name}: scopes are {found}; expected some of {', '.join(SCOPES)}")
        if not isinstance(self.per_minute, int) or self.per_minute < 0:
            raise ConfigError(
                f"key {self.name}: per_minute is {self.per_minute!r}; expected a whole number, 0 for no limit"
            )

    def expired(self, today: datetime.date) -> bool:
        """Whether the key has expired."""
        return self.expires is not None and today >= self.expires


EVERYBODY = Key("everybody", "0" * 64, SCOPES)
"""The key of a service that needs none."""


def today() -> datetime.date:
    """UTC."""
    return datetime.datetime.now(datetime.UTC).date()


def read_keys(path: Path) -> tuple[Key, ...]:
    """Read the keys in a TOML file.

    Raises:
        ConfigError: there is no such file, it is not TOML, or has entries that are not valid keys.
    """
    try:
        entries = tomllib.loads(path.read_text()).get("key", [])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(
            f"{path} cannot be read ({error}); expected [[key]] entries as 'zooaudit key' writes them"
        ) from error
    if not isinstance(entries, list):
        raise ConfigError(
            f"{path} has key = {entries!r:.80}; expected [[key]] entries as 'zooaudit key' writes them"
        )
    keys = tuple(_key(entry, path) for entry in entries)
    if len({k.name for k in keys}) < len(keys):
        raise ConfigError(f"{path} has two keys of one name; expected each once")
    return keys


def _key(entry: Any, path: Path) -> Key:
    if not isinstance(entry, dict) or entry.keys() - FIELDS or not {"name", "sha256"} <= entry.keys():
        found = ", ".join(sorted(entry)) if isinstance(entry, dict) else str(entry)
        raise ConfigError(
            f"{path}: a key has {found[:200]}; expected name and sha256, and maybe scopes, per_minute,"
            " expires"
        )
    expires = entry.get("expires")
    if expires is not None and not isinstance(expires, datetime.date):
        raise ConfigError(
            f"{path}: key {entry['name']} expires {expires!r}; expected a date, for example 2027-01-01"
        )
    day = expires.date() if isinstance(expires, datetime.datetime) else expires
    scopes = entry.get("scopes", SCOPES[:3])
    if not isinstance(scopes, list | tuple):
        raise ConfigError(
            f"{path}: key {entry['name']}: scopes are {scopes!r}; expected a list of {', '.join(SCOPES)}"
        )
    return Key(
        str(entry["name"]),
        str(entry["sha256"]).lower(),
        tuple(map(str, scopes)),
        entry.get("per_minute", 0),
        day,
    )


class Keyring:
    """All keys of a service; a file of keys that changes is read again while the service runs.

    Args:
        digests: SHA-256 of keys without an entry.
        path: of a file of keys.
    """

    def __init__(
        self,
        digests: tuple[str, ...] = (),
        path: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fixed = tuple(Key(f"key-{d[:8]}", d) for d in digests)
        self._path, self._clock = path, clock
        self._lock = threading.Lock()
        self._read_at, self._stamp, self._own = clock(), self._stamped(), read_keys(path) if path else ()
        self.trouble = ""

    @property
    def open(self) -> bool:
        """Whether no key is needed."""
        return not self._fixed and self._path is None

    def find(self, presented: str) -> Key | None:
        """The key, or None; takes the same time for any key, and however much of it is right."""
        digest = hashlib.sha256(presented.encode()).hexdigest()
        found = None
        for key in (*self._fixed, *self._current()):
            if hmac.compare_digest(digest, key.sha256):  # compares with all keys, without an early end
                found = key
        return found

    def checked(self) -> str:
        """What is wrong with the file of keys; "" if nothing is. Until it is fixed, the previous keys
        stay."""
        self._current()
        return self.trouble

    def _current(self) -> tuple[Key, ...]:
        with self._lock:
            if self._path and self._clock() - self._read_at > FRESH_S:
                self._read_at = self._clock()
                if (stamp := self._stamped()) != self._stamp:
                    try:
                        self._own, self._stamp, self.trouble = read_keys(self._path), stamp, ""
                    except ConfigError as error:  # perhaps half written: the previous keys stay
                        if not self.trouble:
                            log.error("keys that were taken away may still be accepted: %s", error)
                        self.trouble = str(error)
            return self._own

    def _stamped(self) -> tuple[int, int] | None:
        try:
            stat = self._path.stat() if self._path else None
        except OSError:
            return None
        return (stat.st_mtime_ns, stat.st_size) if stat else None


class Limiter:
    """Limits requests by key: a bucket that fills up within a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}

    def wait_s(self, key: Key) -> float:
        """Take one request; returns 0, or in how many seconds there will be one."""
        if not key.per_minute:
            return 0.0
        with self._lock:
            now = self._clock()
            left, since = self._buckets.get(key.name, (float(key.per_minute), now))
            left = min(key.per_minute, left + (now - since) * key.per_minute / 60)
            if left < 1:
                self._buckets[key.name] = left, now
                return (1 - left) * 60 / key.per_minute
            self._buckets[key.name] = left - 1, now
            return 0.0


def new_key(
    name: str, scopes: tuple[str, ...], per_minute: int, expires: datetime.date | None
) -> tuple[str, str]:
    """A random key, and its entry for a keys file.

    Raises:
        ConfigError: a value is out of range.
    """
    key = secrets.token_hex(KEY_BYTES)
    made = Key(name, hashlib.sha256(key.encode()).hexdigest(), scopes, per_minute, expires)
    if not re.fullmatch(r"[\w.@ -]{1,80}", name):
        raise ConfigError(f"the name is {name!r}; expected up to 80 letters, digits, and . _ @ -")
    lines = [
        "[[key]]",
        f'name = "{made.name}"',
        f'sha256 = "{made.sha256}"',
        f"scopes = {list(made.scopes)}".replace("'", '"'),
    ]
    lines += [f"per_minute = {made.per_minute}"] if made.per_minute else []
    lines += [f"expires = {made.expires}"] if made.expires else []
    return key, "\n".join(lines) + "\n"
