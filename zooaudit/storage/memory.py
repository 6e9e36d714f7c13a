"""A store in this process's memory: for tests and trials."""

import threading
import time
from collections.abc import Iterator

from zooaudit.errors import MissingArtifactError
from zooaudit.storage.port import check_size


class MemoryStore:
    """The store interface on a dictionary."""

    url = "memory:"

    def __init__(self) -> None:
        self._content: dict[str, bytes] = {}
        self._written: dict[str, float] = {}
        self._lock = threading.Lock()

    def create(self, key: str, content: bytes) -> bool:
        with self._lock:
            if key in self._content:
                return False
            self._content[key] = content
            self._written[key] = time.monotonic()
            return True

    def read(self, key: str, most: int | None = None) -> bytes:
        try:
            content = self._content[key]
        except KeyError:
            raise MissingArtifactError(f"memory: has no {key}") from None
        check_size(self.url, key, len(content), most)
        return content

    def exists(self, key: str) -> bool:
        return key in self._content

    def keys(self, prefix: str) -> Iterator[str]:
        return iter(sorted(k for k in self._content if k.startswith(prefix)))

    def age_s(self, key: str) -> float:
        if key not in self._content:
            raise MissingArtifactError(f"memory: has no {key}")
        return time.monotonic() - self._written[key]

    def delete(self, key: str) -> None:
        self._content.pop(key, None)

    def move(self, key: str, to: str) -> None:
        with self._lock:
            if key not in self._content:
                raise MissingArtifactError(f"memory: has no {key}")
            self._content[to] = self._content.pop(key)
            self._written[to] = time.monotonic()
