"""The service in this process, and a suspect behind an API: for all tests that ask it."""

import datetime
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from fastapi.testclient import TestClient
from torch import Tensor

from tests.support.answer_bodies import WRITERS
from tests.support.kits import K, make_kit
from tests.support.makers import make_twin_test, near, peer
from tests.support.strangers import Stranger, serving
from zooaudit.kits.kit import Kit, save_kit
from zooaudit.serving.application import make_app
from zooaudit.serving.auditor import Auditor
from zooaudit.serving.bodies import JSON, RAW
from zooaudit.serving.keys import new_key
from zooaudit.serving.service import InProcess
from zooaudit.serving.settings import Settings
from zooaudit.storage.opening import open_store
from zooaudit.suspects.answers import BY_ENDING
from zooaudit.suspects.blackbox import TorchBlackBox

CLASSES = ("ankle boot", "bag", "coat", "dress")
SCOPES = ("read", "score", "audit", "admin", "evidence")
COPY, INNOCENT = near(seed=0, copy=70), peer(70)


@dataclass
class Place:
    """A service and what it serves; ``ask`` with the key of a scope, or with another."""

    client: TestClient
    kit: Kit
    id: str
    keys: dict[str, str]
    folder: Path

    def ask(
        self,
        path: str,
        key: str = "read",
        body: bytes | None = None,
        kind: str = JSON,
        method: str = "",
        **headers: str,
    ) -> httpx.Response:
        sent = {"Content-Type": kind} if body is not None else {}
        sent |= {"Authorization": f"Bearer {self.keys.get(key, key)}"} if key else {}
        reply: Any = self.client.request(
            method or ("GET" if body is None else "POST"), path, content=body, headers=sent | headers
        )
        return cast(httpx.Response, reply)  # or the like, of whichever HTTPX Starlette finds

    def score(self, answers: Tensor, kind: str = RAW, **query: Any) -> httpx.Response:
        return self.post(body_of(answers, kind), kind, **query)

    def post(self, body: bytes, kind: str, key: str = "score", **query: Any) -> httpx.Response:
        asked = "&".join(f"{k}={v}" for k, v in ({"suspect": "s"} | query).items())
        return self.ask(f"/kits/{self.id}/score?{asked}", key, body, kind)


def as_json(answers: Tensor) -> bytes:
    return json.dumps({"answers": answers.tolist()}).encode()


def body_of(answers: Tensor, kind: str) -> bytes:
    return next(write for ending, write in WRITERS.values() if BY_ENDING[ending].media == kind)(answers)


@pytest.fixture(scope="module")
def stranger() -> Iterator[Stranger]:
    with serving(Stranger(COPY, CLASSES)) as served:
        yield served


async def all_counts() -> bytes:
    return b"# TYPE ray_zooaudit_scores_total counter\nray_zooaudit_scores_total 3.0\n"


def without_models(place: "Place") -> None:
    """Let the service run no models of its callers: thousands of requests would start a process each.
    test_boxed.py has broken files."""
    service = place.client.app.state.service  # type: ignore[attr-defined]
    service.settings = replace(service.settings, model_bytes=0)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, stranger: Stranger) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("service")
    kit = make_kit(facts={"accused": {"look-alike": [3, 4]}, "classes": list(CLASSES)})
    id_ = save_kit(open_store(str(folder / "store")), kit).id
    made, entries = {}, ""
    for name, scopes in {**{s: (s,) for s in SCOPES}, "all": SCOPES, "other": ("audit",)}.items():
        made[name], entry = new_key(name, scopes, 0, None)
        entries += entry
    made["old"], old = new_key("old", SCOPES, 0, datetime.date(2020, 1, 1))
    made["slow"], slow = new_key("slow", ("read",), 2, None)
    (folder / "keys.toml").write_text(entries + old + slow)
    named = stranger.url.removeprefix("http://")
    settings = Settings(
        str(folder / "store"),
        (),
        folder / "keys.toml",
        data=folder / "data",
        suspects=(named, "127.0.0.1:9"),
        model_bytes=2**20,
    )
    auditor = Auditor(settings)
    with TestClient(
        make_app(settings, audits=InProcess(auditor), metrics=all_counts), raise_server_exceptions=False
    ) as client:
        yield Place(client, kit, id_, made, folder)
    auditor.close()


def problem(reply: httpx.Response, status: int, *says: str) -> dict[str, Any]:
    assert (reply.status_code, reply.headers["Content-Type"]) == (
        status,
        "application/problem+json",
    ), reply.content
    body: dict[str, Any] = reply.json()
    assert (
        body.keys() == {"type", "title", "status", "detail", "found", "expected"} and body["status"] == status
    )
    assert all(word in json.dumps(body, ensure_ascii=False) for word in says), body
    return body


GOOD = TorchBlackBox(COPY, K).ask(make_twin_test().questions())


def ended(place: Place, id_: str, key: str = "audit") -> dict[str, Any]:
    for _ in range(300):
        data: dict[str, Any] = place.ask(f"/audits/{id_}", key).json()
        if data["state"] not in ("queued", "running"):
            return data
        time.sleep(0.05)
    raise AssertionError(data)


def submitted(place: Place, suspect: dict[str, Any], key: str = "audit", **more: Any) -> httpx.Response:
    return place.ask("/audits", key, json.dumps({"kit": place.id, "suspect": suspect, **more}).encode())
