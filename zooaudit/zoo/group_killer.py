"""A program: ends a process group when whoever started this is gone, however he went. Standard library only,
so that it starts at once.

    python -I -S leash.py GROUP FOLDER

Whoever started it holds the other end of its standard input: one byte through it lets the group go; its end,
which comes also when the holder was killed, ends the group and removes the folder. It leaves its parent at
once, since Ray kills the children of a dying worker.
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
