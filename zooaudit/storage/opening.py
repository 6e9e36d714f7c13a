"""Open a store by its place: a folder, a bucket, this process's memory."""

from pathlib import Path

from zooaudit.errors import MissingArtifactError, StoreError
from zooaudit.extras import needs
from zooaudit.outputs import check_folder
from zooaudit.storage.artifacts import MARKER, Artifacts
from zooaudit.storage.cache import cached
from zooaudit.storage.local import LocalStore
from zooaudit.storage.memory import MemoryStore
from zooaudit.storage.observed import ObservedStore
from zooaudit.storage.retry import Backoff


def open_store(
    url: str, cache: bool = True, deadline_s: float | None = None, writes: bool = True, limited: bool = False
) -> "Artifacts":
    """Open ``memory:``, ``s3://bucket/prefix`` or a local folder (created if missing).

    Args:
        cache: also keep content from a network in this machine's cache.
        deadline_s: how long a request over a network is retried; None for ZOOAUDIT_S3_DEADLINE_S.
        writes: False to only read: then no permission to write or delete is needed, and nothing is written to
            try the store.
        limited: its tables come from a stranger, and are read in a process with limited memory.

    Raises:
        StoreError: it cannot be created, reached or trusted, or was written by a newer zooaudit.
        InputError: not an S3 location, or S3 settings that are out of range.
    """
    if url == "memory:":
        return Artifacts(ObservedStore(MemoryStore()))
    if url.startswith("s3:"):
        with needs("s3", f"store {url}"):
            from zooaudit.storage.s3 import S3Store

        store = ObservedStore(S3Store(url, backoff=Backoff(deadline_s) if deadline_s else None, probe=writes))
        return Artifacts(cached(store) if cache else store, limited)
    if "://" in url:
        raise StoreError(
            f"store {url!r} is of an unknown kind; expected a local folder, s3://bucket/prefix or memory:"
        )
    return Artifacts(ObservedStore(LocalStore(Path(url), make=writes)), limited)


def existing_store(url: str, cache: bool = True, writes: bool = False) -> "Artifacts":
    """Open an existing store: a mistyped place is neither taken for an empty store nor turned into one.

    Args:
        cache, writes: see ``open_store``; here nothing is written by default.

    Raises:
        StoreError, InputError: see ``open_store``.
        MissingArtifactError: there is no such store.
    """
    found = open_store(url, cache, writes=False)
    if not found.made:
        raise MissingArtifactError(
            f"there is no store at {found.url}: it has no {MARKER}; give its place, or make one by 'zooaudit"
            " audit'"
        )
    if not writes:
        return found
    if "://" not in url:
        check_folder(Path(url), "its rights, or its disk, allow reading only")
    return open_store(url, cache)
