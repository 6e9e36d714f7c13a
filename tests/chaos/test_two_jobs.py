"""Two jobs on one store, one of which is killed."""

import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.support.finished import MODELS
from tests.support.runs import leases_left, processes, result, start, wait_for
from zooaudit.storage.opening import open_store

pytestmark = [pytest.mark.ray, pytest.mark.long]


@pytest.mark.chaos
def test_a_killed_jobs_models_are_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The survivor waits out the dead job's lease, and then builds what that had claimed."""
    monkeypatch.setenv("ZOOAUDIT_LEASE_SECONDS", "4")
    store = tmp_path / "store"
    doomed = start(store, "ray", tmp_path / "doomed")
    wait_for(lambda: len(processes(doomed, "RayTrainWorker")) > 0, doomed)
    children = processes(doomed)
    wait_for(lambda: len(list(store.glob("claims/*/*"))) > 0, doomed)
    for process in children:  # the workers first: they would go on for a while without their driver
        if process.is_running():
            process.suspend()
    os.kill(doomed.pid, signal.SIGKILL)
    for process in children:
        process.kill()
    doomed.communicate()
    psutil.wait_procs(children, timeout=30)
    held = len(list(store.glob("claims/*/*")))
    before = len(list(store.glob("manifests/model/*")))
    assert held >= 1 and before < MODELS, "it had finished"
    survivor = result(start(store, "serial", tmp_path / "survivor"))
    assert survivor["models"] == {"trained": MODELS - before, "reused": before, "failed": 0}
    assert list(open_store(str(store)).check()) == []
    assert leases_left(str(store)) == [k for k in leases_left(str(store)) if k.startswith("pulses/")], (
        "claims were left"
    )
