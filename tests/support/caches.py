"""A store that counts what is read from it, and what a cache has kept."""

import hashlib
from pathlib import Path

import pytest

from zooaudit.storage.memory import MemoryStore

CONTENT = b"read once, kept " * 100


class Counting(MemoryStore):
    """A store that counts what is read from it."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[str] = []

    def read(self, key: str, most: int | None = None) -> bytes:
        self.reads.append(key)
        return super().read(key, most)


def key_of(content: bytes) -> str:
    sha = hashlib.sha256(content).hexdigest()
    return f"objects/{sha[:2]}/{sha}"


@pytest.fixture
def behind() -> Counting:
    store = Counting()
    store.create(key_of(CONTENT), CONTENT)
    store.create("manifests/thing/one.json", b"{}")
    return store


def entries(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.is_file()]
