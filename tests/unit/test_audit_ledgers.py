"""What an auditor remembers: answers, starts, and no key of a suspect."""

import datetime
import json
import sqlite3
import time
from pathlib import Path

import pytest
import torch

from tests.support.auditors import asked, auditor, ended, until
from tests.support.strangers import Stranger
from zooaudit.serving import audit_run
from zooaudit.serving.audit_records import AuditRecords
from zooaudit.serving.settings import Settings
from zooaudit.storage.opening import open_store
from zooaudit.suspects.ledger import Ledger


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
    monkeypatch.setattr(audit_run, "BUSY_S", 0.1)
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
