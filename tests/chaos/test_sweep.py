"""A sweep that is killed."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support.places import ROOT
from tests.support.sweeps import command
from zooaudit.storage.opening import open_store


@pytest.mark.ray
@pytest.mark.long
def test_a_killed_sweep_goes_on_where_it_was(sweep_store: str, tmp_path: Path) -> None:
    """Trials run on Ray Tune; after kill -9 of the driver only those are run that have no result."""
    words = ["points=2,3,4,5,6,7,8", "top_k=0,1,3,all"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    first = subprocess.Popen(
        command(sweep_store, tmp_path, *words),
        env=environment,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    artifacts = open_store(sweep_store)
    deadline = time.monotonic() + 120
    while len(artifacts.ids("trial")) < 3:
        assert time.monotonic() < deadline and first.poll() is None, "no trial was finished"
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    kept = {i: artifacts.load("trial", i).digest for i in artifacts.ids("trial")}
    assert 3 <= len(kept) < 28
    again = subprocess.run(
        command(sweep_store, tmp_path, *words),
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    data = json.loads(again.stdout)
    assert (data["trials"], data["refused"], data["queries"], data["trained"]) == (28, 0, 0, 0)
    there = 28 - data["ran"]  # the killed driver's workers may have finished one or two more since
    assert len(kept) <= there < 28 and f"sweep {there}/28 trials" in again.stderr, (
        "what was done was done again"
    )
    assert {i: artifacts.load("trial", i).digest for i in kept} == kept
    rows = pq.read_table(next(tmp_path.glob("points-top_k-*.parquet"))).to_pylist()
    assert len(rows) == 28 and all(r["auc"] is not None for r in rows)
    assert next(tmp_path.glob("points-top_k-*.svg")).stat().st_size > 3000
    once_more = subprocess.run(
        command(sweep_store, tmp_path, *words),
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    last = json.loads(once_more.stdout)
    assert last["ran"] == 0 and last["rows"] == data["rows"]
