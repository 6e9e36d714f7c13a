"""The peak memory of this process and all that it started."""

import os
import threading
from types import TracebackType

import psutil

SAMPLE_EVERY_S = 5.0


class MemoryMeter:
    """Samples the proportional set size, summed over the process tree (resident size on systems without this
    figure)."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "MemoryMeter":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._sample()

    def _run(self) -> None:
        self._sample()
        while not self._stop.wait(SAMPLE_EVERY_S):
            self._sample()

    def _sample(self) -> None:
        self.peak_bytes = max(self.peak_bytes, tree_bytes(os.getpid()))


def tree_bytes(pid: int) -> int:
    """Memory of a process and its descendants; shared pages count once."""
    try:
        root = psutil.Process(pid)
        processes = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    return sum(_process_bytes(p) for p in processes)


def _process_bytes(process: psutil.Process) -> int:
    try:
        full = process.memory_full_info()
        return int(getattr(full, "pss", full.rss))
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return 0  # the process ended between listing and reading
    except psutil.AccessDenied:
        return int(process.memory_info().rss)
