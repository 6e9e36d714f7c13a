"""An auditor without a service before it, for tests that submit audits to it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.support.kits import make_kit
from tests.support.service import CLASSES, COPY
from tests.support.strangers import Stranger, serving
from zooaudit.kits.kit import save_kit
from zooaudit.serving.application import make_app
from zooaudit.serving.audit_records import OPEN
from zooaudit.serving.auditor import Auditor
from zooaudit.serving.service import InProcess
from zooaudit.serving.settings import Settings
from zooaudit.storage.opening import open_store


@pytest.fixture(scope="module")
def kit_store(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    place = str(tmp_path_factory.mktemp("kits") / "store")
    return place, save_kit(open_store(place), make_kit(facts={"classes": list(CLASSES)})).id


@pytest.fixture
def own_stranger() -> Iterator[Stranger]:
    with serving(Stranger(COPY, CLASSES)) as served:
        yield served


@pytest.fixture
def auditor_settings(kit_store: tuple[str, str], tmp_path: Path) -> Settings:
    return Settings(kit_store[0], data=tmp_path / "data", suspects=("127.0.0.1",), retry_s=0.2)


@contextmanager
def auditor(settings: Settings) -> Iterator[Auditor]:
    made = Auditor(settings)
    try:
        yield made
    finally:
        made.close()


def until(seen: Callable[[], Any], seconds: float = 30.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := seen()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)
    return found


def ended(made: Auditor, id_: str) -> dict[str, Any]:
    found: dict[str, Any] = until(lambda: (a := made.get(id_) or {}) and a["state"] not in OPEN and a)
    return found


def asked(kit: str, url: str, route: str = "/v2/models/m/infer", **more: Any) -> dict[str, Any]:
    own = {k: more.pop(k) for k in ("fresh", "ask_everything", "budget") if k in more}
    return {"kit": kit, "suspect": {"url": url + route, "batch": 8, **more}, **own}


@contextmanager
def auditor_client(made: Auditor, settings: Settings, **more: Any) -> Iterator[TestClient]:
    app = make_app(settings, audits=InProcess(made))
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False, **more) as client:
        yield client
