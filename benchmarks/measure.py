"""What every benchmark here shares: where it ran, at which commit, and how results are written."""

import datetime
import importlib.metadata
import json
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from zooaudit.compute import resolve_precision
from zooaudit.machine import cores

RESULTS = Path(__file__).parent / "results"


def context() -> dict[str, Any]:
    """Command, commit, date, hardware and versions of this run."""
    here = Path(__file__).parent
    commit = git("rev-parse", "--short=12", "HEAD")
    dirty = git("status", "--porcelain", "--", str(here.parent / "zooaudit"))
    return {
        "command": f"python benchmarks/{Path(sys.argv[0]).name} {' '.join(sys.argv[1:])}".strip(),
        "commit": commit + ("+changes" if dirty else ""),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "hardware": f"{cpu_model()}, {cores()} cores, {resolve_precision('auto', 'cpu')}",
        "python": platform.python_version(),
        "versions": {
            name: importlib.metadata.version(name) for name in ("torch", "torchvision", "ray", "numpy")
        },
    }


def git(*arguments: str) -> str:
    """What git says about this checkout; empty outside one."""
    where = Path(__file__).parent
    return subprocess.run(
        ["git", *arguments], cwd=where, capture_output=True, text=True, check=False
    ).stdout.strip()


def cpu_model() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def spread(values: list[float]) -> dict[str, float]:
    """n, median, least and most of some measurements."""
    return {"n": len(values), "median": statistics.median(values), "min": min(values), "max": max(values)}


def save(name: str, body: dict[str, Any]) -> None:
    """Write ``results/<name>.json`` and say so."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(context() | body, indent=2) + "\n")
    print(f"wrote {path}", file=sys.stderr)
