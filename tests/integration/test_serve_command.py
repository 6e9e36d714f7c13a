"""``zooaudit serve`` and ``zooaudit key`` as a user runs them, and a service whose replica
is killed under load."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.kits import K
from tests.support.makers import near
from tests.support.places import ROOT
from tests.support.scripted import Asked, Reply, scripted
from tests.support.serve_commands import Started, started, starting
from zooaudit.cli.main import main
from zooaudit.client import Client
from zooaudit.errors import ServiceError
from zooaudit.serving.keys import read_keys
from zooaudit.suspects.blackbox import TorchBlackBox

ENDS_S = 10.0


def nobody_else_reaches_ray(service: Started) -> None:
    """Whatever listens, Ray's metrics and its workers included, does so on this machine's own address."""
    family = [
        psutil.Process(service.process.pid),
        *psutil.Process(service.process.pid).children(recursive=True),
    ]
    places = [
        (p.name(), c.laddr.ip, c.laddr.port)
        for p in family
        for c in p.net_connections("inet")
        if c.status == psutil.CONN_LISTEN
    ]
    assert (
        len(places) > 5
        and [p for p in places if p[1].removeprefix("::ffff:") not in ("127.0.0.1", "::1")] == []
    ), places


def metrics_are_the_operators(service: Started) -> None:
    assert httpx.get(f"{service.url}/metrics").status_code == 401
    end = time.monotonic() + 60
    with Client(service.url, service.key) as client:
        client.kit(service.id)  # its loading is counted
    while True:
        result = httpx.get(
            f"{service.url}/metrics", headers={"Authorization": f"Bearer {service.key}"}, timeout=30
        )
        assert result.status_code == 200 and result.headers["Content-Type"].startswith(
            "text/plain; version=0.0.4"
        )
        if "ray_zooaudit_kit_seconds_bucket" in result.text:
            return
        assert time.monotonic() < end, "Ray's agent exports every few seconds"
        time.sleep(1)


def a_second_service_is_refused(service: Started, folder: Path) -> None:
    """On the same port, before anything starts: callers would get one or the other at random."""
    port = service.url.rsplit(":", 1)[1]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [
        sys.executable,
        "-m",
        "zooaudit",
        "serve",
        "--store",
        "store",
        "--port",
        port,
        "--data",
        "other",
        "--open",
    ]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (
        2,
        "",
    ) and f"port {port} on 127.0.0.1 is taken by process" in done.stderr
    assert done.stderr.count("\n") == 2 and not (folder / "other").exists()


def ends(service: Started, asked: signal.Signals, within_s: float = ENDS_S) -> None:
    """As a user would have it: soon, without complaint, and with nothing left behind."""
    family = psutil.Process(service.process.pid).children(recursive=True)
    begun = time.monotonic()
    service.process.send_signal(asked)
    assert service.process.wait(60) == 0, (service.folder / "log").read_text()
    assert time.monotonic() - begun < within_s
    _, alive = psutil.wait_procs(family, timeout=5)
    assert alive == []


@pytest.mark.serve
def test_it_ends_soon_while_an_audit_and_a_request_are_under_way(tmp_path: Path) -> None:
    def never(_: Asked) -> Reply:
        time.sleep(30)
        return 200, {}, b""

    with scripted(never) as url, started(tmp_path, "--open", "--suspects", "127.0.0.1") as service:
        with Client(service.url) as client:
            audit = client.audit(service.id, {"url": f"{url}/v1/models/m:predict"})
            end = time.monotonic() + 20
            while client.progress(audit.id).state != "running" and time.monotonic() < end:
                time.sleep(0.1)
        with socket.create_connection(("127.0.0.1", int(service.url.rsplit(":", 1)[1]))) as upload:
            upload.sendall(
                b"POST /audits HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type:"
                b" application/json\r\nContent-Length: 99\r\n\r\n{"
            )
            time.sleep(0.5)
            ends(service, signal.SIGINT)


@pytest.mark.serve
def test_it_ends_soon_while_it_starts(tmp_path: Path) -> None:
    with starting(tmp_path, "--open") as service:
        family = psutil.Process(service.process.pid)
        while not any("raylet" in p.name() for p in family.children(recursive=True)):
            time.sleep(0.02)
        ends(service, signal.SIGINT)


@pytest.mark.serve
def test_a_service_from_one_command_with_keys_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with started(tmp_path) as service:
        said = (tmp_path / "log").read_text()
        phases = [
            "looking at port",
            "looking for kits in store",
            f"1 kit: {service.id}",
            "a first key",
            "starting Ray",
            "Ray's own ports",
        ]
        assert [line for line in phases if line not in said] == [] and "\x1b" not in said
        assert httpx.get(f"{service.url}/ready").status_code == 200, "at once"
        nobody_else_reaches_ray(service)
        metrics_are_the_operators(service)
        a_second_service_is_refused(service, tmp_path)
        with Client(service.url, service.key) as client:
            assert [k.id for k in client.kits()] == [service.id]
            answers = TorchBlackBox(near(0, 70), K).ask(service.kit.twin_test.questions()).numpy()
            score = client.score(service.id, answers, suspect="theirs")
            assert score.twins is not None and score.twins.decision == "stolen"
            with pytest.raises(ServiceError, match="asks no suspects"):
                client.audit(service.id, {"url": "http://127.0.0.1:9/v2/models/m/infer"})
        assert main(["key", "--name", "team-a", "--scopes", "read", "--json"]) == 0
        made = json.loads(capsys.readouterr().out)
        with Client(service.url, made["key"]) as reader:
            end = time.monotonic() + 20
            while True:
                try:
                    assert len(reader.kits()) == 1
                    break
                except ServiceError as error:
                    assert error.status == 401 and time.monotonic() < end, (
                        "a running service notices a new key"
                    )
                    time.sleep(0.5)
            with pytest.raises(ServiceError, match="scope score"):
                reader.score(service.id, answers, suspect="s")
        ends(service, signal.SIGTERM)
        said = (tmp_path / "log").read_text()
        assert (
            said.endswith("audits under way go on at the next start\n")
            and "\x1b" not in said
            and "Traceback" not in said
        )
    assert [k.name for k in read_keys(tmp_path / "serve-data" / "keys.toml")] == ["first", "team-a"]
    assert (tmp_path / "serve-data" / "keys.toml").stat().st_mode & 0o077 == 0, (
        "the file is its owner's alone"
    )


def test_keys_are_made_for_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "keys.toml")
    assert (
        main(
            [
                "key",
                "--name",
                "a",
                "--keys",
                path,
                "--per-minute",
                "60",
                "--expires",
                "2031-02-03",
                "--scopes",
                "read,audit",
            ]
        )
        == 0
    )
    assert re.fullmatch(r"[0-9a-f]{64}\n", capsys.readouterr().out)
    (key,) = read_keys(Path(path))
    assert (key.name, key.scopes, key.per_minute, str(key.expires)) == (
        "a",
        ("read", "audit"),
        60,
        "2031-02-03",
    )
    for options, says in (
        (["--name", "a"], "has a key named a already"),
        (["--name", "b", "--expires", "soon"], "expected a date"),
        (["--name", "b", "--scopes", "all"], "expected some of read, score, audit, admin"),
        (["--name", 'b"]'], "expected up to 80 letters"),
    ):
        assert main(["key", *options, "--keys", path]) == 2
        assert says in capsys.readouterr().err
    assert len(read_keys(Path(path))) == 1


@pytest.mark.serve
def test_two_services_on_one_machine_each_serve_their_own(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    with started(tmp_path / "first") as first, started(tmp_path / "second", "--open") as second:
        nobody_else_reaches_ray(first)
        nobody_else_reaches_ray(second)
        for _ in range(20):
            assert httpx.get(f"{first.url}/kits").status_code == 401, "never the open one's answer"
            assert [k["id"] for k in httpx.get(f"{second.url}/kits").json()["kits"]] == [second.id]
        metrics_are_the_operators(first)
        ends(second, signal.SIGTERM, within_s=30)  # with the other one beside it
        with Client(first.url, first.key) as client:
            assert [k.id for k in client.kits()] == [first.id], "the other's end is not this one's"
        ends(first, signal.SIGINT, within_s=30)
