"""A store in a local folder."""

import errno
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from zooaudit.errors import DamagedArtifactError, MissingArtifactError, StoreError
from zooaudit.storage.port import check_size

SCRATCH = ".partial-"


class LocalStore:
    """The store interface on a folder. A file gets its name only when it is complete and on disk: it is
    written under a scratch name, synced, and hard-linked to its own, which fails if that exists.

    Args:
        root: the folder.
        make: create it if missing; otherwise it is empty until something is written.
    """

    def __init__(self, root: Path, make: bool = True) -> None:
        self._root = root.absolute()
        if not make:
            return
        try:
            self._root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"store {self._root} cannot be made: {error.strerror}; choose another folder with --store"
            ) from error

    @property
    def url(self) -> str:
        return str(self._root)

    def create(self, key: str, content: bytes) -> bool:
        path = self._root / key
        scratch = ""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(key, len(content), error) from error
        try:
            descriptor, scratch = tempfile.mkstemp(prefix=SCRATCH, dir=path.parent)
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.link(scratch, path)
        except FileExistsError:
            return False
        except OSError as error:
            raise self._unwritable(key, len(content), error) from error
        finally:
            if scratch:
                os.unlink(scratch)
        return True

    def _unwritable(self, key: str, size: int, error: OSError) -> StoreError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StoreError(
                f"store {self._root}: no space left for {key} ({size:,} bytes); free some and run again,"
                " finished models are kept"
            )
        return StoreError(f"store {self._root}: cannot write {key}: {error.strerror}")

    def read(self, key: str, most: int | None = None) -> bytes:
        try:
            # Do not block on a pipe.
            with open(os.open(self._root / key, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
                found = os.fstat(file.fileno())
                if stat.S_ISDIR(found.st_mode):
                    raise IsADirectoryError
                if not stat.S_ISREG(found.st_mode):
                    raise DamagedArtifactError(f"store {self._root}: {key} is not a plain file; remove it")
                check_size(self.url, key, found.st_size, most)
                return file.read() if most is None else file.read(most)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise MissingArtifactError(f"store {self._root} has no {key}") from None
        except OSError as error:
            raise StoreError(f"store {self._root}: cannot read {key}: {error.strerror}") from error

    def exists(self, key: str) -> bool:
        return (self._root / key).is_file()

    def keys(self, prefix: str) -> Iterator[str]:
        folder = self._root / prefix.rpartition("/")[0]
        found = (
            p.relative_to(self._root).as_posix()
            for p in folder.rglob("*")
            if p.is_file() and not p.name.startswith(SCRATCH)
        )
        return iter(sorted(k for k in found if k.startswith(prefix)))

    def age_s(self, key: str) -> float:
        try:
            return time.time() - (self._root / key).stat().st_mtime
        except FileNotFoundError:
            raise MissingArtifactError(f"store {self._root} has no {key}") from None

    def delete(self, key: str) -> None:
        try:
            (self._root / key).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"store {self._root}: cannot delete {key}: {error.strerror}") from error

    def move(self, key: str, to: str) -> None:
        try:
            (self._root / to).parent.mkdir(parents=True, exist_ok=True)
            os.utime(self._root / key)
            os.replace(self._root / key, self._root / to)
        except FileNotFoundError:
            raise MissingArtifactError(f"store {self._root} has no {key}") from None
        except OSError as error:
            raise StoreError(f"store {self._root}: cannot move {key}: {error.strerror}") from error
