"""An audit that ends the process which runs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.auditors import asked
from tests.support.places import ROOT
from tests.support.strangers import Stranger
from zooaudit.serving.audit_records import AuditRecords
from zooaudit.serving.auditor import Auditor
from zooaudit.serving.settings import Settings

DYING = """
import os, pathlib, sys, time
from zooaudit.serving import audit_run, auditor as auditing
from zooaudit.serving.settings import Settings
from zooaudit.suspects.api import ApiBlackBox

store, data, *ids = sys.argv[1:]
ask = ApiBlackBox.ask
ApiBlackBox.ask = lambda self, images: os._exit(9) if "/a/" in str(self._ledger.path) else ask(self, images)
audit_run.digest_of = lambda value: value if isinstance(value, str) else "ledger"

def served():
    made = auditing.Auditor(Settings(store, data=pathlib.Path(data), suspects=("127.0.0.1",)))
    end = time.time() + 60
    while time.time() < end and any(made.get(i)["state"] in ("queued", "running") for i in ids):
        time.sleep(0.05)
    made.close()
    os._exit(0)

for _ in range(4):
    if not (child := os.fork()):
        served()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Four services in a row, in which asking for the key ``a`` ends the process."""


@pytest.mark.processes
def test_a_poison_audit_is_started_three_times_and_then_failed(
    kit_store: tuple[str, str], auditor_settings: Settings, own_stranger: Stranger
) -> None:
    """Whatever ends the process (here a kill as the request is made), the audit is not
    started for ever, nor billed each time."""
    made = Auditor(auditor_settings)
    made._queue.close()  # it is only entered
    id_ = made.submit("a", asked(kit_store[1], own_stranger.url))["id"]
    innocent = made.submit("b", asked(kit_store[1], own_stranger.url))["id"]
    made.close()
    run = subprocess.run(
        [sys.executable, "-c", DYING, kit_store[0], str(auditor_settings.data), id_, innocent],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=240,
        capture_output=True,
        text=True,
    )
    assert run.stdout.split() == ["9", "9", "9", "0"], run.stderr
    records = AuditRecords((auditor_settings.data or Path()) / "audits.sqlite")
    result = records.get(id_) or {}
    assert (
        result["state"] == "failed" and "started 3 times, and each time the service ended" in result["error"]
    )
    assert (records.get(innocent) or {})["state"] == "done", (
        "another audit that was under way meanwhile is none the worse"
    )
    records.close()
