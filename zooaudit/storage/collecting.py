"""Remove content that no manifest names, while jobs are running: it is first set aside, and deleted if
nothing has named it meanwhile.

Content never passes through memory, and whatever fails, each piece stays in the store: in its place, or under
``aside/``, where the next ``collect`` or ``put_back`` finds it.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from zooaudit.errors import MissingArtifactError, StoreError
from zooaudit.storage.port import Store

OBJECTS, ASIDE = "objects/", "aside/"
AT_ONCE = 1000
"""How many pieces are set aside before manifests are read again."""
LEFT_S = 3600.0
"""Content that has been aside for longer was left by an interrupted collector."""


def unnamed(store: Store, named: set[str], grace_s: float) -> list[str]:
    """Keys of content that is not in ``named`` and is at least ``grace_s`` seconds old."""
    return [k for k in store.keys(OBJECTS) if k not in named and _is_older(store, k, grace_s)]


def collect(store: Store, named: Callable[[], set[str]], grace_s: float) -> list[str]:
    """Remove unnamed content older than ``grace_s`` seconds; returns the keys removed.

    Args:
        named: returns the keys that are named at present.

    Raises:
        StoreError: the store cannot be used, or a manifest cannot be read; what was set aside is restored as
            far as the store allows.
    """
    known = named()
    put_back(store, known)
    removed = list(_drop(store, (k for k in store.keys(ASIDE) if _is_older(store, k, max(grace_s, LEFT_S)))))
    loose = unnamed(store, known, grace_s)
    for start in range(0, len(loose), AT_ONCE):
        removed += _collected(store, loose[start : start + AT_ONCE], named)
    return removed


def _collected(store: Store, keys: list[str], named: Callable[[], set[str]]) -> list[str]:
    aside: list[str] = []
    try:
        for key in keys:
            with suppress(MissingArtifactError):  # another collector was faster
                store.move(key, ASIDE + key)
                aside.append(key)
        # A save checks its content after writing its manifest, and writes what is missing again.
        wanted = named()
    except BaseException:
        with suppress(StoreError):
            for key in aside:
                store.move(ASIDE + key, key)
        raise
    for key in aside:
        if key in wanted:
            store.move(ASIDE + key, key)
    return list(_drop(store, (ASIDE + key for key in aside if key not in wanted)))


def put_back(store: Store, named: set[str]) -> list[str]:
    """Restore named content that is aside; returns its keys."""
    found = [key.removeprefix(ASIDE) for key in store.keys(ASIDE)]
    back = [key for key in found if key in named]
    for key in back:
        with suppress(MissingArtifactError):
            store.move(ASIDE + key, key)
    return back


def _drop(store: Store, keys: Iterable[str]) -> Iterator[str]:
    """Delete content that is aside; yields the keys that it had."""
    for key in keys:
        store.delete(key)
        yield key.removeprefix(ASIDE)


def _is_older(store: Store, key: str, grace_s: float) -> bool:
    try:
        return store.age_s(key) >= grace_s
    except MissingArtifactError:  # removed meanwhile
        return False
