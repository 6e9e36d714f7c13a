"""Checks before the service starts, to report early that a port is taken, a folder cannot be written, or a
store is missing. Imports nothing heavy until the store is opened."""

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil

from zooaudit.errors import ConfigError, NotWrittenError, StoreError
from zooaudit.serving.disk_space import refuse_if_full

LOCK = "serve.lock"
STORE_S = 10.0
"""How long a store that does not answer is retried."""


def own_port(host: str, port: int) -> socket.socket:
    """Reserve a port for as long as the socket is open. No other service that reserves it can have it, though
    our own proxies may listen there. Serve's proxies set SO_REUSEPORT, so that two services could share one
    port, and callers would get one or the other at random.

    Raises:
        ConfigError: the port is taken, or this machine does not have such an address.
    """
    if not 1 <= port <= 65_535:
        raise ConfigError(f"--port is {port}; expected 1 to 65535")
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise ConfigError(
            f"--host is {host!r} ({error.strerror}); expected an address of this machine, for example"
            " 127.0.0.1"
        ) from error
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            # The remains of a service that has ended do not occupy the port.
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
            trial.listen(1)
    except PermissionError as error:
        raise ConfigError(f"port {port} is for root only; choose another --port, of 1024 or more") from error
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            raise ConfigError(
                f"--host is {host}, which is not an address of this machine; expected one, for example"
                " 127.0.0.1"
            ) from error
        raise ConfigError(
            f"port {port} on {host} is taken{_by(port)}; choose another --port, or end that"
        ) from error
    held = socket.socket(family, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    # Connections that another program left may still be closing; nothing listens.
    with contextlib.suppress(OSError):
        held.bind(address)
    return held


def _by(port: int) -> str:
    """Who listens on a port, as far as this user may know."""
    with contextlib.suppress(psutil.Error, OSError):
        for one in psutil.net_connections("tcp"):
            if one.laddr and one.laddr.port == port and one.status == psutil.CONN_LISTEN and one.pid:
                return f" by process {one.pid} ({psutil.Process(one.pid).name()})"
    return ""


@contextlib.contextmanager
def own_data(folder: Path) -> Iterator[None]:
    """A writable folder for data, created if missing, that no other service uses: a second one would run this
    one's audits too.

    Raises:
        ConfigError: the folder cannot be written, or another service uses it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)  # 'zooaudit key' or the user may have created it
        refuse_if_full(folder)
        lock = os.fdopen(os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600), "r+")
    except NotWrittenError as error:
        raise ConfigError(f"--data {error}; choose another folder, or free some space") from error
    except OSError as error:
        raise ConfigError(
            f"--data {folder} cannot be written ({error.strerror}); choose another folder"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(
                f"--data {folder} is used by another service, process {lock.read(20).strip()}; give each"
                " its own"
            ) from error
        lock.truncate()
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def refuse_missing(store: str) -> None:
    """Refuse a local store that does not exist, before anything is created or started for it.

    Raises:
        StoreError: there is no such store.
    """
    if "://" not in store and not Path(store).is_dir():
        raise StoreError(
            f"there is no store at {store}; expected a folder that 'zooaudit audit' made, or"
            " s3://bucket/prefix"
        )


def kits_in(store: str) -> list[str]:
    """The ids of a store's kits.

    Raises:
        StoreError: the store does not exist, does not answer, or is not one of ours.
    """
    refuse_missing(store)
    from zooaudit.kits.kit import KIND
    from zooaudit.storage.opening import open_store

    artifacts = open_store(store, deadline_s=STORE_S, writes=False)
    artifacts.check_there()
    return artifacts.ids(KIND)
