"""A copy of a store that is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.copies import Capture, contents, filled
from zooaudit.cli.main import main
from zooaudit.storage.opening import open_store

SLOW = """
import sys, time
from zooaudit.cli.main import main
from zooaudit.storage import local
real = local.LocalStore.create
def slow(self, key, content):
    time.sleep(0.02)
    return real(self, key, content)
local.LocalStore.create = slow
main(["store", "copy", "--store", sys.argv[1], "--to", sys.argv[2]])
"""


@pytest.mark.chaos
def test_a_killed_copy_goes_on(tmp_path: Path, capsys: Capture) -> None:
    source, target = filled(open_store(str(tmp_path / "source")), 300), tmp_path / "target"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    running = subprocess.Popen(
        [sys.executable, "-c", SLOW, source.url, str(target)], env=environment, stderr=subprocess.DEVNULL
    )
    end = time.monotonic() + 60
    while len(list(target.glob("manifests/thing/*.json"))) < 20 and time.monotonic() < end:
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    cut_off = open_store(str(target))
    kept = len(cut_off.ids("thing"))
    assert 20 <= kept < 300 and not cut_off.has("report", "done")
    assert list(cut_off.check()) == [], "what has a manifest is whole"
    assert main(["store", "copy", "--store", source.url, "--to", str(target), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["there"] >= kept and found["done"] == found["total"] == 301
    assert contents(cut_off) == contents(source)
