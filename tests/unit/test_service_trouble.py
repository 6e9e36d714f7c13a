"""The service while its store is away or its disk full."""

import json
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.support.auditors import asked, auditor, auditor_client, ended, until
from tests.support.strangers import Stranger
from zooaudit.errors import NotWrittenError, StoreError
from zooaudit.serving import disk_space, kit_source
from zooaudit.serving.application import make_app
from zooaudit.serving.disk_space import refuse_if_full
from zooaudit.serving.settings import Settings
from zooaudit.suspects.ledger import Ledger


def test_a_store_that_is_away_makes_audits_wait(
    kit_store: tuple[str, str],
    auditor_settings: Settings,
    own_stranger: Stranger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kit_source, "AWAY_S", 0.1)
    place = Path(kit_store[0])
    own_stranger.slow_s = 0.1
    with auditor(auditor_settings) as made:
        id_ = made.submit("a", asked(kit_store[1], own_stranger.url, concurrency=1))["id"]
        until(lambda: own_stranger.computed > 0)
        place.rename(place.with_name("away"))
        try:
            until(lambda: (made.get(id_) or {})["progress"].get("waiting"))
            result = made.get(id_) or {}
            assert result["state"] == "queued" and result["progress"]["waiting"].startswith(
                "the store does not answer"
            )
            assert str(place.parent) not in json.dumps(result["progress"]) and result["error"] == ""
            with pytest.raises(StoreError):
                made.submit("a", asked(kit_store[1], own_stranger.url))
            with auditor_client(made, auditor_settings) as client:
                reply = client.post("/audits", json=asked(kit_store[1], own_stranger.url))
                assert reply.status_code == 503 and int(reply.headers["Retry-After"]) > 0
                assert (
                    reply.headers["Content-Type"] == "application/problem+json"
                    and str(place.parent) not in reply.text
                )
                assert str(place.parent) not in client.get(f"/audits/{id_}").text
        finally:
            place.with_name("away").rename(place)
        done = ended(made, id_)
        assert done["state"] == "done" and own_stranger.computed == done["result"]["charged"], (
            "nothing was paid twice"
        )


def test_a_store_that_did_not_answer_is_not_asked_for_each_caller(tmp_path: Path) -> None:
    with TestClient(
        make_app(Settings(str(tmp_path / "none" / "store"))), base_url="http://localhost"
    ) as client:
        for path in ("/kits", "/kits/aaaa", "/reports", "/ready", "/kits/aaaa/queries"):
            reply = client.get(path)
            assert reply.status_code == 503 and reply.headers["Retry-After"] and "none" not in reply.text, (
                path
            )
            assert reply.headers["Content-Type"] == "application/problem+json"


def test_a_full_disk_is_said_and_audits_go_on_when_there_is_room(
    kit_store: tuple[str, str],
    auditor_settings: Settings,
    own_stranger: Stranger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SQLite's own limit on a file stands for a full disk: the same error, SQLITE_FULL."""
    data = auditor_settings.data or Path()
    with auditor(auditor_settings) as made, auditor_client(made, auditor_settings) as client:
        pages = int(made._records._db.execute("PRAGMA page_count").fetchone()[0])
        made._records._db.execute(f"PRAGMA max_page_count = {pages}")
        statuses = set()
        for _ in range(40):
            reply = client.post(
                "/audits", json=asked(kit_store[1], "http://127.0.0.1:9") | {"access": "label"}
            )
            statuses.add(reply.status_code)
            if reply.status_code == 503:
                break
        assert (
            reply.status_code == 503
            and "cannot be written just now" in reply.text
            and str(data) not in reply.text
        )
        assert (
            reply.headers["Content-Type"] == "application/problem+json"
            and int(reply.headers["Retry-After"]) > 0
        )
        made._records._db.execute(f"PRAGMA max_page_count = {pages + 10_000}")
    charge, full = Ledger.charge, [True]

    def no_room(self: Ledger, images: int) -> int:
        if full[0] and own_stranger.computed:
            self._db.execute("PRAGMA max_page_count = 1")
            with self._writing():
                self._db.execute("CREATE TABLE more AS SELECT randomblob(100000) AS x")
        self._db.execute("PRAGMA max_page_count = 1000000")
        return charge(self, images)

    monkeypatch.setattr(Ledger, "charge", no_room)
    with auditor(replace(auditor_settings, data=data / "second")) as made:
        id_ = made.submit("a", asked(kit_store[1], own_stranger.url, concurrency=1))["id"]
        assert "when there is room again" in until(lambda: (made.get(id_) or {})["progress"].get("waiting"))
        full[0] = False
        done = ended(made, id_)
        assert done["state"] == "done" and own_stranger.computed == done["result"]["charged"]


def test_ready_tells_whether_data_can_be_written(kit_store: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotWrittenError):
        refuse_if_full(tmp_path / "file" / "data")
    good = Settings(kit_store[0], data=tmp_path / "data")
    app = make_app(good)
    with TestClient(app, base_url="http://localhost") as client:
        assert client.get("/ready").status_code == 200
        app.state.service.settings = replace(good, data=tmp_path / "file" / "data")
        reply = client.get("/ready")
        assert (
            reply.status_code == 503 and "cannot be written" in reply.text and str(tmp_path) not in reply.text
        )
        assert client.get("/health").status_code == 200
    assert list((tmp_path / "data").glob("tmp*")) == []


def test_a_disk_that_hangs_holds_one_of_those_who_ask_whether_all_is_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, there, goes_on = disk_space.DiskSpace(), threading.Event(), threading.Event()

    def hangs(_: int) -> None:
        there.set()
        goes_on.wait(30)

    monkeypatch.setattr(os, "fsync", hangs)
    first = threading.Thread(target=made.check, args=(tmp_path,))
    first.start()
    assert there.wait(10)
    begun = time.monotonic()
    for _ in range(50):
        made.check(tmp_path)
    assert time.monotonic() - begun < 5
    goes_on.set()
    first.join()
