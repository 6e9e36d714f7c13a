"""Requests that are meant to harm: from other sites, very large, very slow, very many."""

import json
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from tests.support.auditors import asked, auditor, auditor_client
from tests.support.serving import listening
from tests.support.strangers import Stranger
from zooaudit.serving import kit_routes, service, uploads
from zooaudit.serving.access_log import REFUSALS_A_MINUTE, AccessLog, Lines
from zooaudit.serving.application import make_app
from zooaudit.serving.keys import new_key
from zooaudit.serving.service import InProcess
from zooaudit.serving.settings import Settings


def test_another_sites_page_can_do_nothing_to_an_open_service(
    kit_store: tuple[str, str], auditor_settings: Settings
) -> None:
    with auditor(auditor_settings) as made, auditor_client(made, auditor_settings) as client:
        body = json.dumps(asked(kit_store[1], "http://127.0.0.1:9"))
        for kind in (
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=a",
            "",
        ):
            reply = client.post("/audits", content=body, headers={"Content-Type": kind} if kind else {})
            assert reply.status_code == 415, "what a form can send without asking first"
        for headers in (
            {"Host": "evil.example"},
            {"Host": "localhost.evil.example"},
            {"Host": "10.0.0.1"},
            {"Host": ""},
            {"Origin": "http://["},
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://localhost:8080"},
        ):
            for method, path in (
                ("GET", "/kits"),
                ("GET", "/audits"),
                ("POST", "/audits"),
                ("DELETE", "/audits/a"),
            ):
                reply = client.request(method, path, headers={"Content-Type": "application/json"} | headers)
                assert (
                    reply.status_code == 403 and reply.headers["Content-Type"] == "application/problem+json"
                ), (headers, path)
        assert (
            client.post(
                "/audits",
                content=body,
                headers={"Content-Type": "application/json", "Sec-Fetch-Site": "cross-site"},
            ).status_code
            == 403
        )
        for headers in (
            {},
            {"Host": "127.0.0.1:8000"},
            {"Host": "[::1]:8000"},
            {"Host": "LOCALHOST:1", "Origin": "http://localhost:1"},
        ):
            assert client.get("/kits", headers=headers).status_code == 200, headers
        assert client.get("/health", headers={"Host": "10.0.0.1"}).status_code == 200, (
            "a probe asks by address"
        )
        assert made.all(None) == []
    with TestClient(
        make_app(replace(auditor_settings, hosts=("audits.example",))), base_url="http://audits.example"
    ) as client:
        assert client.get("/kits").status_code == 200


def test_with_keys_any_name_will_do_but_only_json(
    kit_store: tuple[str, str], auditor_settings: Settings, tmp_path: Path
) -> None:
    key, entry = new_key("a", ("read", "audit"), 0, None)
    (tmp_path / "keys.toml").write_text(entry)
    own = replace(auditor_settings, keys_file=tmp_path / "keys.toml")
    with (
        auditor(own) as made,
        TestClient(make_app(own, audits=InProcess(made)), base_url="http://any.example") as client,
    ):
        headers = {"Authorization": f"Bearer {key}"}
        assert client.get("/kits", headers=headers).status_code == 200
        assert (
            client.post("/audits", content="{}", headers=headers | {"Content-Type": "text/plain"}).status_code
            == 415
        )


def test_questions_as_json_are_refused_where_they_are_very_large(
    kit_store: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with TestClient(make_app(Settings(kit_store[0])), base_url="http://localhost") as client:
        path = f"/kits/{kit_store[1]}/queries?format="
        assert (whole := client.get(path + "json")).status_code == 200
        assert len(whole.content) < 2 * 120 * 16 * kit_routes.JSON_BYTES, "the estimate is not low"
        monkeypatch.setattr(kit_routes, "MOST_JSON", 1000)
        refused = client.get(path + "json")
        assert refused.status_code == 422 and "format=parquet" in refused.text
        assert client.get(path + "parquet").status_code == 200


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (uploads, service):
        monkeypatch.setattr(module, "GRACE_S", 0.5)


@pytest.mark.usefixtures("quick")
def test_slow_bodies_are_refused_and_a_key_has_few(
    kit_store: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(make_app(Settings(kit_store[0]))) as url:
        port = int(url.rpartition(":")[2])

        def dripping(piece: bytes, pause_s: float, pieces: int) -> tuple[int, float]:
            begun = time.monotonic()
            with socket.create_connection(("127.0.0.1", port)) as own:
                head = (
                    f"POST /kits/{kit_store[1]}/score?suspect=s HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                    "Content-Length: 60000\r\n"
                )
                own.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n")
                own.settimeout(pause_s)
                for _ in range(pieces):
                    try:
                        own.sendall(piece)
                        if got := own.recv(100):
                            return int(got.split()[1]), time.monotonic() - begun
                    except TimeoutError:
                        continue
                own.settimeout(10)
                return int(own.recv(100).split()[1]), time.monotonic() - begun

        status, taken = dripping(b" ", 0.1, 100)
        assert status == 408 and taken < 5, "a byte now and then"
        status, taken = dripping(b"", 0.1, 30)
        assert status == 408 and taken < 5, "nothing at all"
        monkeypatch.setattr(uploads, "SLOW_AT_ONCE", 2)
        statuses: list[int] = []
        threads = [
            threading.Thread(target=lambda: statuses.append(dripping(b" " * 4000, 0.12, 10)[0]))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 429 in statuses and statuses.count(429) <= 2, statuses
        assert dripping(b" " * 60_000, 0.1, 1)[0] == 400, "a quick one is read, and is not JSON"


def test_the_access_log_is_rotated_and_capped(tmp_path: Path) -> None:
    lines = Lines(tmp_path / "new", file_bytes=1000, all_bytes=3000)
    for number in range(200):
        lines.write(json.dumps({"number": number, "x": "y" * 50}))
    files = sorted((tmp_path / "new").iterdir())
    assert 2 <= len(files) <= 5 and sum(f.stat().st_size for f in files) < 4500
    assert any('"number": 199' in f.read_text() for f in files) and not any(
        '"number": 0,' in f.read_text() for f in files
    )
    (tmp_path / "file").write_text("")
    Lines(tmp_path / "file" / "x").write("{}")  # no room is no reason to fail a request


def test_refusals_do_not_fill_the_access_log(tmp_path: Path) -> None:
    now = [0.0]
    log = AccessLog(lambda *_: None, tmp_path, clock=lambda: now[0])
    scope = {"method": "GET", "path": "/kits", "query_string": b"suspect=http%3A%2F%2Fa%2F%3Fapi_key%3Dhush"}
    for _ in range(REFUSALS_A_MINUTE + 50):
        log._write(scope, 401, 0.0)
    log._write(scope | {"state": {"key": "a"}}, 200, 0.0)
    now[0] = 61
    log._write(scope, 401, 0.0)
    lines = [json.loads(line) for f in tmp_path.iterdir() for line in f.read_text().splitlines()]
    assert (
        len(lines) == REFUSALS_A_MINUTE + 2
        and lines[-2]["refusals_left_out"] == 50
        and lines[-2]["key"] == "a"
    )
    assert not any("hush" in str(line) for line in lines) and "api_key=***" in lines[0]["query"]


def test_the_client_can_ask_afresh(
    kit_store: tuple[str, str], auditor_settings: Settings, own_stranger: Stranger
) -> None:
    from zooaudit.client import Client

    with auditor(auditor_settings) as made, auditor_client(made, auditor_settings) as http:

        class Through(httpx.BaseTransport):
            def handle_request(self, request: httpx.Request) -> httpx.Response:
                reply = http.request(
                    request.method, request.url.path, content=request.content, headers=request.headers
                )
                return httpx.Response(
                    reply.status_code, headers={"Content-Type": "application/json"}, content=reply.content
                )

        with Client("http://localhost", transport=Through()) as client:
            audit = client.audit(kit_store[1], {"url": own_stranger.url + "/v2/models/m/infer"}, fresh=True)
            assert client.wait(audit.id, every_s=0.05).state == "done"
            assert "starts" not in http.get(f"/audits/{audit.id}").json()
