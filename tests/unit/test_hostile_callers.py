"""Callers of the service that want more than their share, and what is away or full while it works."""

import datetime
import json
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from fastapi.testclient import TestClient

from tests.support.auditors import asked, auditor, ended, until
from tests.support.collecting import Notebook
from tests.support.collecting import key as counted
from tests.support.serving import listening
from tests.support.strangers import Stranger
from zooaudit.errors import LimitError, NotWrittenError, StoreError
from zooaudit.serving import auditor as auditing
from zooaudit.serving import disk_space, kit_routes, service, uploads
from zooaudit.serving.access_log import REFUSALS_A_MINUTE, AccessLog, Lines
from zooaudit.serving.application import make_app
from zooaudit.serving.audit_queue import Line, Waiting
from zooaudit.serving.audit_records import OPEN, AuditRecords
from zooaudit.serving.auditor import Auditor
from zooaudit.serving.disk_space import refuse_if_full
from zooaudit.serving.keys import new_key
from zooaudit.serving.service import InProcess
from zooaudit.serving.settings import Settings
from zooaudit.storage.opening import open_store
from zooaudit.suspects.ledger import Ledger
from zooaudit.telemetry.metrics import SERVICE_AUDITS


def test_a_key_has_so_many_open_audits_and_the_others_come_first(
    kit_store: tuple[str, str], auditor_settings: Settings, own_stranger: Stranger
) -> None:
    own_stranger.slow_s = 0.2
    with auditor(replace(auditor_settings, open_audits=6)) as made:
        many = [
            made.submit("greedy", asked(kit_store[1], own_stranger.url, scale=1 + i * 1e-6))["id"]
            for i in range(6)
        ]
        with pytest.raises(
            LimitError, match="has 6 audits that have not ended; this service takes 6 at once"
        ):
            made.submit("greedy", asked(kit_store[1], own_stranger.url))
        small = made.submit("modest", asked(kit_store[1], own_stranger.url))["id"]
        ended(made, small)
        states = [(made.get(i) or {})["state"] for i in many]
        assert states.count("done") <= 3, (
            "three of four places at most are one key's, so that the last to come was in the first round"
        )
        listed = [a["state"] in OPEN for a in made.all(None)]
        assert listed == sorted(listed, reverse=True) and not listed[-1], (
            "those that have not ended are listed first"
        )
        own_stranger.slow_s = 0.0
        assert {ended(made, i)["state"] for i in many} == {"done"}


def test_many_audits_that_are_sent_at_once_are_no_more_than_may_be(
    kit_store: tuple[str, str],
    auditor_settings: Settings,
    own_stranger: Stranger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own_stranger.slow_s = 5.0
    together, refused = threading.Barrier(8), []
    with auditor(replace(auditor_settings, open_audits=2)) as made:
        monkeypatch.setattr(made, "_within_limits", lambda *_: together.wait())

        def one(number: int) -> None:
            try:
                made.submit("greedy", asked(kit_store[1], own_stranger.url, scale=1 + number * 1e-6))
            except LimitError as error:
                refused.append(str(error))

        threads = [threading.Thread(target=one, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(refused) == 6 and len(made.all("greedy")) == 2


@pytest.mark.parametrize("under_way", [True, False])
def test_an_audit_that_was_cancelled_is_counted_and_forgotten(
    under_way: bool,
    kit_store: tuple[str, str],
    auditor_settings: Settings,
    own_stranger: Stranger,
    notebook: Notebook,
) -> None:
    own_stranger.slow_s = 0.2
    with auditor(auditor_settings) as made:
        ids = [
            made.submit("a", asked(kit_store[1], own_stranger.url, scale=1 + i * 1e-6))["id"]
            for i in range(4)
        ]
        until(
            lambda: (
                (made.get(ids[0]) or {})["state"] == "running"
                and (made.get(ids[2]) or {})["state"] == "running"
            )
        )
        one = ids[0] if under_way else ids[3]
        made.cancel(one)
        own_stranger.slow_s = 0.0
        until(lambda: one not in made._stopped)
        until(lambda: notebook.times[counted(SERVICE_AUDITS, state="cancelled")])
    assert notebook.times[counted(SERVICE_AUDITS, state="cancelled")] == 1


def test_the_line_is_fair_and_lets_suspected_ones_run_one_at_a_time() -> None:
    line = Line(most_of_one=3)
    for number in range(5):
        line.put(Waiting(f"a{number}", "a"))
    line.put(Waiting("b0", "b"))
    line.put(Waiting("c0", "c", at=time.monotonic() + 0.2))
    taken = [found.id for _ in range(5) if (found := line.take())]
    assert taken == ["a0", "b0", "a1", "a2", "c0"], "the fifth place waits for another key's"
    line.close()
    assert line.take() is None
    line = Line(3)
    for name in "xyz":
        line.put(Waiting(name, name, time.monotonic(), suspected=name != "z"))
    taken = [found.id for _ in range(2) if (found := line.take())]
    assert taken == ["z", "x"]
    threading.Timer(0.1, line.done, ("x",)).start()
    assert (line.take() or Waiting("", "")).id == "y"


def test_a_key_and_a_host_have_so_many_queries_a_day(
    kit_store: tuple[str, str], auditor_settings: Settings, own_stranger: Stranger
) -> None:
    with auditor(replace(auditor_settings, queries_a_day=70, host_queries_a_day=100)) as made:
        first = ended(
            made, made.submit("a", asked(kit_store[1], own_stranger.url, ask_everything=True))["id"]
        )
        assert (
            first["state"] == "failed"
            and "lets a key charge 70" in first["error"]
            and 60 < own_stranger.computed <= 70
        )
        second = ended(
            made, made.submit("b", asked(kit_store[1], own_stranger.url, ask_everything=True))["id"]
        )
        assert (
            second["state"] == "failed"
            and "no more than 100 queries in 24 hours, over all its callers" in second["error"]
        )
        assert 90 < own_stranger.computed <= 100 and own_stranger.url not in second["error"]
    with auditor(
        replace(auditor_settings, queries_a_day=70, host_queries_a_day=1000)
    ) as made:  # it is remembered
        result = ended(
            made, made.submit("a", asked(kit_store[1], own_stranger.url, ask_everything=True))["id"]
        )
        assert (
            result["state"] == "failed"
            and "lets a key charge 70" in result["error"]
            and own_stranger.computed <= 100
        )


def test_what_was_refused_counts_against_nobody(
    kit_store: tuple[str, str], auditor_settings: Settings, own_stranger: Stranger
) -> None:
    own_stranger.flaky = 0.4
    with auditor(replace(auditor_settings, queries_a_day=130)) as made:
        done = ended(made, made.submit("a", asked(kit_store[1], own_stranger.url, ask_everything=True))["id"])
        assert done["state"] == "done", done
        assert (
            made._records.spent(by="a")[0]
            == own_stranger.computed
            == made._records.spent(host="127.0.0.1")[0]
        )


def test_a_key_has_so_much_time_a_day(
    kit_store: tuple[str, str], auditor_settings: Settings, own_stranger: Stranger
) -> None:
    own_stranger.slow_s = 0.3
    with auditor(replace(auditor_settings, hours_a_day=1.0 / 3600)) as made:
        result = ended(
            made,
            made.submit("a", asked(kit_store[1], own_stranger.url, concurrency=1, ask_everything=True))["id"],
        )
        assert (
            result["state"] == "failed" and "audits took" in result["error"] and own_stranger.computed < 100
        )
        with pytest.raises(LimitError, match="took"):
            made.submit("a", asked(kit_store[1], own_stranger.url))


def test_a_ledger_is_a_keys_own(
    kit_store: tuple[str, str], auditor_settings: Settings, own_stranger: Stranger
) -> None:
    with auditor(auditor_settings) as made:
        one, other = (
            ended(made, made.submit(by, asked(kit_store[1], own_stranger.url))["id"]) for by in ("a", "b")
        )
        assert one["result"]["charged"] == other["result"]["charged"] > 0
        assert own_stranger.computed == 2 * one["result"]["charged"], "nobody is told what another was told"
        again = ended(made, made.submit("a", asked(kit_store[1], own_stranger.url))["id"])
        assert again["state"] == "done" and own_stranger.computed == 2 * one["result"]["charged"]
        kept = [
            open_store(kit_store[0]).load("evidence", a["result"]["evidence"]).meta["answered"]
            for a in (one, again)
        ]
        assert kept[0] == kept[1] and kept[0]["first"] <= kept[0]["last"]
        assert abs(datetime.datetime.fromisoformat(kept[0]["first"]).timestamp() - time.time()) < 300


def test_fresh_answers_are_asked_for_again(
    kit_store: tuple[str, str], auditor_settings: Settings, own_stranger: Stranger
) -> None:
    with auditor(auditor_settings) as made:
        charged = ended(made, made.submit("a", asked(kit_store[1], own_stranger.url))["id"])["result"][
            "charged"
        ]
        fresh = ended(made, made.submit("a", asked(kit_store[1], own_stranger.url, fresh=True))["id"])
        assert fresh["result"]["charged"] == charged and own_stranger.computed == 2 * charged


def test_no_error_names_a_path_or_another_audit(
    kit_store: tuple[str, str], auditor_settings: Settings, own_stranger: Stranger
) -> None:
    with auditor(auditor_settings) as made:
        ended(made, made.submit("a", asked(kit_store[1], own_stranger.url))["id"])
        (ledger,) = (auditor_settings.data or Path()).glob("ledgers/*/*.sqlite")
        ledger.write_bytes(b"no database, though long enough to be taken for one" * 100)
        for side in ("-wal", "-shm"):
            ledger.with_name(ledger.name + side).unlink(missing_ok=True)
        result = ended(made, made.submit("a", asked(kit_store[1], own_stranger.url))["id"])
        assert result["state"] == "failed" and "the ledger of this suspect is not a ledger" in result["error"]
        assert "/" not in result["error"] and "--ledger" not in result["error"]


def test_two_audits_of_one_suspect_wait_for_each_other(
    kit_store: tuple[str, str],
    auditor_settings: Settings,
    own_stranger: Stranger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(auditing, "BUSY_S", 0.1)
    own_stranger.slow_s = 0.05
    with auditor(auditor_settings) as made:
        ids = [made.submit("a", asked(kit_store[1], own_stranger.url, concurrency=1))["id"] for _ in range(2)]
        waiting = until(
            lambda: next((a for i in ids if (a := made.get(i) or {})["progress"].get("waiting")), None)
        )
        assert waiting["progress"]["waiting"].startswith("waiting for the audit ")
        found = [ended(made, i) for i in ids]
    assert {f["state"] for f in found} == {"done"} and own_stranger.computed == found[0]["result"]["charged"]


def test_starts_are_counted_from_the_last_answer_on_and_a_stop_is_none(tmp_path: Path) -> None:
    records = AuditRecords(tmp_path / "a.sqlite")
    id_ = records.enter("a", "k", {"suspect": {}})
    assert [records.begin(id_), records.begin(id_)] == [1, 2]
    records.got_on(id_)
    assert records.begin(id_) == 1
    records.wait(id_, "the store")
    assert (records.get(id_) or {})["starts"] == 0 and (records.get(id_) or {})["progress"] == {
        "waiting": "the store"
    }
    records.note(id_, state="cancelled")
    assert records.begin(id_) == 0, "what has ended is not started"
    records.close()


def test_a_book_of_before_is_read(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "a.sqlite")
    db.execute(
        "CREATE TABLE audits (id TEXT PRIMARY KEY, made REAL NOT NULL, changed REAL NOT NULL, by TEXT NOT"
        " NULL, kit TEXT NOT NULL, asked TEXT NOT NULL, state TEXT NOT NULL, progress TEXT NOT NULL, result"
        " TEXT, error TEXT NOT NULL)"
    )
    db.execute("INSERT INTO audits VALUES ('i', 1, 1, 'a', 'k', '{}', 'running', '{}', NULL, '')")
    db.commit()
    db.close()
    records = AuditRecords(tmp_path / "a.sqlite")
    assert [a["id"] for a in records.open()] == ["i"] and records.begin("i") == 1
    records.close()


def test_a_ledger_of_before_is_read_and_does_not_know_when(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite", {}, 10) as ledger:
        ledger.answered(ledger.charge(1), ["n"], torch.tensor([[1.0]]), "list")
        assert ledger.came(["n"])[0] is not None
    db = sqlite3.connect(tmp_path / "l.sqlite")
    db.execute("ALTER TABLE answers DROP COLUMN at")
    db.commit()
    db.close()
    with Ledger(tmp_path / "l.sqlite", {}, 10) as ledger:
        assert ledger.came(["n"]) == [None] and ledger.known(["n"])


def test_nothing_of_a_suspects_keys_is_left_in_any_file(
    kit_store: tuple[str, str], auditor_settings: Settings, own_stranger: Stranger
) -> None:
    secrets = ("hush-header", "hush-address", "hush-request")
    with auditor(auditor_settings) as made:
        suspect = {
            "headers": {"X-Secret": secrets[0]},
            "request": {"instances": "$images", "key": secrets[2]},
        }
        suspect |= {"protocol": "template", "layout": "nhwc"}
        id_ = made.submit(
            "a", asked(kit_store[1], own_stranger.url, f"/v1/models/m:predict?token={secrets[1]}", **suspect)
        )["id"]
        assert ended(made, id_)["state"] == "done"
        files = {p.name: p.read_bytes() for p in (auditor_settings.data or Path()).rglob("*") if p.is_file()}
        assert "audits.sqlite" in files and "audits.sqlite-wal" in files, "while it runs, too"
        for secret in secrets:
            found = [name for name, content in files.items() if secret.encode() in content]
            assert found == [] or secret == secrets[2], "a ledger says which request its answers are to"
            assert not any(name.startswith("audits") for name in found)
        evidence = open_store(kit_store[0]).load("evidence", (made.get(id_) or {})["result"]["evidence"]).meta
        assert evidence["suspect"].endswith(":predict?token=***") and "hush" not in json.dumps(evidence)


def test_a_store_that_is_away_makes_audits_wait(
    kit_store: tuple[str, str],
    auditor_settings: Settings,
    own_stranger: Stranger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(auditing, "AWAY_S", 0.1)
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


@contextmanager
def auditor_client(made: Auditor, settings: Settings, **more: Any) -> Iterator[TestClient]:
    app = make_app(settings, audits=InProcess(made))
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False, **more) as client:
        yield client


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
