"""The store port: named bytes, created once."""

from collections.abc import Iterator
from typing import Protocol

from zooaudit.errors import DamagedArtifactError


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

    def read(self, key: str, most: int | None = None) -> bytes:
        """The content of ``key``.

        Args:
            most: bytes; what is larger is refused before it is read.

        Raises:
            MissingArtifactError: there is no such key.
            DamagedArtifactError: it has more than ``most`` bytes, or is not plain content.
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

    def move(self, key: str, to: str) -> None:
        """Give content another name, in place of what is there under that; no copy of it passes through
        memory, and its age begins anew. At no moment is it under neither name.

        Raises:
            MissingArtifactError: there is no such key.
        """
        ...


def check_size(url: str, key: str, size: int, most: int | None) -> None:
    """Refuse content that is larger than it may be.

    Raises:
        DamagedArtifactError: it is.
    """
    if most is not None and size > most:
        raise DamagedArtifactError(f"store {url}: {key} has {size:,} bytes; expected {most:,} at most")
