"""The service under load while its store is down."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.seaweed import Seaweed
from tests.support.kits import make_kit
from tests.support.load import CLIENTS, running, scoring
from tests.support.serving import assert_problem
from zooaudit.kits.kit import save_kit
from zooaudit.storage.opening import open_store


@pytest.mark.serve
@pytest.mark.s3
@pytest.mark.chaos
@pytest.mark.long
def test_a_store_that_is_down_under_load_costs_only_cold_kits(own_server: Seaweed, tmp_path: Path) -> None:
    place = "s3://zoo/kits"
    artifacts, kit = open_store(place), make_kit()
    warm, cold = save_kit(artifacts, kit).id, save_kit(artifacts, replace(kit, seed=10)).id
    with running(tmp_path, place) as (_, client):
        ask_warm, ask_cold = scoring(client, warm), scoring(client, cold)
        assert ask_warm().status == 200
        stop, statuses = threading.Event(), []

        def load() -> None:
            while not stop.is_set():
                statuses.append(ask_warm().status)

        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(load) for _ in range(CLIENTS)]
            try:
                own_server.kill()
                before = len(statuses)
                reply = ask_cold()
                assert_problem(reply, 503, "the store does not answer")
                assert int(reply.headers["Retry-After"]) > 0
                assert len(statuses) > before + 20, "warm kits are scored meanwhile"
                own_server.start()
                end = time.monotonic() + 60
                while (reply := ask_cold()).status != 200:
                    assert reply.status == 503 and time.monotonic() < end, reply.content
                    time.sleep(0.5)
            finally:
                stop.set()
        for client_of_warm in clients:
            client_of_warm.result()
        assert set(statuses) == {200}, "a kit in memory needs no store"
