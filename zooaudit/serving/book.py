"""The book of audits that the service was given: what was asked for, how far it is, what came of it. A SQLite file, so that it outlives
the service."""

import json
import sqlite3
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from zooaudit.errors import StoreError

QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"
OPEN = (QUEUED, RUNNING)
TABLE = """
CREATE TABLE IF NOT EXISTS audits (
    id TEXT PRIMARY KEY, made REAL NOT NULL, changed REAL NOT NULL, by TEXT NOT NULL, kit TEXT NOT NULL, asked TEXT NOT NULL,
    state TEXT NOT NULL, progress TEXT NOT NULL, result TEXT, error TEXT NOT NULL
)
"""
COLUMNS = ("id", "made", "changed", "by", "kit", "asked", "state", "progress", "result", "error")
JSONS = ("asked", "progress", "result")
MOST_LISTED = 200


class Book:
    """For many threads of one process.

    Args:
        path: made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)  # suspects' keys are in it
        path.parent.chmod(0o700)
        self._lock = threading.Lock()
        try:
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.executescript(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; {TABLE}")
        except sqlite3.DatabaseError as error:
            raise StoreError(f"the book of audits {path} cannot be used: {error}") from error

    def enter(self, by: str, kit: str, asked: dict[str, Any]) -> str:
        """A new audit, queued; returns its id."""
        id_, now = uuid.uuid4().hex[:16], time.time()
        row = (id_, now, now, by, kit, json.dumps(asked), QUEUED, "{}", None, "")
        with self._lock:
            self._db.execute(f"INSERT INTO audits VALUES ({', '.join('?' * len(row))})", row)
        return id_

    def note(self, id_: str, **changes: Any) -> None:
        """Change an audit's ``state``, ``progress``, ``result`` or ``error``; what has ended stays as it is."""
        if changes.get("state") not in (None, *OPEN):
            changes["asked"] = _without_secrets((self.get(id_) or {}).get("asked", {}))
        plain = {k: json.dumps(v) if k in JSONS else v for k, v in changes.items()} | {"changed": time.time()}
        names = ", ".join(f"{k} = ?" for k in plain)
        with self._lock:
            self._db.execute(f"UPDATE audits SET {names} WHERE id = ? AND state IN (?, ?)", (*plain.values(), id_, *OPEN))

    def get(self, id_: str) -> dict[str, Any] | None:
        """One audit, or None."""
        found = self._rows("WHERE id = ?", id_)
        return found[0] if found else None

    def by(self, name: str | None) -> list[dict[str, Any]]:
        """The last ``MOST_LISTED`` audits, the newest first, of one caller or of all."""
        where, of = ("", ()) if name is None else ("WHERE by = ? ", (name,))
        return self._rows(f"{where}ORDER BY made DESC LIMIT {MOST_LISTED}", *of)

    def open(self) -> list[str]:
        """Ids of those that are queued or running, the oldest first."""
        return [a["id"] for a in self._rows("WHERE state IN (?, ?) ORDER BY made", *OPEN)]

    def _rows(self, rest: str, *values: str) -> list[dict[str, Any]]:
        with self._lock:
            rows = self._db.execute(f"SELECT {', '.join(COLUMNS)} FROM audits {rest}", values).fetchall()
        found = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
        return [{k: json.loads(v) if k in JSONS and v else v for k, v in one.items()} for one in found]

    def close(self) -> None:
        self._db.close()


def _without_secrets(asked: dict[str, Any]) -> dict[str, Any]:
    """What an audit that has ended was asked for: headers may hold a suspect's key, which nobody needs any more."""
    return asked | {"suspect": {k: v for k, v in asked.get("suspect", {}).items() if k != "headers"}}
