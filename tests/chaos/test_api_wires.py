"""An audit of a suspect over HTTP and gRPC that is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.support.asking import MODEL, asking, questions, truth
from tests.support.places import ROOT
from tests.support.tritons import Triton, over_grpc, over_http

AUDIT = """
import sys, threading
from pathlib import Path
import torch
from zooaudit.suspects.api import ApiBlackBox
from zooaudit.suspects.ledger import Ledger
from zooaudit.suspects.opening import opened
from zooaudit.suspects.remote import remote_of

def ask(kind, url):
    remote = remote_of({"url": url, "batch": 2, "rate": 20}, ("ankle boot", "bag", "coat", "dress"))
    ledger = Ledger(Path(sys.argv[1]) / f"{kind}.sqlite", remote.about, 1000)
    images = torch.load(Path(sys.argv[1]) / "images", weights_only=True)
    ApiBlackBox(remote, ledger, opened(remote)[0]).ask(images)

threads = [threading.Thread(target=ask, args=one) for one in zip(("http", "grpc"), sys.argv[2:])]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@pytest.mark.processes
def test_an_audit_that_is_killed_goes_on_over_http_and_grpc(tmp_path: Path) -> None:
    images, tritons = questions(60), (Triton(MODEL), Triton(MODEL))
    torch.save(images, tmp_path / "images")
    with over_http(tritons[0]) as one, over_grpc(tritons[1]) as other:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        audit = subprocess.Popen(
            [sys.executable, "-c", AUDIT, str(tmp_path), one, other], cwd=ROOT, env=environment
        )
        end = time.monotonic() + 60
        while min(len(t.batches) for t in tritons) < 5:
            assert audit.poll() is None and time.monotonic() < end
            time.sleep(0.01)
        audit.send_signal(signal.SIGKILL)
        audit.wait()
        for kind, url, triton in zip(("http", "grpc"), (one, other), tritons, strict=True):
            seen = sum(triton.batches)
            with asking(tmp_path, {"url": url}, name=f"{kind}.sqlite") as asked:
                kept = asked.ledger.spent - asked.ledger.lost
                assert 0 < kept <= seen < 60 and seen - kept <= asked.ledger.lost, (
                    "all but what was under way, which is charged"
                )
                assert torch.allclose(asked.black_box.ask(images), truth(images), atol=1e-6)
                assert sum(triton.batches) == seen + 60 - kept
