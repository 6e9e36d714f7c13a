"""One finished audit of the digits, made as a user makes it: for all tests that need one,
and do not look at how it is made."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.collecting import Notebook
from zooaudit.cli.main import main
from zooaudit.planning.measured import DOMAINS
from zooaudit.planning.sizing import planned
from zooaudit.recipes.named import DIGITS
from zooaudit.telemetry.metrics import collect_with

MODELS = len(planned(DIGITS, DOMAINS["digits"]).specs)
"""That an audit by the recipe ``digits`` builds."""


@dataclass(frozen=True)
class Finished:
    """A store that a run named digits has finished in, its report, and what it counted. Nothing in it may be
    changed: see ``own_store``."""

    store: Path
    report: Path
    notebook: Notebook

    @property
    def told(self) -> dict[str, Any]:
        """The report's numbers."""
        return json.loads((self.report / "audit.json").read_text())


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    folder = tmp_path_factory.mktemp("finished")
    made = Finished(folder / "store", folder / "report", Notebook())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOOAUDIT_LEASE_SECONDS", "100000")  # one pulse, however long it takes
        before = collect_with(made.notebook)
        code = main(
            [
                "audit",
                "--recipe",
                "digits",
                "--farm",
                "serial",
                "--store",
                str(made.store),
                "--out",
                str(made.report),
            ]
        )
        collect_with(before)
    assert code == 0
    kept = state(folder)
    yield made
    assert state(folder) == kept, "a test has changed what all share"


@pytest.fixture
def own_store(finished: Finished, tmp_path: Path) -> Path:
    """A copy of that store, for a test that changes it."""
    return Path(shutil.copytree(finished.store, tmp_path / "store"))


def state(folder: Path) -> dict[str, tuple[int, int]]:
    """When each file was written, and its size."""
    return {
        str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.stat().st_size)
        for p in folder.rglob("*")
        if p.is_file()
    }
