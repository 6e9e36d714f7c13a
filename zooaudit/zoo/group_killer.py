"""A program that ends a process group when the process that started it is gone, even if that was killed. Uses
only the standard library, to start quickly.

    python -I -S leash.py GROUP FOLDER

The process that started it holds the other end of its standard input: one byte releases the group; the end of
the input, which also comes when the holder was killed, ends the group and removes the folder. It leaves its
parent immediately, since Ray kills the children of a dying worker.
"""

import contextlib
import os
import shutil
import signal
import sys
import time

GRACE_S = 3.0


def main(group: int, folder: str) -> None:
    """Wait for one byte, or for the end."""
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.read(0, 1):
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)
        time.sleep(GRACE_S)
        os.killpg(group, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
