"""What the user sees while it works: lines and a progress bar on standard error, results on standard output."""

import sys
import time
from typing import TextIO

from zooaudit.data.images import Dataset
from zooaudit.farm import Farm, Watch
from zooaudit.storage.artifacts import Artifacts
from zooaudit.workqueue import FarmStatus
from zooaudit.zoo.spec import ModelSpec

BAR = 24
LINE_EVERY_S = 15.0


def say(message: str) -> None:
    """One line on standard error."""
    print(message, file=sys.stderr, flush=True)


class ProgressBar:
    """Models done, models a minute, time left: redrawn in place on a terminal, a line now and then elsewhere."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._last = -LINE_EVERY_S
        self._written = ""

    def __call__(self, status: FarmStatus) -> None:
        over = status.done == status.total
        now = time.monotonic()
        line = progress_line(status)
        if self._live:
            self._stream.write("\r\x1b[2K" + line + ("\n" if over and not self._written.endswith("\n") else ""))
            self._stream.flush()
        elif (over and line != self._written) or now - self._last >= LINE_EVERY_S:
            self._stream.write(line + "\n")
            self._stream.flush()
            self._last = now
        self._written = line + ("\n" if over and self._live else "")


class TimedFarm:
    """A farm that notes how long it took to start, to train and to stop, in seconds."""

    def __init__(self, farm: Farm) -> None:
        self._farm = farm
        self.phases: dict[str, float] = {}

    def build(self, specs: list[ModelSpec], dataset: Dataset, artifacts: Artifacts, watch: Watch) -> None:
        begun = time.perf_counter()
        marks: dict[str, float] = {}

        def note(status: FarmStatus) -> None:
            now = time.perf_counter()
            if status.training or status.done:
                marks.setdefault("first", now)
            if status.done == status.total:
                marks.setdefault("last", now)
            watch(status)

        self._farm.build(specs, dataset, artifacts, note)
        ended = time.perf_counter()
        first, last = marks.get("first", begun), marks.get("last", ended)
        self.phases = {"farm start": first - begun, "training": last - first, "farm stop": ended - last}


def progress_line(status: FarmStatus) -> str:
    """For example ``zoo [######..................] 12/45 models, 5.1 a minute, 6 min left``."""
    filled = BAR * status.done // max(1, status.total)
    rate = 60 * status.done / status.seconds if status.seconds > 0 and status.done else 0.0
    parts = [f"{status.done}/{status.total} models"]
    if rate:
        parts.append(f"{rate:.1f} a minute")
    if rate and status.done < status.total:
        parts.append(f"{_duration(60 * (status.total - status.done) / rate)} left")
    if status.done == status.total:
        parts.append(f"done in {_duration(status.seconds)}")
    if status.failed:
        parts.append(f"{status.failed} failed")
    return f"zoo [{'#' * filled}{'.' * (BAR - filled)}] " + ", ".join(parts)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
