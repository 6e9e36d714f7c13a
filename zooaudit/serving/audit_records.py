"""The service's list of audits: requests, progress, results, and what each key spent. A SQLite file, so that
it survives the service."""

import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zooaudit.databases import claim_format
from zooaudit.errors import NotWrittenError, StoreError
from zooaudit.suspects.addresses import without_keys

QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"
OPEN = (QUEUED, RUNNING)
FORMAT = 2
"""2: results have the field ``decision``, which was ``call``."""
TABLES = """
PRAGMA secure_delete = ON; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS audits (
    id TEXT PRIMARY KEY, made REAL NOT NULL, changed REAL NOT NULL, by TEXT NOT NULL,
    kit TEXT NOT NULL, asked TEXT NOT NULL,
    state TEXT NOT NULL, progress TEXT NOT NULL, result TEXT, error TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS spent (
    by TEXT NOT NULL, host TEXT NOT NULL, hour INTEGER NOT NULL, queries INTEGER NOT NULL,
    seconds REAL NOT NULL,
    PRIMARY KEY (by, host, hour)
);
CREATE TABLE IF NOT EXISTS once (
    by TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL, audit TEXT NOT NULL, made REAL NOT NULL,
    PRIMARY KEY (by, key)
);
"""
ADD_STARTS = "ALTER TABLE audits ADD COLUMN starts INTEGER NOT NULL DEFAULT 0"
RENAME_CALL = """UPDATE audits SET result = replace(result, '"call":', '"decision":')"""
COLUMNS = ("id", "made", "changed", "by", "kit", "asked", "state", "progress", "result", "error", "starts")
JSONS = ("asked", "progress", "result")
MOST_LISTED = 200
ONCE_S = 24 * 3600.0
"""How long an Idempotency-Key is remembered."""
HOUR_S, DAY = 3600, 24
KEPT = ("url", "protocol", "batch", "classes", "columns", "answers")
"""Settings of a suspect that are kept once its audit has ended; others may contain its key."""


class AuditRecords:
    """For many threads of one process. Raises ``NotWrittenError`` if the disk is full.

    Args:
        path: created if missing.

    Raises:
        StoreError: it is not a file of ours.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)  # the file contains suspects' keys
        path.parent.chmod(0o700)
        self._lock = threading.Lock()
        try:
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.executescript(TABLES)
            if "starts" not in [row[1] for row in self._db.execute("PRAGMA table_info(audits)")]:
                self._db.execute(ADD_STARTS)
            if self._db.execute("PRAGMA user_version").fetchone()[0] < FORMAT:
                self._db.execute(RENAME_CALL)
            claim_format(self._db, FORMAT, f"the list of audits {path}")
            self._forget()
        except sqlite3.DatabaseError as error:
            raise StoreError(f"the list of audits {path} cannot be used: {error}") from error

    def enter(
        self, owner: str, kit: str, asked: dict[str, Any], request_key: str = "", body: str = ""
    ) -> str:
        """Enter a new audit, queued; returns its id.

        Args:
            request_key, body: the caller's key for this request, and the digest of the body; see ``known``.
        """
        id_, now = uuid.uuid4().hex[:16], time.time()
        row = (id_, now, now, owner, kit, json.dumps(asked), QUEUED, "{}", None, "", 0)
        with self._writing():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.execute(
                    f"INSERT INTO audits ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(row))})", row
                )
                self._db.execute("DELETE FROM once WHERE made < ?", (now - ONCE_S,))
                if request_key:
                    self._db.execute(
                        "INSERT INTO once VALUES (?, ?, ?, ?, ?)", (owner, request_key, body, id_, now)
                    )
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        return id_

    def known(self, owner: str, request_key: str) -> tuple[str, str] | None:
        """The audit that a caller requested with this Idempotency-Key within ``ONCE_S``, and the digest of
        its body; or None."""
        with self._lock:
            found = self._db.execute(
                "SELECT audit, body FROM once WHERE by = ? AND key = ? AND made >= ?",
                (owner, request_key, time.time() - ONCE_S),
            ).fetchone()
        return (str(found[0]), str(found[1])) if found else None

    def note(self, id_: str, **changes: Any) -> None:
        """Change an audit's ``state``, ``progress``, ``result`` or ``error``; an audit that has ended stays
        as it is."""
        ended = changes.get("state") not in (None, *OPEN)
        if ended:
            changes["asked"] = _without_secrets((self.get(id_) or {}).get("asked", {}))
        plain = {k: json.dumps(v) if k in JSONS else v for k, v in changes.items()} | {"changed": time.time()}
        names = ", ".join(f"{k} = ?" for k in plain)
        with self._writing():
            self._db.execute(
                f"UPDATE audits SET {names} WHERE id = ? AND state IN (?, ?)", (*plain.values(), id_, *OPEN)
            )
            if ended:
                self._forget()

    def begin(self, id_: str) -> int:
        """Note that an audit starts. Returns how many starts it had since its last new answer, including this
        one; 0 if it has ended. Written before anything is done, so that a start that ends the process
        counts."""
        with self._writing():
            self._db.execute(
                "UPDATE audits SET state = ?, starts = starts + 1, changed = ? WHERE id = ? AND state IN"
                " (?, ?)",
                (RUNNING, time.time(), id_, *OPEN),
            )
        found = self.get(id_)
        return int(found["starts"]) if found and found["state"] == RUNNING else 0

    def got_on(self, id_: str) -> None:
        """Note that an audit received a new answer."""
        with self._writing():
            self._db.execute("UPDATE audits SET starts = 0 WHERE id = ?", (id_,))

    def go_on(self, id_: str, **changes: Any) -> None:
        """Change parts of an audit's progress; None removes one."""
        progress = ((self.get(id_) or {}).get("progress") or {}) | changes
        self.note(id_, progress={k: v for k, v in progress.items() if v is not None})

    def wait(self, id_: str, why: str, for_: str = "") -> None:
        """Queue an audit again, through no fault of its own; the reason is "" if the service itself ends.
        ``for_``: the audit that it waits for."""
        progress = ((self.get(id_) or {}).get("progress") or {}) | ({"waiting": why} if why else {})
        progress |= {"waiting_for": for_} if for_ else {}
        progress.pop("trouble", None)
        with self._writing():
            self._db.execute(
                "UPDATE audits SET state = ?, starts = max(starts - 1, 0), progress = ?, changed = ? WHERE id"
                " = ? AND state IN (?, ?)",
                (QUEUED, json.dumps(progress), time.time(), id_, *OPEN),
            )

    def spend(self, owner: str, host: str, queries: int, seconds: float) -> None:
        """Add what a key's audits were charged and how long they ran; ``queries`` is negative for refused
        ones."""
        hour = int(time.time() // HOUR_S)
        with self._writing():
            self._db.execute("DELETE FROM spent WHERE hour < ?", (hour - 2 * DAY,))
            self._db.execute(
                "INSERT INTO spent VALUES (?, ?, ?, ?, ?) ON CONFLICT (by, host, hour) DO UPDATE SET "
                "queries = queries + excluded.queries, seconds = seconds + excluded.seconds",
                (owner, host, hour, queries, seconds),
            )

    def spent(self, owner: str = "", host: str = "") -> tuple[int, float]:
        """Queries and seconds of the last 24 hours, for a key or for a host."""
        column, value = ("by", owner) if owner else ("host", host)
        since = int(time.time() // HOUR_S) - DAY
        with self._lock:
            row = self._db.execute(
                f"SELECT coalesce(sum(queries), 0), coalesce(sum(seconds), 0) FROM spent WHERE {column} = ?"
                " AND hour > ?",
                (value, since),
            ).fetchone()
        return int(row[0]), float(row[1])

    def get(self, id_: str) -> dict[str, Any] | None:
        """One audit, or None."""
        found = self._rows("WHERE id = ?", id_)
        return found[0] if found else None

    def listed(
        self, name: str | None, state: str = "", limit: int = MOST_LISTED, after: Sequence[Any] | None = None
    ) -> list[dict[str, Any]]:
        """Audits of one caller or of all, at most ``limit``: open ones first, then the newest first.

        Args:
            state: only audits in this state.
            after: ``place`` of the last known audit; lists those that follow. One that ends meanwhile may be
                listed twice; none is left out.
        """
        where: list[tuple[str, tuple[Any, ...]]] = [("TRUE", ())]
        where += [("by = ?", (name,))] if name is not None else []
        where += [("state = ?", (state,))] if state else []
        where += [("(state IN (?, ?), made, id) < (?, ?, ?)", (*OPEN, *after))] if after is not None else []
        values = [value for _, of in where for value in of]
        rest = (
            f"WHERE {' AND '.join(one for one, _ in where)} ORDER BY state IN (?, ?) DESC, made DESC, id DESC"
            " LIMIT ?"
        )
        return self._rows(rest, *values, *OPEN, limit)

    @staticmethod
    def place(audit: Mapping[str, Any]) -> tuple[int, float, str]:
        """The place of an audit in the list, which is in descending order."""
        return int(audit["state"] in OPEN), float(audit["made"]), str(audit["id"])

    def before(self, owner: str | None, made: float, id_: str, limit: int) -> list[dict[str, Any]]:
        """Audits requested before the given one, of one caller or of all, the newest first."""
        mine, of = ("", ()) if owner is None else ("AND by = ? ", (owner,))
        return self._rows(
            f"WHERE (made, id) < (?, ?) {mine}ORDER BY made DESC, id DESC LIMIT {limit}", made, id_, *of
        )

    def open(self, owner: str = "") -> list[dict[str, Any]]:
        """Audits that are queued or running, the oldest first; of one caller, or of all."""
        return [a for a in self._rows("WHERE state IN (?, ?) ORDER BY made", *OPEN) if owner in ("", a["by"])]

    def _rows(self, rest: str, *values: Any) -> list[dict[str, Any]]:
        with self._lock:
            rows = self._db.execute(f"SELECT {', '.join(COLUMNS)} FROM audits {rest}", values).fetchall()
        found = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
        return [{k: json.loads(v) if k in JSONS and v else v for k, v in one.items()} for one in found]

    def _forget(self) -> None:
        """Empty the write-ahead log, which may still have suspects' keys that were removed. Freed space in
        the file itself is overwritten by ``secure_delete``."""
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.OperationalError as error:
                raise NotWrittenError(f"the list of audits cannot be written: {error}") from error

    def close(self) -> None:
        with self._lock:
            self._db.close()


def _without_secrets(asked: dict[str, Any]) -> dict[str, Any]:
    """The request of an audit that has ended, without headers, request, form and address, which may contain a
    suspect's key that is no longer needed."""
    suspect = {k: v for k, v in asked.get("suspect", {}).items() if k in KEPT}
    return asked | {"suspect": suspect | {"url": without_keys(str(suspect.get("url", "")))}}
