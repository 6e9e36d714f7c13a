"""The interface of a store: named bytes, created once."""

from collections.abc import Iterator
from typing import Protocol

from zooaudit.errors import DamagedArtifactError


class Store(Protocol):
    """Where artifacts are stored. Keys are ``/``-separated names; every backend passes the same contract
    tests."""

    @property
    def url(self) -> str:
        """How to open it again, also in another process if the backend allows it."""
        ...

    def create(self, key: str, content: bytes) -> bool:
        """Write ``content`` completely or not at all. False, and nothing changed, if the key exists.

        Raises:
            StoreError: it cannot be written (disk full, no permission, ...).
        """
        ...

    def read(self, key: str, most: int | None = None) -> bytes:
        """The content of ``key``.

        Args:
            most: limit in bytes; larger content is refused before it is read.

        Raises:
            MissingArtifactError: there is no such key.
            DamagedArtifactError: it has more than ``most`` bytes, or is not a regular file.
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
        """Remove ``key``; does nothing if it does not exist."""
        ...

    def move(self, key: str, to: str) -> None:
        """Rename content, replacing what has the new name; it does not pass through memory, and its age
        starts again. At every moment it has at least one of the two names.

        Raises:
            MissingArtifactError: there is no such key.
        """
        ...


def check_size(url: str, key: str, size: int, most: int | None) -> None:
    """Refuse content that is too large.

    Raises:
        DamagedArtifactError: it is too large.
    """
    if most is not None and size > most:
        raise DamagedArtifactError(f"store {url}: {key} has {size:,} bytes; expected {most:,} at most")
