"""Facts of the machine and of the run, for a report: so that a number can be traced to what made it."""

import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from zooaudit.machine import cores
from zooaudit.reporting.summary import RunFacts

PACKAGES = (
    "zooaudit",
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "scikit-learn",
    "ray",
    "matplotlib",
    "pyarrow",
    "safetensors",
)


def gather_facts(seconds: float, peak_rss_bytes: int, argv: Sequence[str] | None = None) -> RunFacts:
    """Facts of this run, on this machine, now.

    Args:
        argv: the command line's arguments without the program; this process's own by default.
    """
    arguments = sys.argv[1:] if argv is None else argv
    return RunFacts(
        seconds=seconds,
        peak_rss_bytes=peak_rss_bytes,
        versions=versions(),
        hardware=hardware(),
        command=shlex.join(["zooaudit", *arguments]),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers, by name."""
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def commit() -> str:
    """The commit of the checkout that this code runs from, with ``+changes`` if it was
    edited; empty elsewhere."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        try:
            return subprocess.run(
                ["git", *arguments], cwd=here, capture_output=True, text=True, check=False
            ).stdout.strip()
        except OSError:
            return ""

    found = git("rev-parse", "--short=12", "HEAD")
    return found + ("+changes" if found and git("status", "--porcelain", "--", str(here.parent)) else "")


def hardware() -> str:
    """Processor, cores this process may use, accelerator and system, on one line."""
    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{_processor()}, {cores()} cores, {accelerator}, {platform.system()} {platform.machine()}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"
