"""Whether the service's data can be written."""

import os
import tempfile
import threading
from pathlib import Path

from zooaudit.errors import NotWrittenError

PROBE = b"\0" * 65536
"""As much as a few audits write."""


def refuse_if_full(folder: Path | None) -> None:
    """Write a little, and take it away again.

    Args:
        folder: of the service's data; None if it keeps none.

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
    """For many callers: one at a time tries it out, the others hear what was found last. A disk that hangs
    takes one place, not all."""

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
