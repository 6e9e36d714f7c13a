"""How long a person waits: for help, for a first audit, for the service.

    python benchmarks/waiting.py [--runs 3]

Each from the start of the command, in a process of its own, on an idle machine: until ``--version`` and
``--help`` have ended (ten times as often as the rest); until an audit of ``digits`` has ended, with and
without Ray, in a new store each time; of ``zooaudit serve`` on that store until its first line, its ``ready``
line, and the console's page.
"""

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from measure import save, spread

ZOOAUDIT = [sys.executable, "-m", "zooaudit"]
LIMIT_S = 600


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    found: dict[str, list[float]] = {}
    for words in (["--version"], ["--help"], ["score", "--help"]):
        found[" ".join(words)] = [seconds(*words) for _ in range(10 * runs)]
    with tempfile.TemporaryDirectory(prefix="zooaudit-benchmark-") as folder:
        for i in range(runs):
            for name, more in {"without Ray": ["--farm", "serial"], "on Ray": []}.items():
                store = f"{folder}/{name.replace(' ', '-')}-{i}"
                took = seconds(
                    "audit", "--recipe", "digits", "--store", store, "--out", f"{store}-report", *more
                )
                found.setdefault(f"audit, {name}", []).append(took)
            for what, took in served(f"{folder}/on-Ray-{i}", Path(folder, f"data-{i}")).items():
                found.setdefault(f"serve, {what}", []).append(took)
    save("waiting", {"seconds": {name: spread(values) for name, values in found.items()}})


def seconds(*words: str) -> float:
    """Of one command, which must end well."""
    started = time.perf_counter()
    subprocess.run([*ZOOAUDIT, *words], capture_output=True, check=True, timeout=LIMIT_S)
    return time.perf_counter() - started


def served(store: str, data: Path) -> dict[str, float]:
    """Seconds until the service says its first line, says that it is ready, and gives the
    console's page; and until it has ended."""
    port = free_port()
    command = [*ZOOAUDIT, "serve", "--store", store, "--data", str(data), "--open", "--port", str(port)]
    started, found = time.perf_counter(), dict[str, float]()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            found.setdefault("first line", time.perf_counter() - started)
            if line.startswith("ready: "):
                found["ready"] = time.perf_counter() - started
                break
        else:
            raise SystemExit("the service ended before it was ready")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/console", timeout=60) as page:
            page.read()
        found["first page"] = time.perf_counter() - started
        asked = time.perf_counter()
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        found["ended after SIGTERM"] = time.perf_counter() - asked
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    return found


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


if __name__ == "__main__":
    main()
