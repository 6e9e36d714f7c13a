"""A real Ray Serve with the scoring service, as an operator starts it, and a client."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import uvicorn
import yaml
from torch import Tensor

from cluster.seaweed import free_ports
from tests.support.manifests import CLUSTER

START_S = 180.0
SERVE = [sys.executable, "-c", "from ray.serve.scripts import cli; cli()"]


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)


class Client:
    """Asks a service at an address, with a key or without; a refusal is a reply like any other."""

    def __init__(self, address: str, key: str = "") -> None:
        self.address, self.key = address, key

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> Reply:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.key:
            named.setdefault("Authorization", f"Bearer {self.key}")
        request = urllib.request.Request(self.address + path, body, named)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return Reply(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            return Reply(error.code, error.headers, error.read())


class Served:
    """``serve run`` on a private cluster: free ports, a temporary folder, 127.0.0.1. Ended by process id.

    Args:
        environment: of all its processes.
        what: the application's import path; "" for the cluster's configuration,
            cluster/serve.yaml, on another port.
        scoring: fields of the deployment scoring that are to be others in that configuration.
    """

    def __init__(
        self, environment: Mapping[str, str], what: str = "", scoring: Mapping[str, Any] | None = None
    ) -> None:
        # short: Unix sockets' names end at 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="zs-", dir="/tmp"))
        (port,) = free_ports(1)
        self.address = f"http://127.0.0.1:{port}"
        config = yaml.safe_load((CLUSTER / "serve.yaml").read_text())
        config["http_options"]["port"] = port
        config["applications"][0]["deployments"][0] |= scoring or {}
        (self.folder / "serve.yaml").write_text(yaml.safe_dump(config))
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "AWS_", "ZOOAUDIT_"))}
        own = {"RAY_ADDRESS": "local", "RAY_TMPDIR": str(self.folder), "RAY_USAGE_STATS_ENABLED": "0"}
        self.log = self.folder / "log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*SERVE, "run", what or str(self.folder / "serve.yaml")],
                env={**kept, **own, **environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.folder,
            )

    def wait(self) -> "Served":
        """Until it answers."""
        end = time.monotonic() + START_S
        while not self._healthy():
            if self._process.poll() is not None or time.monotonic() > end:
                said = self.log.read_text(errors="replace")[-3000:]
                self.stop()
                raise RuntimeError(f"Ray Serve did not come up:\n{said}")
            time.sleep(0.2)
        return self

    @property
    def pid(self) -> int:
        """Of the process whose children all others are."""
        return self._process.pid

    def ended(self) -> tuple[int, str]:
        """Wait for it to end by itself: the exit code, and all it said."""
        code = self._process.wait(timeout=START_S)
        return code, self.log.read_text(errors="replace")

    def stop(self) -> None:
        """As Ctrl-C, and after a while as a power cut; removes its files."""
        with contextlib.suppress(psutil.NoSuchProcess):
            family = [
                psutil.Process(self._process.pid),
                *psutil.Process(self._process.pid).children(recursive=True),
            ]
            self._process.send_signal(signal.SIGINT)
            _, left = psutil.wait_procs(family, timeout=15)
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(left, timeout=10)
        self._process.wait(timeout=10)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _healthy(self) -> bool:
        try:
            return Client(self.address).ask("/health").status == 200
        except OSError:
            return False


@contextlib.contextmanager
def listening(app: Any) -> Iterator[str]:
    """An application on a free port of 127.0.0.1, in a thread of this process: its address."""
    (port,) = free_ports(1)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(30)


def sys_path() -> list[str]:
    """Where this zooaudit is, for processes that start elsewhere."""
    import zooaudit

    return [str(Path(zooaudit.__file__).parent.parent)]


def as_numbers(answers: Tensor) -> bytes:
    return answers.numpy().astype("<f4").tobytes()


def assert_problem(reply: Reply, status: int, *says: str) -> dict[str, Any]:
    assert (reply.status, reply.headers["Content-Type"]) == (
        status,
        "application/problem+json",
    ), reply.content
    body: dict[str, Any] = reply.json()
    assert body.keys() == {"type", "title", "status", "detail", "found", "expected"}
    assert body["status"] == status
    assert all(word in json.dumps(body, ensure_ascii=False) for word in says), body
    return body


def once_back(client: Client, path: str) -> Reply:
    """The first answer that is not a 503: a store that did not answer is not asked again by each caller."""
    end = time.monotonic() + 30
    while (reply := client.ask(path)).status == 503 and time.monotonic() < end:
        time.sleep(0.2)
    return reply
