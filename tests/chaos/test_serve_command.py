"""A replica that is killed under load."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.kits import K
from tests.support.makers import near
from tests.support.serve_commands import started
from zooaudit.client import Client
from zooaudit.errors import ServiceError
from zooaudit.suspects.blackbox import TorchBlackBox


@pytest.mark.serve
@pytest.mark.chaos
@pytest.mark.long
def test_a_replica_killed_under_load_costs_only_what_it_was_doing(tmp_path: Path) -> None:
    with started(tmp_path, "--open") as service:
        answers = TorchBlackBox(near(0, 70), K).ask(service.kit.twin_test.questions()).numpy()
        stop, failed, done = threading.Event(), [], []

        def ask() -> None:
            with Client(service.url) as client:
                while not stop.is_set():
                    try:
                        found: Any = client.score(service.id, answers, suspect="s").twins
                        done.append(found.decision)
                    except ServiceError as error:
                        failed.append(str(error))

        with ThreadPoolExecutor(8) as pool:
            for _ in range(8):
                pool.submit(ask)
            while len(done) < 50:
                time.sleep(0.1)
            replicas = [
                p
                for p in psutil.Process(service.process.pid).children(recursive=True)
                if "scoring" in " ".join(p.cmdline())
            ]
            assert replicas, "there is a replica to kill"
            for replica in replicas:
                replica.kill()
            before = len(done)
            while len(done) < before + 100:
                assert service.process.poll() is None
                time.sleep(0.1)
            stop.set()
        assert failed == [] and set(done) == {"stolen"}, "the client tries again, and gets there"
