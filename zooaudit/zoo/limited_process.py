"""Run a stranger's program with limits of time and disk, and leave no process of it behind, even if ours is
killed."""

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
    """The limits of a program.

    Attributes:
        seconds: from its start to its end.
        folder_bytes: of its scratch folder.
        free_bytes: that must stay free on that folder's disk.
        look_s: how often the limits are checked.
    """

    seconds: float
    folder_bytes: int = 20 * GB
    free_bytes: int = 1 * GB
    look_s: float = 1.0

    def exceeded(self, started: float, folder: Path) -> str:
        """The limit that a program started at ``started`` (monotonic seconds) has exceeded, in words; "" if
        none."""
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
    """Run ``command`` until it ends or exceeds a limit; then end every process of its group.

    Args:
        folder: its scratch folder, which is watched and is also its ``TMPDIR``.
        log: receives its output and errors in the order written.
        env: its environment; by default ours.

    Returns:
        The exit code (negative: the signal that ended it) and ""; or None and why it did not finish.
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
    """The disk space of a folder's files; files that change meanwhile may or may not count."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_blocks * 512
    return total


@contextlib.contextmanager
def _leashed(process: "subprocess.Popen[bytes]", folder: Path) -> Iterator[None]:
    """Ensure that after the block, or after this process, no process of the program's group is left."""
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
    """Ask the group to end, if its first process is still running, and then kill it."""
    if process.poll() is None:
        _signal(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(group_killer.GRACE_S)
    _signal(process.pid, signal.SIGKILL)
    process.wait()


def _signal(group: int, number: signal.Signals) -> None:
    # macOS reports the latter for a group of zombies.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
