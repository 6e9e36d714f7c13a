"""The Ray farm on a real cluster: same numbers as in-process, and nothing lost to a killed worker or driver.

Each run is a process of its own, as a user starts it; Ray's processes are its children and
are told from any other cluster's by that.
"""

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from cluster.seaweed import Seaweed
from tests.support.finished import MODELS, Finished
from tests.support.runs import finished_models, objects, processes, result, start, wait_for
from zooaudit.auditing.context import Context
from zooaudit.auditing.pipeline import build_zoo
from zooaudit.data.images import Dataset
from zooaudit.errors import ConfigError
from zooaudit.recipes.named import DIGITS
from zooaudit.storage.opening import open_store
from zooaudit.training.ray_farm import RayFarm

pytestmark = pytest.mark.ray


@pytest.mark.long
def test_same_numbers_as_the_serial_farm(finished: Finished, tmp_path: Path) -> None:
    found = result(start(tmp_path / "store"))
    assert found["models"] == {"trained": MODELS, "reused": 0, "failed": 0}
    assert found["verdicts"] == finished.told["verdicts"] and found["auc"] == finished.told["auc"]
    assert objects(tmp_path / "store") == objects(finished.store)


@pytest.mark.s3
@pytest.mark.long
def test_on_s3_the_same_and_again_without_training(finished: Finished, bucket: str, tmp_path: Path) -> None:
    found = result(start(bucket, out=tmp_path / "one"))
    assert found["verdicts"] == finished.told["verdicts"] and found["auc"] == finished.told["auc"]
    assert objects(bucket) == objects(finished.store)
    again = result(start(bucket, out=tmp_path / "two"))
    assert again["models"] == {"trained": 0, "reused": MODELS, "failed": 0}
    assert again["verdicts"] == found["verdicts"]


@pytest.mark.s3
@pytest.mark.chaos
@pytest.mark.long
def test_a_server_killed_while_models_are_committed(
    finished: Finished, own_server: Seaweed, tmp_path: Path
) -> None:
    """It is gone for a while and comes back: the run goes on, and nothing is different."""
    run = start("s3://zoo/x", out=tmp_path / "report")
    artifacts = open_store("s3://zoo/x")
    wait_for(lambda: len(artifacts.ids("model")) >= 2, run)
    own_server.kill()
    time.sleep(20)
    own_server.start()
    found = result(run)
    assert found["models"] == {"trained": MODELS, "reused": 0, "failed": 0}
    assert found["verdicts"] == finished.told["verdicts"]
    assert objects("s3://zoo/x") == objects(finished.store)
    assert list(artifacts.check()) == []


@pytest.mark.s3
@pytest.mark.chaos
@pytest.mark.long
def test_a_server_that_never_returns_ends_the_run_with_code_3(
    own_server: Seaweed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOOAUDIT_S3_DEADLINE_S", "5")
    run = start("s3://zoo/x", out=tmp_path / "report")
    artifacts = open_store("s3://zoo/x")
    wait_for(lambda: len(artifacts.ids("model")) >= 2, run)
    own_server.kill()
    out, err = run.communicate(timeout=120)
    assert run.returncode == 3, err
    assert out == ""
    last = err.strip().splitlines()[-1]
    assert last.startswith("zooaudit: store s3://zoo/x: cannot ") and "finished models are kept" in last


@pytest.mark.chaos
def test_killed_worker_costs_no_finished_model(finished: Finished, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run = start(store)
    # Looked up before: it takes longer than a model.
    wait_for(lambda: len(processes(run, "RayTrainWorker")) > 0, run)
    workers = processes(run, "RayTrainWorker")
    wait_for(lambda: len(finished_models(store)) >= 2, run)
    kept = {
        m: (store / "manifests" / "model" / f"{m}.json").stat().st_mtime_ns for m in finished_models(store)
    }
    os.kill(workers[0].pid, signal.SIGKILL)
    assert len(kept) < MODELS
    found = result(run)
    assert found["verdicts"] == finished.told["verdicts"] and found["models"]["failed"] == 0
    assert all((store / "manifests" / "model" / f"{m}.json").stat().st_mtime_ns == t for m, t in kept.items())
    assert objects(store) == objects(finished.store)


@pytest.mark.chaos
@pytest.mark.long
def test_killed_driver_resumes(finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOOAUDIT_LEASE_SECONDS", "4")  # what the dead one had claimed is waited for
    store = tmp_path / "store"
    run = start(store)
    wait_for(lambda: len(processes(run, "RayTrainWorker")) > 0, run)
    # Ray's two agents notice later, and do nothing alone.
    children = [p for p in processes(run) if "Agent" not in p.name()]
    workers = [p for p in processes(run, "RayTrainWorker") if p in children]
    wait_for(lambda: len(finished_models(store)) >= 2, run)
    # Held still, or they finish all sixteen while Ray is still noticing that the driver is gone.
    for worker in workers:
        worker.suspend()
    run.kill()
    run.communicate()
    psutil.wait_procs([p for p in children if p not in workers], timeout=60)
    for worker in psutil.wait_procs(workers, timeout=0)[1]:
        worker.resume()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive, "Ray outlived its driver"
    before = len(finished_models(store))
    assert 2 <= before < MODELS
    found = result(start(store))
    assert found["models"] == {"trained": MODELS - before, "reused": before, "failed": 0}
    assert found["verdicts"] == finished.told["verdicts"]
    assert objects(store) == objects(finished.store)


def test_a_store_in_memory_is_refused(digits: Dataset) -> None:
    with pytest.raises(ConfigError, match="--farm serial"):
        build_zoo(Context(DIGITS, digits, open_store("memory:"), RayFarm(), lambda _: None))
