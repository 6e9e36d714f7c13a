"""The service's settings, read once from its environment before it starts."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from zooaudit.errors import ConfigError
from zooaudit.storage.settings import env_number
from zooaudit.suspects.addresses import is_address

STORE = "ZOOAUDIT_STORE"
KEYS_FILE = "ZOOAUDIT_SERVE_KEYS"
KEYS = "ZOOAUDIT_SERVE_KEYS_SHA256"
OPEN = "ZOOAUDIT_SERVE_OPEN"
QUERIES = "ZOOAUDIT_SERVE_QUERIES"
BODY_MIB = "ZOOAUDIT_SERVE_BODY_MIB"
KITS_MIB = "ZOOAUDIT_SERVE_KITS_MIB"
MODELS_MIB = "ZOOAUDIT_SERVE_MODELS_MIB"
DATA = "ZOOAUDIT_SERVE_DATA"
SUSPECTS = "ZOOAUDIT_SERVE_SUSPECTS"
HOSTS = "ZOOAUDIT_SERVE_HOSTS"
OPEN_AUDITS, HOURS = "ZOOAUDIT_SERVE_OPEN_AUDITS", "ZOOAUDIT_SERVE_HOURS_A_DAY"
QUERIES_A_DAY, HOST_QUERIES_A_DAY = "ZOOAUDIT_SERVE_QUERIES_A_DAY", "ZOOAUDIT_SERVE_HOST_QUERIES_A_DAY"


@dataclass(frozen=True)
class Settings:
    """How one service runs.

    Attributes:
        store: the place of the kits; an absolute path, or a URL.
        keys: SHA-256 of keys that may read, score and audit, 64 lower-case hex digits each.
        keys_file: TOML file of keys, each with a name, scopes, a rate and an expiry date; None for none. With
            neither, the service needs no keys.
        training_images: whether callers may fetch the questions of the paper's test, which show images of the
            victim's training set.
        body_bytes: the largest request.
        kits_bytes: of kits in memory; one is held whatever its size.
        model_bytes: the largest suspect file that is run here; 0 for none.
        data: the folder for audits, their ledgers and the access log; None for a service that does not ask
            suspects.
        suspects: hosts, host:port, or beginnings of addresses that it may ask; none unless named.
        hosts: further names for this machine, under which a service without keys is reached.
        open_audits: the most audits of one key that have not ended.
        queries_a_day, hours_a_day: the most that the audits of one key may charge and take in 24 hours.
        host_queries_a_day: the most that all audits may charge at one suspect's host in 24 hours.
        retry_s: the first wait before an audit whose store or disk is unavailable is retried.
    """

    store: str
    keys: tuple[str, ...] = field(default=(), repr=False)
    keys_file: Path | None = None
    training_images: bool = False
    body_bytes: int = 16 * 2**20
    kits_bytes: int = 512 * 2**20
    model_bytes: int = 0
    data: Path | None = None
    suspects: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    open_audits: int = 16
    queries_a_day: int = 100_000
    hours_a_day: float = 24.0
    host_queries_a_day: int = 200_000
    retry_s: float = 5.0

    @classmethod
    def from_environment(cls) -> "Settings":
        """Read and check all settings.

        Raises:
            ConfigError: no store, no keys, invalid keys, or suspects without a folder for their audits.
            InputError: a number is out of range.
        """
        store = os.environ.get(STORE, "")
        if not store or store == "memory:":
            raise ConfigError(
                f"{STORE} is {store!r}; expected the place of the kits, a folder or s3://bucket/prefix"
            )
        keys, keys_file = _keys(), os.environ.get(KEYS_FILE, "")
        is_open = os.environ.get(OPEN) == "1"
        if bool(keys or keys_file) == is_open:
            found = "both" if is_open else "neither"
            raise ConfigError(
                f"{KEYS_FILE} (or {KEYS}) and {OPEN}=1: found {found}; expected one: the keys that are"
                " accepted, or a service open to all"
            )
        data = os.environ.get(DATA, "")
        suspects = tuple(
            named_suspect(h.strip()) for h in os.environ.get(SUSPECTS, "").split(",") if h.strip()
        )
        if suspects and not data:
            raise ConfigError(
                f"{SUSPECTS} names hosts to ask, but {DATA} is not set; expected a folder for audits and"
                " their ledgers"
            )
        return cls(
            store=store if ":" in store else str(Path(store).absolute()),  # replicas run in another folder
            keys=keys,
            keys_file=Path(keys_file).absolute() if keys_file else None,
            training_images=os.environ.get(QUERIES) == "1",
            body_bytes=int(env_number(BODY_MIB, 16.0, "MiB, a positive number") * 2**20),
            kits_bytes=int(env_number(KITS_MIB, 512.0, "MiB, a positive number") * 2**20),
            model_bytes=int(env_number(MODELS_MIB, 0.0, "MiB, or 0 for none", zero=True) * 2**20),
            data=Path(data).absolute() if data else None,
            suspects=suspects,
            hosts=tuple(h.strip().lower() for h in os.environ.get(HOSTS, "").split(",") if h.strip()),
            open_audits=int(env_number(OPEN_AUDITS, 16.0, "audits of a key at once, a positive number")),
            queries_a_day=int(
                env_number(QUERIES_A_DAY, 100_000.0, "queries of a key in 24 hours, a positive number")
            ),
            hours_a_day=env_number(HOURS, 24.0, "hours of a key's audits in 24, a positive number"),
            host_queries_a_day=int(
                env_number(
                    HOST_QUERIES_A_DAY, 200_000.0, "queries at one host in 24 hours, a positive number"
                )
            ),
        )


def named_suspect(entry: str) -> str:
    """Check an entry of the list of suspects: a host or host:port in lower case, or the beginning of an
    address.

    Raises:
        ConfigError: it is neither.
    """
    if "://" not in entry:
        return entry.lower()
    parts = urlsplit(entry)
    if not is_address(entry, ("http", "https")) or parts.query or parts.fragment:
        raise ConfigError(
            f"{SUSPECTS} has {entry[:200]!r}; expected a host, host:port, or http(s)://host[:port]/path"
            " without a query"
        )
    return parts._replace(netloc=parts.netloc.lower()).geturl()


def _keys() -> tuple[str, ...]:
    keys = tuple(k.strip().lower() for k in os.environ.get(KEYS, "").split(",") if k.strip())
    for number, key in enumerate(keys, 1):
        if not re.fullmatch("[0-9a-f]{64}", key):  # not shown, since it may be a key
            raise ConfigError(
                f"{KEYS}: entry {number} has {len(key)} characters; expected the 64 hex digits of a key's"
                " SHA-256"
            )
    return keys
