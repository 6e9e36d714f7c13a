"""Verdicts in the service's folder: they are never changed, and what earlier versions kept is read."""

import json
import sqlite3
from pathlib import Path

import pytest

from zooaudit.serving.audit_records import AuditRecords
from zooaudit.serving.verdicts import Verdicts, Wanted


def test_kept_scores_are_never_changed_and_answers_go_oldest_first(tmp_path: Path) -> None:
    records = AuditRecords(tmp_path / "audits.sqlite")
    kept = Verdicts(tmp_path, records, answers_bytes=1000)
    data = {"suspect": "s", "digest": "d", "kit": "k", "twins": {"decision": "stolen"}}
    ids = [kept.keep("a", {}, data | {"answers_sha256": f"{i:064}"}, bytes(300)) for i in range(5)]
    assert len({*ids}) == 5 and len(kept.listed(Wanted("a"))) == 5 and kept.listed(Wanted("b")) == []
    assert [kept.answers(f"{i:064}") is not None for i in range(5)] == [False, False, True, True, True]
    with sqlite3.connect(tmp_path / "verdicts.sqlite") as db:
        for change in ("UPDATE scores SET decision = 'not shown'", "DELETE FROM scores"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                db.execute(change)
    kept.close()
    records.close()


BEFORE = """
CREATE TABLE scores (id TEXT PRIMARY KEY, made REAL NOT NULL, by TEXT NOT NULL, kit TEXT NOT NULL,
    suspect TEXT NOT NULL,
    call TEXT NOT NULL, answers TEXT NOT NULL, asked TEXT NOT NULL, told TEXT NOT NULL);
CREATE TRIGGER scores_are_not_changed BEFORE UPDATE ON scores
    BEGIN SELECT RAISE(ABORT, 'scores are append-only'); END;
INSERT INTO scores VALUES ('1', 1.0, 'a', 'k', 's', 'stolen', 'f00d', '{}',
    '{"suspect": "s", "twins": {"call": "stolen"}}');
"""


def test_what_was_kept_before_decisions_were_called_so_is_read(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "verdicts.sqlite") as db:
        db.executescript(BEFORE)
    records = AuditRecords(tmp_path / "audits.sqlite")
    id_ = records.enter("a", "k", {"suspect": {}})
    records.note(id_, state="done", result={"call": "stolen", "p_value": 0.05})
    records._db.execute("PRAGMA user_version = 1")
    records.close()
    for _ in range(2):
        records = AuditRecords(tmp_path / "audits.sqlite")
        assert (records.get(id_) or {})["result"] == {"decision": "stolen", "p_value": 0.05}
        kept = Verdicts(tmp_path, records)
        assert sorted(row["decision"] for row in kept.listed(Wanted("a"))) == ["stolen", "stolen"]
        kept.close()
        records.close()
    with sqlite3.connect(tmp_path / "verdicts.sqlite") as db:
        ((decision, score),) = db.execute("SELECT decision, score FROM scores").fetchall()
        assert decision == "stolen" and json.loads(score)["twins"] == {"decision": "stolen"}
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            db.execute("UPDATE scores SET decision = 'not shown'")
