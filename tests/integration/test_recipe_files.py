"""A recipe file that a job reads."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.places import ROOT
from tests.support.recipe_files import written
from tests.support.zoos import TINY
from zooaudit.recipes.write import to_toml


@pytest.mark.processes
def test_a_job_reads_a_recipe_file_from_its_working_directory(tmp_path: Path) -> None:
    written(tmp_path, to_toml(replace(TINY, name="base")), "base.toml")
    written(tmp_path, 'inherit = "base.toml"\n[zoo]\nsuspects_per_cell = 1\n')
    command = [
        sys.executable,
        str(ROOT / "jobs" / "zoo.py"),
        "--recipe",
        "mine.toml",
        "--set",
        "zoo.other_victims=0",
        "--farm",
        "serial",
    ]
    environment = os.environ | {"RAY_ADDRESS": "none", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "--store", "store", "--json"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["trained"] == 1 + 4 + 2
    assert 'recipe="mine with zoo.other_victims=0"' in done.stderr
