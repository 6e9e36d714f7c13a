"""A store to sweep on."""

import sys
from pathlib import Path

import pytest

from tests.support.zoos import bench
from zooaudit.data.images import Dataset
from zooaudit.storage.opening import open_store
from zooaudit.training.farm import SerialFarm


@pytest.fixture(scope="module")
def sweep_store(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with the tiny zoo and everybody's answers."""
    url = str(tmp_path_factory.mktemp("sweeps") / "store")
    assert bench(digits, open_store(url), SerialFarm()).cohort.answers
    return url


SWEEP = """
import sys
from tests.support.zoos import TINY
from zooaudit.recipes import named
named.RECIPES["tiny"] = TINY
from zooaudit.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def command(place: str, out: Path, *words: str) -> list[str]:
    return [
        sys.executable,
        "-c",
        SWEEP,
        "sweep",
        *words,
        "--recipe",
        "tiny",
        "--store",
        place,
        "--out",
        str(out),
        "--json",
    ]
