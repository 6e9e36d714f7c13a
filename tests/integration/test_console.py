"""What an audit says on the terminal, from its start to its end or to a signal."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from zooaudit.auditing.pipeline import PHASES


@pytest.mark.processes
def test_sigterm_ends_a_run_with_130_and_one_line(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "zooaudit",
        "zoo",
        "--recipe",
        "digits",
        "--farm",
        "serial",
        "--log",
        "events",
        "--store",
        str(tmp_path),
    ]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert run.stderr is not None
    while "event=models" not in run.stderr.readline():
        assert run.poll() is None
    run.terminate()
    _, err = run.communicate(timeout=60)
    assert run.returncode == 130
    assert (
        'event=stopped code=130 message="interrupted; finished models are kept'
        in err.strip().splitlines()[-1]
    )


@pytest.mark.processes
def test_an_audit_says_each_phase_and_one_time_at_the_end(own_store: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "zooaudit",
        "audit",
        "--recipe",
        "digits",
        "--farm",
        "serial",
        "--store",
        str(own_store),
    ]
    begun = time.perf_counter()
    done = subprocess.run([*command, "--out", str(tmp_path)], capture_output=True, text=True, check=True)
    took = time.perf_counter() - begun
    for number, name in enumerate(PHASES, 1):
        assert f"{number} of {len(PHASES)}: {name}\n" in done.stderr
    (stated,) = re.findall(r"took (\d+) (s|min) in all", done.stdout)
    seconds = int(stated[0]) * (60 if stated[1] == "min" else 1)
    assert seconds <= took + 31 and seconds >= 0.5 * took - 31
    assert (
        not re.search(r"\d s\b|\d min\b", done.stdout.replace(f"took {' '.join(stated)} in all", ""))
        and "done in" not in done.stderr
    )
