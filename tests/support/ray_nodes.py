"""A Ray cluster of several nodes on this machine, each a raylet of its own, started as an
operator does: with ``ray start``.

Nothing is shared with any other cluster here: free ports, a temporary folder, an authentication token of its
own. It ends by process id.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from cluster.seaweed import free_ports
from tests.support.places import ROOT

START_S = 90.0
RAY = [sys.executable, "-c", "from ray.scripts.scripts import main; main()"]


class Nodes:
    """A head without CPUs, where jobs' drivers run, and nodes of one CPU each, where models are trained.

    Args:
        environment: what the nodes' processes have in theirs: the way to give a cluster its S3 credentials.
        ray: the command ``ray``, if it is another than this environment's.
        user: id of the user that it runs as, if it is another.
    """

    def __init__(self, environment: Mapping[str, str], ray: Sequence[str] = RAY, user: int = -1) -> None:
        self._ray = ray
        # short: Unix sockets' names end at 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="zr-", dir="/tmp"))
        os.chown(self.folder, user, -1)
        kept = {
            k: v
            for k, v in os.environ.items()
            if not k.startswith(("RAY_", "AWS_", "ZOOAUDIT_")) and k != "PYTHONPATH"
        }
        self.token = secrets.token_hex(32)
        path = (  # as where the virtual environment is activated
            f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
        )
        self._bare = kept | {
            "PATH": path,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        self._environment = self._bare | environment
        self.gcs, self.http, client = free_ports(3)
        self.address = f"http://127.0.0.1:{self.http}"
        self.nodes: list[psutil.Process] = []
        self._started = 0
        self._start(
            [
                "--head",
                f"--port={self.gcs}",
                "--num-cpus=0",
                f"--dashboard-port={self.http}",
                "--dashboard-host=127.0.0.1",
                "--include-dashboard=true",
                f"--ray-client-server-port={client}",
            ],
            {},
        )
        self._wait(set())

    def add(self, count: int = 1, **environment: str) -> list[psutil.Process]:
        """Start nodes and wait until the cluster knows them; returns their ``ray start`` processes."""
        first = self._started + 1
        started = [
            self._start([f"--address=127.0.0.1:{self.gcs}", "--num-cpus=1"], environment)
            for _ in range(count)
        ]
        self._wait({f"127.0.0.{n}" for n in range(first, first + count)})
        return started

    def stop(self) -> None:
        """End every process of every node, and remove their files."""
        processes = [p for node in self.nodes for p in _family(node)]
        for process in processes:
            _kill(process)
        psutil.wait_procs(processes, timeout=30)
        shutil.rmtree(self.folder, ignore_errors=True)

    def kill_node(self, node: psutil.Process) -> None:
        """As if its machine lost power: SIGKILL to all that runs there, the raylet first."""
        for process in sorted(_family(node), key=lambda p: "raylet" not in _name(p)):
            _kill(process)
        self.nodes.remove(node)

    def processes(self, name: str) -> list[psutil.Process]:
        """What runs on any node with ``name`` in its command line, or in the title that Ray has given it."""
        return [p for node in self.nodes for p in _family(node) if name in _title(p)]

    def alive(self) -> set[str]:
        """Addresses of the nodes that the cluster believes to be alive."""
        try:
            found = self.ask("/api/v0/nodes")["data"]["result"]["result"]
        except OSError:
            return set()
        return {n["node_ip"] for n in found if n["state"] == "ALIVE"}

    def ask(self, path: str) -> Any:
        """A page of the dashboard, as JSON."""
        request = urllib.request.Request(
            self.address + path, headers={"Authorization": f"Bearer {self.token}"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def job(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """``ray job ...`` as a user types it, without any S3 credentials."""
        command, *rest = arguments
        return subprocess.run(
            [*self._ray, "job", command, f"--address={self.address}", *rest],
            env=self._bare,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def _start(self, arguments: list[str], environment: Mapping[str, str]) -> psutil.Process:
        agent, grpc, metrics, runtime = free_ports(4)
        self._started += 1
        # A folder and an address of its own, as on its own machine: else nodes replace.
        own = self.folder / str(self._started)
        ip = (  # each other's working directories, and a driver may join another node than its own
            f"127.0.0.{self._started}"
        )
        ports = [
            f"--temp-dir={own}",
            f"--dashboard-agent-listen-port={agent}",
            f"--dashboard-agent-grpc-port={grpc}",
            f"--metrics-export-port={metrics}",
            f"--runtime-env-agent-port={runtime}",
            "--min-worker-port=0",
            "--max-worker-port=0",
        ]
        log = (self.folder / f"start-{self._started}.log").open("wb")
        process = subprocess.Popen(
            [
                *self._ray,
                "start",
                "--block",
                f"--node-ip-address={ip}",
                "--object-store-memory=100000000",
                *ports,
                *arguments,
            ],
            env={**self._environment, **environment},
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=self.folder,
        )
        self.nodes.append(psutil.Process(process.pid))
        return self.nodes[-1]

    def _wait(self, addresses: set[str]) -> None:
        end = time.monotonic() + START_S
        while not (alive := self.alive()) or not addresses <= alive:
            if (
                time.monotonic() > end
                or not self.nodes[-1].is_running()
                or self.nodes[-1].status() == psutil.STATUS_ZOMBIE
            ):
                logs = "\n".join(p.read_text()[-1500:] for p in sorted(self.folder.glob("start-*.log")))
                self.stop()
                raise RuntimeError(f"the Ray cluster did not come up:\n{logs}")
            time.sleep(0.3)


def _family(node: psutil.Process) -> list[psutil.Process]:
    try:
        return [*node.children(recursive=True), node]
    except psutil.NoSuchProcess:
        return []


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return
