"""Encoded images by number: the interface of all data that stays on disk."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from zooaudit.errors import DataError

THREADS = 4
"""How many threads read or decode in a process; Pillow's decoders release the GIL."""


class Encoded(Protocol):
    """Encoded images by number; small enough to be sent to other processes."""

    @property
    def paths(self) -> tuple[str, ...]:
        """The user's files that hold them."""
        ...

    @property
    def key(self) -> str:
        """Distinguishes these images from others in the same files."""
        ...

    def __len__(self) -> int: ...

    def read(self, index: int) -> tuple[bytes, str]:
        """The content of one image, and its name for errors."""
        ...


class Files:
    """One image in each file."""

    key = ""

    def __init__(self, paths: Sequence[str | Path]) -> None:
        self._paths = tuple(map(str, paths))

    @property
    def paths(self) -> tuple[str, ...]:
        return self._paths

    def __len__(self) -> int:
        return len(self._paths)

    def read(self, index: int) -> tuple[bytes, str]:
        path = self._paths[index]
        try:
            with open(path, "rb") as file:
                return file.read(), path
        except OSError as error:
            raise DataError(
                f"{path} can no longer be read ({error.strerror}); expected the data to stay as it was"
            ) from error


def content_digest(encoded: Encoded) -> str:
    """SHA-256 over all encoded images, in order."""

    def one(index: int) -> bytes:
        return hashlib.sha256(encoded.read(index)[0]).digest()

    sha = hashlib.sha256()
    with ThreadPoolExecutor(THREADS) as pool:
        for digest in pool.map(one, range(len(encoded)), chunksize=256):
            sha.update(digest)
    return sha.hexdigest()
