"""Workers of Ray that die or hang while they train."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.farms import quiet
from tests.support.makers import trained_spec
from tests.support.runs import TIMEOUT_S, processes, wait_for
from tests.support.shared_victims import family
from zooaudit.config import Start
from zooaudit.data.images import Dataset
from zooaudit.storage.models import load_record
from zooaudit.storage.opening import open_store
from zooaudit.training.farm import SerialFarm
from zooaudit.training.ray_farm import RayFarm
from zooaudit.zoo.build import Status
from zooaudit.zoo.spec import STARTED

RUN = "from tests.support.shared_victims import share; import sys; share(sys.argv[1])"


@pytest.mark.chaos
@pytest.mark.ray
@pytest.mark.long
def test_a_worker_killed_while_it_shares_a_victim(digits: Dataset, tmp_path: Path) -> None:
    """The other one does not wait for it for ever: they begin the victim anew."""
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    run = subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path / "two")], stderr=subprocess.PIPE, text=True, env=environment
    )
    wait_for(lambda: len(processes(run, "RayTrainWorker")) == 2, run)
    workers = processes(run, "RayTrainWorker")
    wait_for(lambda: any((tmp_path / "two" / "claims").glob("*/*")), run)
    time.sleep(2)  # if a worker dies while its group is starting, Ray Train gives up, and the farm with it
    os.kill(workers[1].pid, signal.SIGKILL)
    assert not (tmp_path / "two" / "manifests" / "model").exists(), (
        "the victim was finished before a worker could be killed"
    )
    _, err = run.communicate(timeout=TIMEOUT_S)
    assert run.returncode == 0, err
    one = open_store(str(tmp_path / "one"))
    specs = family(digits, one, epochs=150)[:1]
    SerialFarm().build(specs, digits, one, quiet)
    two = open_store(str(tmp_path / "two"))
    accuracies = [load_record(artifacts, specs[0].id).accuracy for artifacts in (one, two)]
    assert accuracies[0] == pytest.approx(accuracies[1], abs=0.01)


@pytest.mark.chaos
@pytest.mark.ray
@pytest.mark.long
def test_a_model_that_kills_its_worker_and_one_that_hangs_are_failed_and_the_others_built(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOOAUDIT_STALL_SECONDS", "20")
    good = [trained_spec(digits, seed=seed) for seed in range(3)]
    bad = [
        replace(good[0], architecture=STARTED, start=Start(f"tests.support.poison:{name}", "0" * 64))
        for name in ("ends_the_process", "hangs")
    ]
    artifacts = open_store(str(tmp_path))
    assert RayFarm(workers=2).build([*bad, *good], digits, artifacts, quiet) == len(good) + len(bad)
    assert {load_record(artifacts, s.id).status for s in good} == {Status.LEARNT}
    for spec in bad:
        record = load_record(artifacts, spec.id)
        assert record.status is Status.FAILED and re.match(
            r"its training ended \d worker processes, the last while it was", record.reason
        )
