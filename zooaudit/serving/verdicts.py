"""The scores that the service gave, stored unchanged: none is ever edited or removed, and each belongs to its
key. Answers are stored too as long as there is space, for explanations and evidence packs."""

import json
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from pathlib import Path
from typing import Any

from zooaudit.config import digest_of
from zooaudit.databases import claim_format
from zooaudit.errors import NotWrittenError, StoreError
from zooaudit.evidence.records import METHOD
from zooaudit.serving.audit_records import AuditRecords
from zooaudit.suspects.addresses import without_keys

log = logging.getLogger(__name__)

ANSWERS_BYTES = 2 * 2**30
"""The most bytes of stored answers; beyond it the oldest are removed, their verdicts stay."""
PAGE = 200
"""Rows read at a time."""
COLUMNS = ("id", "made", "by", "kit", "suspect", "decision", "answers", "asked", "score")
FORMAT = 2
"""2: the columns ``decision`` and ``score`` replace ``call`` and ``told``."""
TABLES = """
PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS scores (
    id TEXT PRIMARY KEY, made REAL NOT NULL, by TEXT NOT NULL, kit TEXT NOT NULL, suspect TEXT NOT NULL,
    decision TEXT NOT NULL,
    answers TEXT NOT NULL, asked TEXT NOT NULL, score TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS scores_by_time ON scores (made, id);
CREATE TRIGGER IF NOT EXISTS scores_are_not_changed BEFORE UPDATE ON scores
    BEGIN SELECT RAISE(ABORT, 'scores are append-only'); END;
CREATE TRIGGER IF NOT EXISTS scores_do_not_go BEFORE DELETE ON scores
    BEGIN SELECT RAISE(ABORT, 'scores are append-only'); END;
"""


FROM_1 = """
DROP TRIGGER scores_are_not_changed;
ALTER TABLE scores RENAME COLUMN call TO decision;
ALTER TABLE scores RENAME COLUMN told TO score;
UPDATE scores SET score = replace(score, '"call":', '"decision":');
"""


@dataclass(frozen=True)
class Wanted:
    """A query for the list.

    Attributes:
        owner: a key's name; None for everybody's.
        kind: ``score`` or ``audit``; "" for both.
        decision: a decision, or the state of an audit without one.
        text: a part of the suspect's name or of the kit's id.
        before: time and id of the last entry seen.
    """

    owner: str | None
    kind: str = ""
    decision: str = ""
    text: str = ""
    before: tuple[float, str] | None = None
    limit: int = 50


class Verdicts:
    """For many threads of one process.

    Args:
        folder: the service's data.
        records: of its audits, which are listed with the scores.
    """

    def __init__(self, folder: Path, records: AuditRecords, answers_bytes: int = ANSWERS_BYTES) -> None:
        self._records, self._lock, self._answers = (
            records,
            threading.Lock(),
            Answers(folder / "answers", answers_bytes),
        )
        path = folder / "verdicts.sqlite"
        try:
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            if "call" in [row[1] for row in self._db.execute("PRAGMA table_info(scores)")]:
                self._db.executescript(f"BEGIN; {FROM_1} COMMIT;")
            self._db.executescript(TABLES)
            claim_format(self._db, FORMAT, f"the kept verdicts {path}")
        except sqlite3.DatabaseError as error:
            raise StoreError(f"the kept verdicts {path} cannot be used: {error}") from error

    def keep(self, owner: str, asked: dict[str, Any], score: dict[str, Any], answers: bytes) -> str:
        """Store a score; returns its id. The same answers of the same suspect, judged with the same settings,
        are one verdict.

        Args:
            asked: the settings of the request.
            score: as the caller received it.

        Raises:
            NotWrittenError: the disk is full.
        """
        suspect = without_keys(str(score["suspect"]))
        about = [owner, score["digest"], suspect, score["answers_sha256"], asked, METHOD]
        id_ = digest_of(about)
        decision = score["twins"]["decision"] if score.get("twins") else score["paper"]["decision"]
        kept = score | {"suspect": suspect, "id": id_}
        row = (
            id_,
            time.time(),
            owner,
            score["kit"],
            suspect,
            decision,
            score["answers_sha256"],
            json.dumps(asked),
            json.dumps(kept),
        )
        self._answers.put(score["answers_sha256"], answers)
        with self._lock:
            try:
                self._db.execute(
                    f"INSERT OR IGNORE INTO scores ({', '.join(COLUMNS)}) VALUES"
                    f" ({', '.join('?' * len(row))})",
                    row,
                )
            except sqlite3.OperationalError as error:
                raise NotWrittenError(f"verdicts cannot be written: {error}") from error
        return id_

    def keep_all(
        self, scores: list[tuple[str, dict[str, Any], dict[str, Any], bytes]]
    ) -> list[str | NotWrittenError]:
        """``keep`` each; returns its id, or why it was not stored."""
        found: list[str | NotWrittenError] = []
        for score in scores:
            try:
                found.append(self.keep(*score))
            except NotWrittenError as error:
                found.append(error)
        return found

    def get(self, id_: str) -> dict[str, Any] | None:
        """One score, or None."""
        return next(iter(self._rows("WHERE id = ?", id_)), None)

    def answers(self, sha256: str) -> bytes | None:
        """The answers of a score, little-endian float32; None if they are no longer stored."""
        return self._answers.get(sha256)

    def listed(self, wanted: Wanted) -> list[dict[str, Any]]:
        """Scores and audits together, the newest first."""
        found = merge(*self._sources(wanted), key=lambda row: (row["made"], row["id"]), reverse=True)
        return list(islice((row for row in found if _fits(row, wanted)), wanted.limit))

    def _sources(self, wanted: Wanted) -> list[Iterator[dict[str, Any]]]:
        scores = [] if wanted.kind == "audit" else [map(_of_score, self._scores(wanted))]
        return [*scores, *([] if wanted.kind == "score" else [map(_of_audit, self._audits(wanted))])]

    def _scores(self, wanted: Wanted) -> Iterator[dict[str, Any]]:
        """Filters in the database, which may have millions of rows."""
        clauses: list[str] = ["(made, id) < (?, ?)"]
        values: list[Any] = []
        for column, value in (("by", wanted.owner), ("decision", wanted.decision or None)):
            if value is not None:
                clauses, values = [*clauses, f"{column} = ?"], [*values, value]
        if wanted.text:
            clauses, values = (
                [*clauses, "(instr(lower(suspect), ?) OR instr(kit, ?))"],
                [
                    *values,
                    *[wanted.text.lower()] * 2,
                ],
            )
        before = wanted.before or (float("inf"), "")
        while rows := self._rows(
            f"WHERE {' AND '.join(clauses)} ORDER BY made DESC, id DESC LIMIT {PAGE}", *before, *values
        ):
            yield from rows
            before = (rows[-1]["made"], rows[-1]["id"])

    def _audits(self, wanted: Wanted) -> Iterator[dict[str, Any]]:
        before = wanted.before or (float("inf"), "")
        while rows := self._records.before(wanted.owner, *before, limit=PAGE):
            yield from rows
            before = (rows[-1]["made"], rows[-1]["id"])

    def _rows(self, rest: str, *values: Any) -> list[dict[str, Any]]:
        with self._lock:
            rows = self._db.execute(f"SELECT {', '.join(COLUMNS)} FROM scores {rest}", values).fetchall()
        found = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
        return [one | {"asked": json.loads(one["asked"]), "score": json.loads(one["score"])} for one in found]

    def close(self) -> None:
        with self._lock:
            self._db.close()


def _of_score(row: dict[str, Any]) -> dict[str, Any]:
    judged = row["score"].get("twins") or {}
    found = {name: row[name] for name in ("id", "made", "by", "kit", "suspect", "decision")}
    method = "twins" if judged else "paper"
    return found | {
        "kind": "score",
        "method": method,
        "state": "done",
        "level": judged.get("level"),
        "p_value": judged.get("p_value"),
    }


def _of_audit(row: dict[str, Any]) -> dict[str, Any]:
    """Leaves out the suspect's settings, which may contain its key."""
    result, asked = row["result"] or {}, row["asked"]
    found = {name: row[name] for name in ("id", "made", "by", "kit", "state")}
    found |= {
        "suspect": without_keys(str(asked["suspect"].get("url", ""))),
        "decision": result.get("decision", ""),
        "method": "twins",
    }
    return found | {
        "kind": "audit",
        "level": result.get("level", asked.get("level")),
        "p_value": result.get("p_value"),
    }


def _fits(row: dict[str, Any], wanted: Wanted) -> bool:
    text = wanted.text.lower()
    return (not text or text in row["suspect"].lower() or text in row["kit"]) and wanted.decision in (
        "",
        row["decision"] or row["state"],
    )


class Answers:
    """Files named by the SHA-256 of their content; the oldest are removed when there are too many."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder, self._most, self._lock = folder, most_bytes, threading.Lock()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._size = sum(f.stat().st_size for f in folder.iterdir())

    def put(self, sha256: str, content: bytes) -> None:
        path = self._folder / sha256
        try:
            with self._lock:
                if path.exists():
                    path.touch()
                    return
                partial = path.with_name(f".{sha256}")
                partial.write_bytes(content)
                partial.replace(path)
                self._size += len(content)
                if self._size > self._most:
                    self._remove_oldest()
        except OSError as error:
            raise NotWrittenError(f"answers cannot be written: {error.strerror}") from error

    def get(self, sha256: str) -> bytes | None:
        try:
            return (self._folder / sha256).read_bytes()
        except FileNotFoundError:
            return None

    def _remove_oldest(self) -> None:
        """Reduce to nine tenths, so that the folder is not scanned each time."""
        files = sorted((f.stat().st_mtime_ns, f.stat().st_size, f) for f in self._folder.iterdir())
        for _, size, file in files:
            if self._size <= 0.9 * self._most:
                return
            file.unlink(missing_ok=True)
            self._size -= size
