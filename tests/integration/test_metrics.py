"""Our metrics: what is recorded where, and that a real Ray agent exports it for Prometheus."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch

from tests.support.collecting import Notebook, Tags, key
from tests.support.farms import quiet, with_zoo
from tests.support.makers import ATTACK
from zooaudit.auditing import answering
from zooaudit.auditing.context import Context
from zooaudit.auditing.pipeline import build_zoo
from zooaudit.auditing.results import Zoo
from zooaudit.config import Recipe, TrainConfig
from zooaudit.data.images import Dataset
from zooaudit.planning.given import Devices
from zooaudit.planning.measured import DOMAINS
from zooaudit.planning.sizing import estimate
from zooaudit.recipes.named import DIGITS
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.opening import open_store
from zooaudit.storage.retry import Backoff
from zooaudit.telemetry.metrics import METRICS, MODEL_SECONDS, MODELS, QUERIES, STORE_RETRIES, STORE_SECONDS
from zooaudit.training.farm import SerialFarm
from zooaudit.zoo.spec import Role

TIMEOUT_S = 120


def small_recipe() -> Recipe:
    """A few models in a few seconds. No extracted one reaches a recovery rate of .99 in one
    epoch, so that some have failed."""
    few = {"architectures": ("C",), "optimisers": ("sgd",), "other_victims": 1, "look_alikes_per_victim": 2}
    return with_zoo(
        **few, training=TrainConfig(epochs=1), extraction=ATTACK, accuracy_floor=0.0, recovery_floor=0.99
    )


def expected(zoo: Zoo) -> dict[tuple[str, Tags], float]:
    """What must have been counted, by the records of the models."""
    found: Counter[tuple[str, Tags]] = Counter()
    for spec in zoo.plan.specs:
        record = zoo.records[spec.id]
        found[key(MODELS, status=record.status)] += 1
        found[key(MODEL_SECONDS, architecture=spec.architecture, role=spec.role)] += 1
        found[key(QUERIES, asker="attacker")] += record.queries
        found[key(STORE_SECONDS, operation="create")] += 3  # claim, weights, manifest
    found[key(STORE_SECONDS, operation="create")] += 2  # the job's pulse, the store's format marker
    return dict(found)


def fails_twice(attempt: int) -> str:
    if attempt < 2:
        raise TimeoutError
    return "done"


def ask_one_and_retry(zoo: Zoo, dataset: Dataset, artifacts: Artifacts) -> int:
    """What a driver does after the zoo: ask a model; and a store that had to be asked three
    times. Returns the queries."""
    asked = torch.rand(2, 5, 2, *dataset.image_shape)
    answering.answers([zoo.plan.victim], asked, dataset, artifacts)
    Backoff(60, sleep=lambda _: None).call(fails_twice, lambda _: True)
    return 20


def test_what_a_farm_and_an_audit_record(notebook: Notebook, digits: Dataset) -> None:
    artifacts = open_store("memory:")
    zoo = build_zoo(Context(small_recipe(), digits, artifacts, SerialFarm(), quiet))
    before_asking = dict(notebook.amount)
    for (name, tags), amount in expected(zoo).items():
        measured = notebook.times if name in (MODEL_SECONDS.name, STORE_SECONDS.name) else notebook.amount
        assert measured[name, tags] == amount, (name, tags)
    assert {s for (n, t) in before_asking if n == MODELS.name for _, s in t} == {"learnt", "failed"}
    seconds = sum(r.seconds for r in zoo.records.values())
    assert sum(v for (n, _), v in before_asking.items() if n == MODEL_SECONDS.name) == pytest.approx(seconds)
    queries = ask_one_and_retry(zoo, digits, artifacts)
    assert notebook.amount[key(QUERIES, asker="auditor")] == queries
    assert notebook.amount[key(STORE_RETRIES)] == 2


def test_a_model_that_the_store_holds_is_not_counted_again(notebook: Notebook, digits: Dataset) -> None:
    artifacts = open_store("memory:")
    zoo = build_zoo(Context(small_recipe(), digits, artifacts, SerialFarm(), quiet))
    before = sum(v for (n, _), v in notebook.amount.items() if n == MODELS.name)
    build_zoo(Context(small_recipe(), digits, artifacts, SerialFarm(), quiet))
    assert (
        sum(v for (n, _), v in notebook.amount.items() if n == MODELS.name) == before == len(zoo.plan.specs)
    )


def test_each_operation_of_a_store_is_timed_under_its_name(notebook: Notebook, tmp_path: Path) -> None:
    artifacts = open_store(str(tmp_path / "store"))
    artifacts.save("thing", "one", {"a": b"1"}, {})
    notebook.times.clear()
    assert artifacts.ids("thing") == ["one"]
    artifacts.load("thing", "one").read("a")
    artifacts.remove("thing", "one")
    assert artifacts.unnamed() != []
    found = {dict(tags)["operation"]: n for (_, tags), n in notebook.times.items()}
    assert found == {"list": 3, "read": 4, "exists": 2, "delete": 1}


def test_without_a_cluster_the_collector_drops_everything() -> None:
    import ray

    from zooaudit.training.ray_metrics import RayCollector

    assert not ray.is_initialized()
    RayCollector().record(STORE_RETRIES, 1.0, {})
    assert not ray.is_initialized()


@pytest.fixture(autouse=True)
def one_pulse(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job's pulses would be counted among what it creates, by how long it takes."""
    monkeypatch.setenv("ZOOAUDIT_LEASE_SECONDS", "100000")


@pytest.fixture(scope="module")
def exporting_ray() -> Iterator[str]:
    """A Ray cluster of this test's own, in this process; the address of its agent's metrics."""
    import ray

    from zooaudit.training.cluster import QUIET

    port = free_ports(1)[0]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUIET.items():
            patch.setenv(name, os.environ.get(name, value))
        patch.delenv("RAY_ADDRESS", raising=False)
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _metrics_export_port=port)
        yield f"http://127.0.0.1:{port}/metrics"
        ray.shutdown()


def scraped(address: str) -> dict[tuple[str, Tags], float]:
    """Sums over all processes of our counters, and of our histograms' counts, by our own tags."""
    from prometheus_client.parser import text_string_to_metric_families

    ours = {f"ray_{m.name}{'_count' if m.buckets else '_total'}": m for m in METRICS}
    found: Counter[tuple[str, Tags]] = Counter()
    with urllib.request.urlopen(address, timeout=10) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    for sample in (s for f in families for s in f.samples if s.name in ours):
        metric = ours[sample.name]
        found[metric.name, frozenset((t, sample.labels[t]) for t in metric.tags)] += sample.value  # type: ignore[assignment]
    return dict(found)


@pytest.mark.ray
def test_ray_exports_them_for_prometheus(exporting_ray: str, digits: Dataset, tmp_path: Path) -> None:
    from zooaudit.training.ray_farm import RayFarm

    artifacts = open_store(str(tmp_path / "store"))
    artifacts.save("note", "first", {}, {})  # or each worker that is the first to save would mark the store
    zoo = build_zoo(Context(small_recipe(), digits, artifacts, RayFarm(), quiet))
    wanted = expected(zoo)
    wanted[key(QUERIES, asker="auditor")] = ask_one_and_retry(zoo, digits, artifacts)
    wanted[key(STORE_RETRIES)] = 2
    wanted[key(STORE_SECONDS, operation="create")] += (
        1  # the answers and their manifest, less the format marker: that was made before Ray heard of it
    )
    creates = wanted.pop(key(STORE_SECONDS, operation="create"))
    found: dict[tuple[str, Tags], float] = {}
    deadline = time.monotonic() + TIMEOUT_S
    while any(found.get(k) != v for k, v in wanted.items()) and time.monotonic() < deadline:
        time.sleep(1)  # processes report to the agent every few seconds
        found = scraped(exporting_ray)
    assert {k: found.get(k) for k in wanted} == wanted
    more = found[key(STORE_SECONDS, operation="create")] - creates
    assert 0 <= more < 10, "of a model that two workers claim at once, one claim more is tried"
    assert wanted[key(MODELS, status="failed")] and wanted[key(MODELS, status="learnt")]
    assert wanted[key(MODEL_SECONDS, architecture="A", role=Role.OTHER_VICTIM)] == 1
    assert found[key(STORE_SECONDS, operation="exists")] > 0


@pytest.fixture
def shared_head(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A Ray head as an administrator starts it: what RAY_ADDRESS is, and where its agent's metrics are."""
    ports = free_ports(2)
    folder = tempfile.mkdtemp(prefix="ray-")  # Ray makes sockets in it, whose paths must be short
    options = [
        f"--port={ports[0]}",
        f"--metrics-export-port={ports[1]}",
        "--num-cpus=2",
        "--include-dashboard=false",
        f"--temp-dir={folder}",
    ]
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | {
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    command = [str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", *options]
    with (tmp_path / "head.log").open("w") as log:
        head = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{ports[1]}/metrics"
    deadline = time.monotonic() + TIMEOUT_S
    while not answers(address):
        assert head.poll() is None and time.monotonic() < deadline, (tmp_path / "head.log").read_text()
        time.sleep(0.5)
    yield f"127.0.0.1:{ports[0]}", address
    processes = psutil.Process(head.pid).children(recursive=True)
    head.terminate()
    head.wait(60)
    for process in psutil.wait_procs(processes, timeout=20)[1]:
        process.kill()
    shutil.rmtree(folder, ignore_errors=True)


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=5).close()
    except OSError:
        return False
    return True


@pytest.mark.ray
@pytest.mark.long
def test_on_a_shared_cluster_the_drivers_own_queries_are_exported_too(
    shared_head: tuple[str, str], tmp_path: Path
) -> None:
    ray_address, address = shared_head
    command = [
        sys.executable,
        "-m",
        "zooaudit",
        "audit",
        "--recipe",
        "digits",
        "--store",
        str(tmp_path / "store"),
        "--out",
        str(tmp_path / "out"),
    ]
    environment = os.environ | {"RAY_ADDRESS": ray_address, "RAY_AUTH_MODE": "disabled"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stderr
    foretold = estimate(DIGITS, DOMAINS["digits"], Devices(1))
    wanted = {
        key(MODELS, status="learnt"): foretold.total_models,
        key(QUERIES, asker="attacker"): foretold.attackers_queries,
        key(QUERIES, asker="auditor"): foretold.audit_queries,
    }
    found: dict[tuple[str, Tags], float] = {}
    deadline = time.monotonic() + TIMEOUT_S
    while any(found.get(k) != v for k, v in wanted.items()) and time.monotonic() < deadline:
        time.sleep(1)
        found = scraped(address)
    assert {k: found.get(k) for k in wanted} == wanted
