"""The command line, read by another program."""

import subprocess
import sys

import pytest


@pytest.mark.processes
def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    """``zooaudit recipe show ... | head -1``."""
    command = [sys.executable, "-m", "zooaudit", "recipe", "show", "fmnist-paper"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141
