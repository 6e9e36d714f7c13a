"""The store port: named bytes, created once."""

from collections.abc import Iterator
from typing import Protocol


class Store(Protocol):
    """Where artifacts live. Keys are ``/``-separated names; every backend passes the same contract tests."""

    @property
    def url(self) -> str:
        """How to open it again, in another process too where the backend allows it."""
        ...

    def create(self, key: str, content: bytes) -> bool:
        """Write ``content`` whole or not at all. False, and nothing changed, if the key exists.

        Raises:
            StoreError: it cannot be written (disk full, no permission, ...).
        """
        ...

    def read(self, key: str) -> bytes:
        """The content of ``key``.

        Raises:
            MissingArtifactError: there is no such key.
        """
        ...

    def exists(self, key: str) -> bool: ...

    def keys(self, prefix: str) -> Iterator[str]:
        """All keys that start with ``prefix``, sorted."""
        ...

    def age_s(self, key: str) -> float:
        """Seconds since ``key`` was written, by the store's own clock.

        Raises:
            MissingArtifactError: there is no such key.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove ``key``; nothing happens if it is not there."""
        ...
