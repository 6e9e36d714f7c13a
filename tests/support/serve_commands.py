"""``zooaudit serve`` as a process of its own."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from cluster.seaweed import free_ports
from tests.support.kits import make_kit
from tests.support.places import ROOT
from zooaudit.kits.kit import Kit, save_kit
from zooaudit.storage.opening import open_store

CLASSES = ("ankle boot", "bag", "coat", "dress")


@dataclass
class Started:
    """A service that was started from the command line."""

    process: subprocess.Popen[str]
    url: str
    key: str
    folder: Path
    kit: Kit
    id: str


@contextlib.contextmanager
def starting(folder: Path, *options: str) -> Iterator[Started]:
    """A service that may not be ready yet."""
    kit = make_kit(facts={"classes": list(CLASSES)})
    id_ = save_kit(open_store(str(folder / "store")), kit).id
    (port,) = free_ports(1)
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "ZOOAUDIT_SERVE", "AWS_"))
    } | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "zooaudit", "serve", "--store", "store", "--port", str(port), *options]
    log = (folder / "log").open("w")
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        start_new_session=True,
    )
    try:
        yield Started(process, f"http://127.0.0.1:{port}", "", folder, kit, id_)
    finally:
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        process.kill()
        log.close()


@contextlib.contextmanager
def started(folder: Path, *options: str) -> Iterator[Started]:
    with starting(folder, *options) as service:
        assert service.process.stdout
        line = service.process.stdout.readline()
        said = (folder / "log").read_text()
        assert line == f"ready: {service.url}\n", said
        key = re.search(r"it is stored nowhere: ([0-9a-f]{64})", said)
        service.key = key.group(1) if key else ""
        yield service
