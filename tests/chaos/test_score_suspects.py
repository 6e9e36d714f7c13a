"""An audit that is killed in the middle."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.cases import kit_of
from tests.support.strangers import Stranger
from zooaudit.kits.kit import Kit


@pytest.mark.processes
def test_an_audit_killed_in_the_middle_pays_nothing_twice(
    case_store: Path, case_kit: Kit, case_thief: Stranger, tmp_path: Path
) -> None:
    case_thief.slow_s, case_thief.flaky = 0.15, 0.2
    (tmp_path / "theirs.toml").write_text(
        f'url = "{case_thief.url}/v2/models/m/infer"\nbatch = 5\nconcurrency = 1\n'
    )
    command = [
        sys.executable,
        "-m",
        "zooaudit",
        "score",
        "--store",
        str(case_store),
        "--kit",
        kit_of(case_store).id,
        "--suspect",
        "theirs.toml",
    ]
    first = subprocess.Popen(
        command, cwd=tmp_path, start_new_session=True, env={**os.environ, "PYTHONPATH": os.getcwd()}
    )
    while case_thief.computed < 40:
        assert first.poll() is None
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    time.sleep(0.5)  # what was under way is answered to nobody
    done = subprocess.run(
        [*command, "--json", "--budget", "200"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    data = json.loads(done.stdout)
    assert data["decision"] == "stolen" and data["charged"] == data["queries"] + data["lost"]
    assert data["lost"] <= 5 and case_thief.computed <= data["charged"], (
        "at most the one request that was under way"
    )
    assert sum(count > 1 for count in case_thief.answered.values()) <= data["lost"]
