"""Remove content that no manifest names, beside running jobs: it is put aside first, and
goes when nobody has come to name it.

Content never passes through memory, and whatever goes wrong, each piece is still in the store: in its place,
or under ``aside/``, from where the next ``collect`` or ``put_back`` takes it.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from zooaudit.errors import MissingArtifactError, StoreError
from zooaudit.storage.port import Store

OBJECTS, ASIDE = "objects/", "aside/"
AT_ONCE = 1000
"""Pieces that are put aside before it is looked again who names them."""
LEFT_S = 3600.0
"""What lies aside for longer was left by a collector that was stopped."""


def unnamed(store: Store, named: set[str], grace_s: float) -> list[str]:
    """Keys of content that is not among ``named``, and ``grace_s`` seconds old at least."""
    return [k for k in store.keys(OBJECTS) if k not in named and _is_older(store, k, grace_s)]


def collect(store: Store, named: Callable[[], set[str]], grace_s: float) -> list[str]:
    """Remove unnamed content older than ``grace_s`` seconds; returns the keys removed.

    Args:
        named: looks which keys are named now.

    Raises:
        StoreError: the store cannot be used, or a manifest cannot be read; what was put
            aside is put back as far as the store allows.
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
        # A save looks for its content after its manifest: what it did not find it has written again.
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
    """Bring back what is named and lies aside; returns its keys."""
    found = [key.removeprefix(ASIDE) for key in store.keys(ASIDE)]
    back = [key for key in found if key in named]
    for key in back:
        with suppress(MissingArtifactError):
            store.move(ASIDE + key, key)
    return back


def _drop(store: Store, keys: Iterable[str]) -> Iterator[str]:
    """Delete what lies aside; yields the keys that it had."""
    for key in keys:
        store.delete(key)
        yield key.removeprefix(ASIDE)


def _is_older(store: Store, key: str, grace_s: float) -> bool:
    try:
        return store.age_s(key) >= grace_s
    except MissingArtifactError:  # gone meanwhile
        return False
