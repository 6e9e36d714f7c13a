"""The service under load for minutes: nothing fails, memory does not grow, and what the store does is no
matter to kits in memory.

ZOOAUDIT_SOAK_S says how long the soak lasts, 45 s if it does not;
benchmarks/serving_steady.py has one of ten minutes.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.support.kits import K, make_kit
from tests.support.load import CLIENTS, running, scoring
from tests.support.makers import near, peer
from tests.support.serving import Reply, Served, as_numbers
from zooaudit.kits.kit import Kit, save_kit
from zooaudit.serving.bodies import RAW
from zooaudit.storage.opening import open_store
from zooaudit.suspects.blackbox import TorchBlackBox

SOAK_S = float(os.environ.get("ZOOAUDIT_SOAK_S", "45"))


def private_mib(served: Served) -> float:
    """Memory of the replicas that score, without Ray's shared object store, whose pages
    count once they were touched."""
    family = psutil.Process(served.pid).children(recursive=True)
    sizes = [p.memory_info() for p in family if "scoring" in " ".join(p.cmdline())]
    assert sizes, "there is a replica"
    return sum(s.rss - s.shared for s in sizes) / 2**20


@pytest.mark.serve
@pytest.mark.soak
@pytest.mark.long
def test_a_soak_at_four_fifths_of_what_it_can_take(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    id_ = save_kit(open_store(store), make_kit()).id
    with running(tmp_path, store) as (served, client):
        ask = scoring(client, id_)
        assert ask().json()["twins"]["decision"] == "stolen"
        most = paced(ask, float("inf"), 10.0)
        assert set(most) == {200}
        rate = 0.8 * len(most) / 10.0
        paced(ask, rate, 5.0)
        before = private_mib(served)
        statuses = paced(ask, rate, SOAK_S)
        assert set(statuses) == {200} and len(statuses) > 0.3 * rate * SOAK_S
        after = private_mib(served)
    assert after < before + 15, f"{before:.0f} MiB became {after:.0f} in {len(statuses):,} requests"


def paced(ask: Callable[[], Reply], rate: float, seconds: float) -> list[int]:
    """Ask for so long, by a few clients, at ``rate`` together; the statuses that came back."""
    statuses: list[int] = []

    def one(begun: float) -> None:
        number = 0
        while (now := time.monotonic()) < begun + seconds:
            due = begun + number * CLIENTS / rate
            if due > now:
                time.sleep(due - now)
            statuses.append(ask().status)
            number += 1

    with ThreadPoolExecutor(CLIENTS) as pool:
        begun = time.monotonic()
        list(pool.map(one, [begun] * CLIENTS))
    return statuses


@pytest.mark.serve
@pytest.mark.long
def test_kits_of_many_victims_share_one_replica(tmp_path: Path) -> None:
    """A new kit is served without a restart, and each caller gets the verdict of the kit he named: no
    victim's copy is another's."""
    store, victims = str(tmp_path / "store"), (0, 200, 300)
    artifacts = open_store(store)
    bodies = {
        v: as_numbers(TorchBlackBox(near(v, 70), K).ask(make_kit().twin_test.questions())) for v in victims
    }
    with running(tmp_path, store) as (_, client):
        ids = [(v, save_kit(artifacts, kit_of(v, seed)).id) for seed in range(4) for v in victims]

        def asked(number: int) -> None:
            (victim, id_), stolen_from = ids[number % len(ids)], victims[number // len(ids) % len(victims)]
            found = client.ask(f"/kits/{id_}/score?suspect=s", bodies[stolen_from], Content_Type=RAW).json()
            assert (found["kit"], found["twins"]["decision"] == "stolen") == (id_, victim == stolen_from)

        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(asked, range(120)))


def kit_of(victim: int, seed: int) -> Kit:
    """A kit of ``peer(victim)``, with nothing that was made of another victim's answers."""
    kit = make_kit(seed=seed)
    test = replace(kit.twin_test, predicted=None, lessons=None, behind=None, reference_behind=None)
    answers = test.answers.clone()
    answers[0] = TorchBlackBox(peer(victim), K).ask(test.questions())
    return replace(kit, twin_test=replace(test, answers=answers))
