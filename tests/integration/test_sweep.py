"""A sweep on Ray."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.places import ROOT
from tests.support.sweeps import command
from tests.support.zoos import bench
from zooaudit.data.images import Dataset
from zooaudit.storage.opening import open_store
from zooaudit.sweep.evaluate import evaluate
from zooaudit.sweep.field import line_up
from zooaudit.sweep.space import parse_space


@pytest.mark.ray
def test_tunes_numbers_are_the_plain_functions(digits: Dataset, sweep_store: str, tmp_path: Path) -> None:
    ran = subprocess.run(
        command(sweep_store, tmp_path, "points=3,5", "encoder=paper"),
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    field = line_up(parse_space(["points=3"]), bench(digits, open_store(sweep_store))).field()
    for row in json.loads(ran.stdout)["rows"]:
        assert row["metrics"] == evaluate(field, row["trial"]) and not row["error"]
