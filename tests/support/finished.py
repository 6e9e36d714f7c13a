"""One finished audit of the digits, made as a user makes it: for all tests that need one,
and do not look at how it is made."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
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
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    """Made by the first of pytest-xdist's workers that needs it; the others wait for that one."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if hasattr(request.config, "workerinput") else base
    folder, recorded = shared / "finished", shared / "finished.json"
    store, report = folder / "store", folder / "report"
    with (shared / "finished.lock").open("w") as lock:
        flock(lock, LOCK_EX)
        if not recorded.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a run that was stopped
            recorded.write_text(json.dumps(audited(store, report).as_json()))
    kept = state(folder)
    yield Finished(store, report, Notebook.of(json.loads(recorded.read_text())))
    assert state(folder) == kept, "a test has changed what all share"


def audited(store: Path, report: Path) -> Notebook:
    """What was counted while the digits were audited."""
    notebook = Notebook()
    audit = ["audit", "--recipe", "digits", "--farm", "serial", "--store", str(store), "--out", str(report)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOOAUDIT_LEASE_SECONDS", "100000")  # one pulse, however long it takes
        before = collect_with(notebook)
        code = main(audit)
        collect_with(before)
    assert code == 0
    return notebook


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
