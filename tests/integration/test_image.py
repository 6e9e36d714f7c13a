"""The image of cluster/Dockerfile, built and used: a head and two workers from it train an audit and score a
suspect as Ray jobs, and a service from it scores the same suspect over HTTP."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import torch
from torch import nn

from cluster.seaweed import free_ports
from tests.support.finished import Finished
from tests.support.images import USER, build, entered, make_base
from tests.support.ray_nodes import Nodes
from zooaudit.cli.main import main
from zooaudit.client import Client
from zooaudit.serving.schemas import Score
from zooaudit.storage.opening import open_store
from zooaudit.suspects.blackbox import TorchBlackBox

pytestmark = [pytest.mark.image, pytest.mark.ray, pytest.mark.long]
TAG = "zooaudit-tried:cuda"
STARTS_S = 180.0


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The command that runs another one in the image."""
    make_base(tmp_path_factory.mktemp("image") / "base")
    with entered(build("cuda", TAG)) as command:
        yield command


def test_a_cluster_of_it_audits_and_scores(
    inside: list[str],
    finished: Finished,
    learnt: nn.Module,
    exported: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    nodes = Nodes({}, [*inside, "ray"], USER)
    try:
        store, suspect = nodes.folder / "store", nodes.folder / exported.name
        suspect.write_bytes(exported.read_bytes())
        nodes.add(2)
        audit = [
            "python",
            "/app/jobs/audit.py",
            "--recipe",
            "digits",
            "--store",
            str(store),
            "--workers",
            "2",
        ]
        submitted(nodes, "audit", *audit)
        assert (
            main(["report", "--store", str(store), "--run", "digits", "--out", str(tmp_path / "report")]) == 0
        )
        there = json.loads((tmp_path / "report" / "audit.json").read_text())
        assert there["verdicts"] == finished.told["verdicts"]

        (kit,) = open_store(str(store)).ids("kit")
        asked = ["--store", str(store), "--kit", kit, "--suspect", str(suspect)]
        log = submitted(nodes, "score", "python", "/app/jobs/score.py", *asked)
        capsys.readouterr()
        assert main(["score", *asked, "--json"]) == 0
        here = json.loads(capsys.readouterr().out)
        assert f"decision={here['decision']}" in log or f'decision="{here["decision"]}"' in log, log
        served(inside, store, kit, learnt, here["decision"])
    finally:
        nodes.stop()


def submitted(nodes: Nodes, id_: str, *command: str) -> str:
    """A job's log, once it has succeeded."""
    done = nodes.job("submit", "--submission-id", id_, "--", *command)
    assert done.returncode == 0 and "succeeded" in done.stdout, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def served(inside: list[str], store: Path, kit: str, suspect: nn.Module, decision: str) -> None:
    (port,) = free_ports(1)
    data = store.parent / "served"
    command = [*inside, "zooaudit", "serve", "--open", "--store", str(store), "--port", str(port)]
    service = subprocess.Popen([*command, "--data", str(data)], start_new_session=True)
    try:
        with Client(wait(f"http://127.0.0.1:{port}")) as client:
            questions = client.queries(kit)
            answers = TorchBlackBox(suspect, len(questions.classes)).ask(torch.from_numpy(questions.images))
            assert judged(client.score(kit, answers.numpy(), "exported")) == decision
    finally:
        os.killpg(service.pid, signal.SIGTERM)
        assert service.wait(60) is not None


def judged(score: Score) -> str:
    assert score.twins is not None
    return score.twins.decision


def wait(url: str) -> str:
    end = time.monotonic() + STARTS_S
    while True:
        try:
            if httpx.get(f"{url}/kits").is_success:
                return url
        except httpx.TransportError:
            pass
        assert time.monotonic() < end, "the service did not start"
        time.sleep(1)
