"""A suspect behind somebody else's server: MLServer from PyPI, in an environment of its
own, with the runtime of docs/mlserver."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.seaweed import free_ports
from tests.support.kits import make_kit
from tests.support.makers import Affine, near, peer
from tests.support.onnx_files import graph
from tests.support.places import ROOT
from zooaudit.cli.main import main
from zooaudit.kits.kit import save_kit
from zooaudit.storage.opening import open_store

pytestmark = [
    pytest.mark.network,
    pytest.mark.processes,
    pytest.mark.skipif(sys.version_info >= (3, 13), reason="MLServer 1.7.1 needs Python 3.12 or older"),
]
HERE = ROOT / "docs" / "mlserver"
SUSPECTS = {"taken": near(0, 70), "own": peer(70)}


def installed(folder: Path) -> Path:
    """The environment of docs/mlserver.md: its command."""
    line = next(
        line
        for line in (ROOT / "docs" / "mlserver.md").read_text().splitlines()
        if "pip install mlserver" in line
    )
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    packages = line.partition("#")[0].rpartition("pip install ")[2].split()
    assert packages[0].startswith("mlserver==")
    subprocess.run(
        [folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", *packages], check=True
    )
    return folder / "bin" / "mlserver"


def model_folder(folder: Path, name: str, model: Affine) -> None:
    folder.mkdir(parents=True)
    graph(folder / f"{name}.onnx", model)
    (folder / "model-settings.json").write_text((HERE / "models" / name / "model-settings.json").read_text())


@pytest.fixture(scope="module")
def mlserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Where a server has its models, over HTTP and gRPC: addresses with a place for the name."""
    folder = tmp_path_factory.mktemp("mlserver")
    command = installed(folder / "venv")
    for name, model in SUSPECTS.items():
        model_folder(folder / "models" / name, name, model)
    http, grpc, metrics = free_ports(3)
    settings = json.loads((HERE / "settings.json").read_text()) | {
        "http_port": http,
        "grpc_port": grpc,
        "metrics_port": metrics,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONHOME"} | {"PYTHONPATH": str(HERE)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [command, "start", str(folder)], env=environment, cwd=folder, stdout=log, stderr=log
        )
    try:
        wait(f"http://127.0.0.1:{http}/v2/health/ready", process, folder / "log")
        yield {
            "http": f"http://127.0.0.1:{http}/v2/models/{{}}/infer",
            "grpc": f"grpc://127.0.0.1:{grpc}/{{}}",
        }
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 90
    while True:
        try:
            urllib.request.urlopen(url, timeout=2)
            return
        except OSError:
            assert process.poll() is None and time.monotonic() < end, log.read_text(errors="replace")[-2000:]
            time.sleep(0.2)


@pytest.mark.parametrize("over", ["http", "grpc"])
@pytest.mark.parametrize(("name", "decision"), [("taken", "stolen"), ("own", "not shown")])
def test_a_model_behind_mlserver_is_judged(
    name: str,
    decision: str,
    over: str,
    mlserver: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    id_ = save_kit(open_store("store"), make_kit()).id
    asked = ["--suspect", mlserver[over].format(name), "--ledger", "ledger", "--json"]
    assert main(["score", "--store", "store", "--kit", id_, *asked]) == 0
    assert json.loads(capsys.readouterr().out)["decision"] == decision
