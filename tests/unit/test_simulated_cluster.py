"""The farm's queue and leases on a simulated cluster, in virtual time: machines come and
go, and every model is built once."""

import random
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.places import ROOT
from zooaudit.planning.measured import DOMAINS
from zooaudit.planning.sizing import planned
from zooaudit.recipes.named import get_recipe
from zooaudit.storage.models import KIND
from zooaudit.training import queue_actor


@pytest.fixture(scope="module")
def benchmarks() -> Iterator[None]:
    sys.path.insert(0, str(ROOT / "benchmarks"))  # where a script finds its neighbours
    yield
    sys.path.pop(0)


@pytest.fixture
def simulated(benchmarks: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    import simulated_cluster

    monkeypatch.setattr(queue_actor, "_note", lambda *_, **__: None)
    return simulated_cluster


@pytest.mark.parametrize("seed", range(6))
def test_every_model_is_built_whatever_machines_are_lost(simulated: Any, seed: int) -> None:
    rng = random.Random(seed)
    specs = list(planned(get_recipe("digits"), DOMAINS["digits"]).specs)
    seconds = {s.id: rng.uniform(1, 60) for s in specs}
    run = simulated.Run(specs, seconds, rng.choice((8, 12, 32)), simulated.Costs(0.02, 0.001, 20.0))
    run.whole([rng.uniform(0, 120) for _ in range(rng.randrange(4))], rng)
    found = run.found()
    assert sorted(run.artifacts.ids(KIND)) == sorted(s.id for s in specs)
    assert run.store.requests["create manifests"] == len(specs) == len(run.spans), (
        "none is trained to its end twice"
    )
    assert (
        found["hours"] >= found["least_hours"]
        and run.queue.status().done == len(specs)
        and run.queue.error() is None
    )
    assert not list(run.store.keys("claims/")), "nothing is claimed any more"


def test_the_clock_runs_one_thread_at_a_time_in_the_order_of_their_sleep(benchmarks: None) -> None:
    from virtual_time import Clock, Server

    clock, output = Clock(), []
    server = Server(clock)

    def one(name: str, seconds: float) -> None:
        for _ in range(3):
            clock.sleep(seconds)
            output.append((name, clock.now))

    def served(name: str) -> None:
        server.serve(5)
        output.append((name, clock.now))

    clock.start(lambda: one("slow", 2))
    clock.start(lambda: one("quick", 1.5), 0.25)
    clock.start(lambda: served("first"), 1)
    clock.start(lambda: served("second"), 1.1)
    gone = clock.start(lambda: one("gone", 10))
    clock.start(lambda: clock.kill(gone), 7)
    assert clock.run() == 11
    assert [(name, round(at, 6)) for name, at in output] == [
        ("quick", 1.75),
        ("slow", 2),
        ("quick", 3.25),
        ("slow", 4),
        ("quick", 4.75),
        ("first", 6),
        ("slow", 6),
        ("second", 11),
    ]


def test_what_a_thread_raises_ends_the_run(benchmarks: None) -> None:
    from virtual_time import Clock

    clock = Clock()
    clock.start(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        clock.run()
