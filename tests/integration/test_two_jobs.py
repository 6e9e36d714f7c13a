"""Two jobs at once on one recipe and store: each model is built once, and both end with the same."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.support.finished import MODELS, Finished
from tests.support.makers import trained_spec
from tests.support.runs import TIMEOUT_S, leases_left, objects, processes, result, start, wait_for
from zooaudit.auditing import zoo_plan
from zooaudit.data.images import Dataset
from zooaudit.recipes.named import DIGITS
from zooaudit.storage.leases import Job
from zooaudit.storage.opening import open_store
from zooaudit.training.ray_farm import RayFarm
from zooaudit.training.work_queue import FarmStatus

pytestmark = [pytest.mark.ray, pytest.mark.long]


@pytest.mark.s3
def test_two_jobs_build_each_model_once(
    bucket: str, finished: Finished, digits: Dataset, tmp_path: Path
) -> None:
    artifacts = open_store(bucket)
    gate = artifacts.leases(Job("gate", 300.0))
    # Lets go of one model after another when both jobs have workers, or the first might build all of them.
    with gate.pulsing():
        ids = [s.id for s in zoo_plan.plan(DIGITS, digits, artifacts, None).specs]
        assert all(gate.take(id_) for id_ in ids)
        runs = [start(bucket, "ray", tmp_path / name) for name in ("one", "two")]
        for run in runs:
            wait_for(lambda run=run: len(processes(run, "RayTrainWorker")) > 0, run)
        for id_ in ids:
            gate.release(id_)
            time.sleep(1)
    one, two = (result(run) for run in runs)
    assert one["models"]["trained"] + two["models"]["trained"] == MODELS
    assert min(one["models"]["trained"], two["models"]["trained"]) >= 1, "they did not share the work"
    assert one["verdicts"] == two["verdicts"] and one["auc"] == two["auc"]
    assert list(open_store(bucket).check()) == [] and leases_left(bucket) == []
    assert finished.told["verdicts"] == one["verdicts"]
    assert objects(bucket) == objects(finished.store)


def test_a_farm_waits_for_another_jobs_model_without_its_workers(digits: Dataset, tmp_path: Path) -> None:
    """Its workers go home, so that the other job can have the cluster; when the claim falls
    free the farm builds what is left."""
    artifacts = open_store(str(tmp_path / "store"))
    specs = [trained_spec(digits, seed=seed) for seed in range(3)]
    other = artifacts.leases(Job("other", 30.0))
    seen: list[FarmStatus] = []

    def gone() -> bool:
        """Its workers have met the other job's claim, and there are none any more."""
        met = any(s.elsewhere == (specs[0].id,) and not s.training for s in seen)
        return met and not processes(psutil.Process(), "RayTrainWorker")

    def let_go() -> bool:
        end = time.monotonic() + TIMEOUT_S
        while not (found := gone()) and time.monotonic() < end:
            time.sleep(0.2)
        other.release(specs[0].id)
        return found

    with other.pulsing(), ThreadPoolExecutor() as pool:
        assert other.take(specs[0].id)
        went_home = pool.submit(let_go)
        assert RayFarm(patience=3).build(specs, digits, artifacts, seen.append) == 3
        assert went_home.result()
    assert len(artifacts.ids("model")) == 3
