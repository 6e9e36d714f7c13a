"""A store that times the operations of another one."""

import contextlib
import time
from collections.abc import Iterator

from zooaudit.storage.port import Store
from zooaudit.telemetry.metrics import STORE_SECONDS, record


class ObservedStore:
    """The store interface on any store; failed operations are timed too."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def url(self) -> str:
        return self._store.url

    def create(self, key: str, content: bytes) -> bool:
        with _timed("create"):
            return self._store.create(key, content)

    def read(self, key: str, most: int | None = None) -> bytes:
        with _timed("read"):
            return self._store.read(key, most)

    def exists(self, key: str) -> bool:
        with _timed("exists"):
            return self._store.exists(key)

    def keys(self, prefix: str) -> Iterator[str]:
        with _timed("list"):
            return iter(list(self._store.keys(prefix)))

    def age_s(self, key: str) -> float:
        with _timed("exists"):  # it requests the same header
            return self._store.age_s(key)

    def delete(self, key: str) -> None:
        with _timed("delete"):
            self._store.delete(key)

    def move(self, key: str, to: str) -> None:
        with _timed("move"):
            self._store.move(key, to)


@contextlib.contextmanager
def _timed(operation: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        record(STORE_SECONDS, time.perf_counter() - started, operation=operation)
