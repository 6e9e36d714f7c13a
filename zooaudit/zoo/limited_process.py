"""Run somebody else's program within limits of time and disk, and leave nothing of it behind: no process,
whatever becomes of us."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zooaudit.zoo import group_killer

GB = 10**9


@dataclass(frozen=True)
class Limits:
    """What a program may take.

    Attributes:
        seconds: from its start to its end.
        folder_bytes: what may lie in its scratch folder.
        free_bytes: what must be left on that folder's disk.
        look_s: how often it is looked at.
    """

    seconds: float
    folder_bytes: int = 20 * GB
    free_bytes: int = 1 * GB
    look_s: float = 1.0

    def exceeded(self, started: float, folder: Path) -> str:
        """Which limit a program that ``started`` (monotonic seconds) has passed; empty if none."""
        if time.monotonic() - started > self.seconds:
            return f"it took longer than {self.seconds:g} s and was ended; --train-timeout allows more"
        if (taken := folder_bytes(folder)) > self.folder_bytes:
            return (
                f"it was ended when it had written {taken / GB:.1f} GB; expected at most"
                f" {self.folder_bytes / GB:g} GB"
            )
        if (free := shutil.disk_usage(folder).free) < self.free_bytes:
            wanted = f"expected at least {self.free_bytes / GB:g} GB"
            return f"it was ended when {free / GB:.1f} GB were left on the disk of {folder.parent}; {wanted}"
        return ""


def run(
    command: Sequence[str], folder: Path, log: Path, limits: Limits, env: Mapping[str, str] | None = None
) -> tuple[int | None, str]:
    """Run ``command`` to its end, or to a limit; then end every process of its group.

    Args:
        folder: its scratch folder, watched and also its ``TMPDIR``.
        log: where its output and its errors go, in the order written.
        env: its environment; ours without one.

    Returns:
        The exit code (below 0: the signal that ended it) and ""; or None and why it did not run to its end.
    """
    started = time.monotonic()
    with log.open("wb") as sink:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**(os.environ if env is None else env), "TMPDIR": str(folder)},
            )
        except (OSError, ValueError) as error:
            return None, f"{command[0]} cannot be started: {error}"
    with _leashed(process, folder):
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(min(limits.look_s, limits.seconds)), ""
            if reason := limits.exceeded(started, folder):
                return None, reason


def folder_bytes(folder: Path) -> int:
    """What the files in a folder take on the disk; files that come and go meanwhile count or not."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_blocks * 512
    return total


@contextlib.contextmanager
def _leashed(process: "subprocess.Popen[bytes]", folder: Path) -> Iterator[None]:
    """At the end of the block, or of this process, nothing of the program's group is left."""
    watcher = [sys.executable, "-I", "-S", group_killer.__file__, str(process.pid), str(folder)]
    leashed = subprocess.Popen(
        watcher,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        leashed.wait()
        yield
    finally:
        _end(process)
        assert leashed.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            leashed.stdin.write(b".")
            leashed.stdin.close()


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ask the group to end, if its first process has not ended yet, and then make it."""
    if process.poll() is None:
        _signal(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(group_killer.GRACE_S)
    _signal(process.pid, signal.SIGKILL)
    process.wait()


def _signal(group: int, number: signal.Signals) -> None:
    # macOS says the latter of a group of zombies.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
