"""What the service reads from its environment, once, before it starts."""

import hashlib
import hmac
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from zooaudit.errors import ConfigError
from zooaudit.storage.settings import env_number

STORE = "ZOOAUDIT_STORE"
KEYS = "ZOOAUDIT_SERVE_KEYS_SHA256"
OPEN = "ZOOAUDIT_SERVE_OPEN"
QUERIES = "ZOOAUDIT_SERVE_QUERIES"
BODY_MIB = "ZOOAUDIT_SERVE_BODY_MIB"
KITS = "ZOOAUDIT_SERVE_KITS"


@dataclass(frozen=True)
class Settings:
    """How one service runs.

    Attributes:
        store: where the kits are; an absolute path, or a URL.
        keys: SHA-256 of each key that is accepted, 64 lower-case hex digits; empty for a service that is open to all.
        queries: whether callers may fetch a kit's images, which are from the victim's training set.
        body_bytes: the largest request.
        kits: how many kits are held in memory, at least 1.
    """

    store: str
    keys: tuple[str, ...] = field(repr=False)
    queries: bool = False
    body_bytes: int = 16 * 2**20
    kits: int = 8

    @classmethod
    def from_environment(cls) -> "Settings":
        """Read and check them all.

        Raises:
            ConfigError: no store, no keys, or keys that are none.
            InputError: a number out of range.
        """
        store = os.environ.get(STORE, "")
        if not store or store == "memory:":
            raise ConfigError(f"{STORE} is {store!r}; expected the place of the kits, a folder or s3://bucket/prefix")
        return cls(
            store=store if ":" in store else str(Path(store).absolute()),  # replicas run in another folder
            keys=_keys(),
            queries=os.environ.get(QUERIES) == "1",
            body_bytes=int(env_number(BODY_MIB, 16.0, "MiB, a positive number") * 2**20),
            kits=max(1, int(env_number(KITS, 8.0, "a positive number of kits"))),
        )

    def accepts(self, key: str) -> bool:
        """Whether this is one of the keys; takes as long whichever it is, and however much of it is right."""
        digest = hashlib.sha256(key.encode()).hexdigest()
        return sum(hmac.compare_digest(digest, known) for known in self.keys) > 0  # all of them are compared, none is skipped


def _keys() -> tuple[str, ...]:
    keys = tuple(k.strip().lower() for k in os.environ.get(KEYS, "").split(",") if k.strip())
    is_open = os.environ.get(OPEN) == "1"
    if bool(keys) == is_open:
        found = "both" if is_open else "neither"
        raise ConfigError(
            f"{KEYS} and {OPEN}=1: found {found}; expected one: the SHA-256 of each key that is accepted, or a service that is open to all"
        )
    for number, key in enumerate(keys, 1):
        if not re.fullmatch("[0-9a-f]{64}", key):  # not shown: it may be a key
            raise ConfigError(f"{KEYS}: entry {number} has {len(key)} characters; expected the 64 hex digits of a key's SHA-256")
    return keys
