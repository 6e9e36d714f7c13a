"""Check whether the service's data can be written."""

import os
import tempfile
import threading
from pathlib import Path

from zooaudit.errors import NotWrittenError

PROBE = b"\0" * 65536
"""Bytes that a few audits write."""


def refuse_if_full(folder: Path | None) -> None:
    """Write a little, and remove it again.

    Args:
        folder: of the service's data; None without one.

    Raises:
        NotWrittenError: it cannot be written.
    """
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(PROBE)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise NotWrittenError(f"{folder} cannot be written: {error.strerror}") from error


class DiskSpace:
    """For many callers: one at a time tries the disk, the others get its last result. So a disk that hangs
    blocks one thread, not all."""

    def __init__(self) -> None:
        self._asking, self._trouble = threading.Lock(), ""

    def check(self, folder: Path | None) -> None:
        """Raises:
        NotWrittenError: as ``refuse_if_full``.
        """
        if self._asking.acquire(blocking=False):
            try:
                refuse_if_full(folder)
                self._trouble = ""
            except NotWrittenError as error:
                self._trouble = str(error)
            finally:
                self._asking.release()
        if self._trouble:
            raise NotWrittenError(self._trouble)
