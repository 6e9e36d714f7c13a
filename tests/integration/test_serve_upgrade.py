"""Two scoring replicas under load while kits come and the service is deployed anew: no request fails."""

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest
import yaml

from tests.support.kits import K, make_kit
from tests.support.makers import near
from tests.support.places import ROOT
from tests.support.serving import SERVE, Client, Served
from zooaudit.kits.kit import save_kit
from zooaudit.serving.bodies import RAW
from zooaudit.serving.settings import OPEN, STORE
from zooaudit.storage.opening import open_store
from zooaudit.suspects.blackbox import TorchBlackBox

pytestmark = pytest.mark.serve

TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "b3" * 32}
TWO = {"ray_actor_options": {"num_cpus": 0.5}, "autoscaling_config": {"min_replicas": 2, "max_replicas": 2}}


class Load:
    """Callers that do not try again, until told to stop."""

    def __init__(self, client: Client, path: str, body: bytes) -> None:
        self.client, self.path, self.body = client, path, body
        self.statuses: list[int | str] = []
        self._stop = threading.Event()

    def __enter__(self) -> "Load":
        self._pool = ThreadPoolExecutor(4)
        self._running = [self._pool.submit(self._ask) for _ in range(4)]
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown()
        for running in self._running:
            running.result()

    def _ask(self) -> None:
        while not self._stop.is_set():
            try:
                reply = self.client.ask(self.path, self.body, Content_Type=RAW)
                self.statuses.append(reply.status)
            except OSError as error:
                self.statuses.append(repr(error))

    def more(self, n: int) -> None:
        """Wait until so many more were answered."""
        wanted, end = len(self.statuses) + n, time.monotonic() + 120
        while len(self.statuses) < wanted:
            assert time.monotonic() < end, f"{len(self.statuses)} of {wanted} answers"
            time.sleep(0.05)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Served, Path, str, bytes]]:
    store, kit = tmp_path / "store", make_kit()
    id_ = save_kit(open_store(str(store)), kit).id
    answers = TorchBlackBox(near(0, 70), K).ask(kit.twin_test.questions()).numpy().astype("<f4").tobytes()
    served = Served({STORE: str(store), OPEN: "1", "PYTHONPATH": str(ROOT)} | TOKEN, scoring=TWO)
    try:
        yield served.wait(), store, id_, answers
    finally:
        served.stop()


def processes(served: Served, named: str) -> list[psutil.Process]:
    """Of this service's, those whose command line has this in it."""
    found = []
    for process in psutil.Process(served.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended meanwhile, or is about to be waited for
            if named in " ".join(process.cmdline()):
                found.append(process)
    return found


def replicas(served: Served) -> set[int]:
    return {p.pid for p in processes(served, "ServeReplica:zooaudit:scoring")}


def dashboard(served: Served) -> str:
    """Where this cluster takes `serve deploy`."""
    ours = processes(served, "dashboard/dashboard.py")
    ports = {c.laddr.port for p in ours for c in p.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    headers, said = {"Authorization": f"Bearer {TOKEN['RAY_AUTH_TOKEN']}"}, {}
    for port in ports:
        try:
            reply = httpx.get(f"http://127.0.0.1:{port}/api/serve/applications/", headers=headers, timeout=30)
            said[port] = reply.text[:500]
            if "applications" in reply.json():
                return f"http://127.0.0.1:{port}"
        except (httpx.HTTPError, ValueError) as error:
            said.setdefault(port, repr(error))
    raise AssertionError(f"none is Ray's dashboard: {said}")


def deploy(served: Served, folder: Path, version: float) -> None:
    """As an operator: the same file with another need of cores, so that every replica is made anew."""
    config = yaml.safe_load((served.folder / "serve.yaml").read_text())
    config["applications"][0]["deployments"][0]["ray_actor_options"]["num_cpus"] = version
    (folder / "changed.yaml").write_text(yaml.safe_dump(config))
    command = [*SERVE, "deploy", "--address", dashboard(served), str(folder / "changed.yaml")]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | TOKEN
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


def test_kits_come_and_replicas_are_made_anew_without_a_failed_request(
    served: tuple[Served, Path, str, bytes], tmp_path: Path
) -> None:
    service, store, id_, answers = served
    client = Client(service.address)
    end = time.monotonic() + 120
    while len(replicas(service)) < 2:
        assert time.monotonic() < end, "two replicas"
        time.sleep(0.2)
    first = replicas(service)
    with Load(client, f"/kits/{id_}/score?suspect=s&method=twins", answers) as load:
        load.more(20)
        newer = save_kit(open_store(str(store)), make_kit(seed=8)).id
        assert newer != id_
        found = {
            client.ask(f"/kits/{newer}/score?suspect=s&method=twins", answers, Content_Type=RAW).status
            for _ in range(8)
        }
        assert found == {200}, "a new kit is answered from the moment it is in the store, by either replica"
        deploy(service, tmp_path, version=0.4)
        end = time.monotonic() + 150
        while replicas(service) & first or len(replicas(service)) < 2:
            assert time.monotonic() < end, f"{replicas(service)} of {first} are still there"
            load.more(1)
        load.more(20)
    assert set(load.statuses) == {200}, [s for s in load.statuses if s != 200]
    assert len(load.statuses) > 50
