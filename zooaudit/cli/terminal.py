"""What the user sees during work: lines and a progress bar, or a log of events, on standard error; results on
standard output."""

import io
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol, TextIO

from zooaudit.data.images import Dataset
from zooaudit.storage.artifacts import Artifacts
from zooaudit.telemetry.events import event_line
from zooaudit.telemetry.phases import Phase
from zooaudit.training.farm import Farm, Watch
from zooaudit.training.work_queue import FarmStatus
from zooaudit.zoo.spec import ModelSpec

BAR = 24
LINE_EVERY_S = 15.0
EVENT_EVERY_S = 5.0
SIGN_OF_LIFE_EVERY_S = 60.0


class Notifier(Protocol):
    """How a command reports its progress: to a person, or to a log."""

    def __call__(self, message: str, event: str = "note", **facts: object) -> None:
        """Report something: ``message`` to a person, the event and its facts to a log (the message if there
        are no facts)."""
        ...

    def watch(self, status: FarmStatus) -> None:
        """Report the farm's progress."""
        ...

    def step(self, phase: Phase) -> None:
        """Report the current phase and its progress."""
        ...


class Terminal:
    """Lines and a progress bar for a person."""

    def __init__(self) -> None:
        self.watch = ProgressBar()
        self._bar, self._phase = ProgressBar(line=phase_line), ""

    def step(self, phase: Phase) -> None:
        if phase.name != self._phase:
            self._bar, self._phase = ProgressBar(line=phase_line), phase.name
        self._bar(phase)

    def __call__(self, message: str, event: str = "note", **facts: object) -> None:
        if message:
            say(message)


class EventLog:
    """One line for each event, ``key=value``: readable in ``ray job logs``, and easy for a log collector to
    parse."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._shown: FarmStatus | None = None
        self._last = 0.0
        self._phase = ""

    def __call__(self, message: str, event: str = "note", **facts: object) -> None:
        print(event_line(event, **(facts or {"message": message})), file=self._stream, flush=True)

    def step(self, phase: Phase) -> None:
        """Report a phase when it begins, and then at intervals."""
        now = time.monotonic()
        if phase.name != self._phase or now - self._last >= EVENT_EVERY_S:
            self._phase, self._last = phase.name, now
            left = round(phase.left_s) if phase.left_s is not None else None
            counted = {"done": phase.done, "total": phase.total} if phase.total else {}
            self("", "working", phase=phase.name, number=phase.number, of=phase.of, **counted, left_s=left)

    def watch(self, status: FarmStatus) -> None:
        """Report when a model is done (those of a few seconds on one line) or failed, at the end, and at
        intervals if nothing happens."""
        now, result = time.monotonic(), self._shown
        if result and status.done == result.done:
            due = now - self._last >= SIGN_OF_LIFE_EVERY_S
        else:
            due = (
                not result
                or status.done == status.total
                or status.failed > result.failed
                or now - self._last >= EVENT_EVERY_S
            )
        if due:
            self._shown, self._last = status, now
            rate = models_a_minute(status)
            left = 60 * (status.total - status.done) / rate if rate else None
            self(
                "",
                "models",
                done=status.done,
                total=status.total,
                failed=status.failed,
                training=len(status.training),
                elsewhere=len(status.elsewhere) or None,
                per_minute=round(rate, 1) if rate else None,
                left_s=round(left) if left is not None else None,
            )


def say(message: str) -> None:
    """One line on standard error."""
    print(message, file=sys.stderr, flush=True)


class Asides(io.TextIOBase):
    """Turns what others print, for example Ray's report of a lost node, into events: the first line of each
    message."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    def write(self, text: str) -> int:
        if text.strip():
            self._log(text.strip().splitlines()[0], "aside")
        return len(text)


class Countable(Protocol):
    """Anything that knows its progress."""

    @property
    def done(self) -> int: ...
    @property
    def total(self) -> int: ...


class ProgressBar:
    """A line of progress (models done, models a minute, time left): redrawn in place on a terminal, printed
    at intervals elsewhere."""

    def __init__(self, stream: TextIO | None = None, line: Callable[[Any], str] | None = None) -> None:
        self._stream = stream or sys.stderr
        self._line: Callable[[Any], str] = line or progress_line
        self._live = self._stream.isatty()
        self._last = -LINE_EVERY_S
        self._written = ""

    def __call__(self, status: Countable) -> None:
        over = status.done == status.total
        now = time.monotonic()
        line = self._line(status)
        if self._live:
            self._stream.write(
                "\r\x1b[2K" + line + ("\n" if over and not self._written.endswith("\n") else "")
            )
            self._stream.flush()
        elif (over and line != self._written) or now - self._last >= LINE_EVERY_S:
            self._stream.write(line + "\n")
            self._stream.flush()
            self._last = now
        self._written = line + ("\n" if over and self._live else "")


class TimedFarm:
    """A farm that records its times to start, to train and to stop, in seconds."""

    def __init__(self, farm: Farm) -> None:
        self._farm = farm
        self.phases: dict[str, float] = {}

    def build(self, specs: list[ModelSpec], dataset: Dataset, artifacts: Artifacts, watch: Watch) -> int:
        begun = time.perf_counter()
        marks: dict[str, float] = {}

        def note(status: FarmStatus) -> None:
            now = time.perf_counter()
            if status.training or status.done:
                marks.setdefault("first", now)
            if status.done == status.total:
                marks.setdefault("last", now)
            watch(status)

        built = self._farm.build(specs, dataset, artifacts, note)
        ended = time.perf_counter()
        first, last = marks.get("first", begun), marks.get("last", ended)
        self.phases = {"farm start": first - begun, "training": last - first, "farm stop": ended - last}
        return built


def progress_line(status: FarmStatus) -> str:
    """For example ``zoo [######..................] 12/45 models, 5.1 a minute, 6 min left``."""
    filled = BAR * status.done // max(1, status.total)
    rate = models_a_minute(status)
    parts = [f"{status.done}/{status.total} models"]
    if rate:
        parts.append(f"{rate:.1f} a minute")
    if rate and status.done < status.total:
        parts.append(f"{duration(60 * (status.total - status.done) / rate)} left")
    if status.failed:
        parts.append(f"{status.failed} failed")
    if status.elsewhere:
        parts.append(f"{len(status.elsewhere)} being built by another job")
    return f"zoo [{'#' * filled}{'.' * (BAR - filled)}] " + ", ".join(parts)


def phase_line(phase: Phase) -> str:
    """For example ``3 of 5: answers of twins and references [######..................] 9/36, 12 s left``."""
    line = f"{phase.number} of {phase.of}: {phase.name}"
    if not phase.total:
        return line
    filled = BAR * phase.done // phase.total
    left = f", {duration(phase.left_s)} left" if phase.left_s is not None and phase.done < phase.total else ""
    return f"{line} [{'#' * filled}{'.' * (BAR - filled)}] {phase.done}/{phase.total}{left}"


def models_a_minute(status: FarmStatus) -> float:
    """0 before the first model is done."""
    return 60 * status.done / status.seconds if status.seconds > 0 and status.done else 0.0


def duration(seconds: float) -> str:
    """``45 s``, ``12 min``: rounded for people."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
