"""A suspect's questions and answers, written to disk as they come: after an interruption no answered image is
asked again, and the budget holds over all runs."""

import contextlib
import errno
import fcntl
import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zooaudit.databases import claim_format
from zooaudit.errors import BusyError, InputError, NotWrittenError, SuspectError
from zooaudit.suspects.addresses import without_keys
from zooaudit.suspects.naming import Form

FORMAT = 1
TABLES = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS about (told TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS answers (image TEXT PRIMARY KEY, row BLOB NOT NULL, form TEXT NOT NULL, at REAL);
CREATE TABLE IF NOT EXISTS requests (
    number INTEGER PRIMARY KEY, images INTEGER NOT NULL, outcome TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS seen (told TEXT PRIMARY KEY);
"""
SENT, ANSWERED, REFUSED, LOST = "sent", "answered", "refused", "lost"
"""Outcomes of a request. A request that was sent or lost may have been answered, and paid for, so it counts.
A refused one does not."""

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
PASSING = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY)
ADD_TIME = "ALTER TABLE answers ADD COLUMN at REAL"
"""Upgrade of older ledgers, which lack the times of answers."""
Counted = Callable[[int], None]


def uncounted(images: int) -> None:
    """The default: count nothing."""


def nothing() -> None:
    """The default: report nothing."""


def name_of(image: Tensor) -> str:
    """SHA-256 of a float image, as little-endian float32."""
    return hashlib.sha256(image.cpu().contiguous().numpy().astype("<f4").tobytes()).hexdigest()


class Ledger:
    """The ledger of one suspect, in a SQLite file; for many threads of one process at a time. What was
    written survives kill -9; a power failure may lose the last moments.

    Args:
        path: created if missing.
        about: the kit, address and settings that the answers depend on. A ledger of others is refused.
        budget: the most images that may be charged, over all runs.
        counted: called with the number of images before they are charged; may raise to stop them. Called with
            a negative number for images that were refused.
        got_on: called after each answered request.
        called: the ledger's name in errors, if the reader must not see its path; "" for the path.

    Raises:
        InputError: the file is not a ledger, or is another suspect's.
        BusyError: another process is asking this suspect.
        FormatError: a newer zooaudit wrote it.
    """

    def __init__(
        self,
        path: Path,
        about: Mapping[str, Any],
        budget: int,
        counted: Counted = uncounted,
        called: str = "",
        got_on: Callable[[], None] = nothing,
    ) -> None:
        self.path, self.budget, self._counted = path, budget, counted
        self._got_on = got_on
        self._called = called or f"the ledger {path}"
        self._else, self._more = (
            ("", "") if called else ("; give another --ledger", "raise --budget to go on")
        )
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._held = path.with_name(path.name + ".lock").open("a")
        except OSError as error:
            if error.errno in NO_ROOM:
                raise NotWrittenError(f"{self._called} cannot be written: {error.strerror}") from error
            raise InputError(f"{self._called} cannot be written ({error.strerror}){self._else}") from error
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._held.close()
            raise BusyError(f"another audit is using {self._called}; wait for it, or stop it") from error
        opened: sqlite3.Connection | None = None
        try:
            self._db = opened = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.executescript(TABLES)
            if "at" not in [row[1] for row in self._db.execute("PRAGMA table_info(answers)")]:
                self._db.execute(ADD_TIME)
            claim_format(opened, FORMAT, self._called)
            self._of(json.dumps(about, sort_keys=True))
            # These were in flight when a run ended.
            self._db.execute("UPDATE requests SET outcome = ? WHERE outcome = ?", (LOST, SENT))
        except BaseException as error:
            if opened:
                opened.close()
            self._held.close()
            if isinstance(error, sqlite3.DatabaseError):
                raise _unusable(error, f"{called or path} is not a ledger ({error}){self._else}") from error
            raise

    def _of(self, about: str) -> None:
        (known,) = self._db.execute("SELECT max(told) FROM about").fetchone()
        if known is None:
            self._db.execute("INSERT INTO about VALUES (?)", (about,))
        elif known != about:
            raise InputError(f"{self._called} is for {without_keys(known)}; expected {about}{self._else}")

    def close(self) -> None:
        self._db.close()
        self._held.close()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def spent(self) -> int:
        """Images charged so far."""
        with self._lock:
            return self._spent()

    def _spent(self) -> int:
        return int(
            self._db.execute(
                "SELECT coalesce(sum(images), 0) FROM requests WHERE outcome != ?", (REFUSED,)
            ).fetchone()[0]
        )

    @property
    def lost(self) -> int:
        """Images that were charged without an answer."""
        with self._lock:
            return int(
                self._db.execute(
                    "SELECT coalesce(sum(images), 0) FROM requests WHERE outcome IN (?, ?)", (SENT, LOST)
                ).fetchone()[0]
            )

    def saw(self, notes: Sequence[str]) -> bool:
        """Store the suspect's description of itself, a line each. Returns whether an earlier run saw another
        one: then its answers were read in several ways, and ``seen`` lists all descriptions."""
        with self._lock, self._writing(), self._transaction():
            before = self._seen()
            self._db.executemany("INSERT OR IGNORE INTO seen VALUES (?)", [(line,) for line in notes])
            return bool(before) and self._seen() != before

    @property
    def seen(self) -> tuple[str, ...]:
        """All lines of the suspect's descriptions of itself, in the order in which they came."""
        with self._lock:
            return self._seen()

    def _seen(self) -> tuple[str, ...]:
        return tuple(str(row[0]) for row in self._db.execute("SELECT told FROM seen ORDER BY rowid"))

    def known(self, names: list[str]) -> dict[str, tuple[Tensor, Form]]:
        """Stored answers: a row float32 ``[K]``, and its form, as ``Naming`` reports it."""
        found = {}
        with self._lock:
            for name in names:
                if row := self._db.execute(
                    "SELECT row, form FROM answers WHERE image = ?", (name,)
                ).fetchone():
                    found[name] = torch.from_numpy(np.frombuffer(row[0], "<f4").astype(np.float32)), row[1]
        return found

    def came(self, names: Iterable[str]) -> list[float | None]:
        """When the answers to these questions came, seconds since 1970; None if unknown."""
        with self._lock:
            rows = (
                self._db.execute("SELECT at FROM answers WHERE image = ?", (name,)).fetchone()
                for name in names
            )
            return [row[0] for row in rows if row]

    def charge(self, images: int) -> int:
        """Count a request's images before it is sent. Returns the request's number.

        Raises:
            SuspectError: the budget does not cover them.
            NotWrittenError: the ledger cannot be written.
        """
        with self._lock, self._writing():
            spent = self._spent()
            if spent + images > self.budget:
                (answered,) = self._db.execute("SELECT count(*) FROM answers").fetchone()
                raise SuspectError(
                    f"the budget is {self.budget} queries, {spent} are spent ({answered} answered, the others"
                    f" lost on the way) and {images} more are needed;"
                    f" {self._more or 'ask for a larger budget to go on'}"
                )
            self._counted(images)
            number = self._db.execute(
                "INSERT INTO requests (images, outcome) VALUES (?, ?)", (images, SENT)
            ).lastrowid
            assert number is not None
            return number

    def answered(self, number: int, names: list[str], rows: Tensor, form: Form) -> None:
        """Store a request's answers."""
        now = time.time()
        packed = [(n, r.numpy().astype("<f4").tobytes(), form, now) for n, r in zip(names, rows, strict=True)]
        with self._lock, self._writing(), self._transaction():
            self._db.executemany(
                "INSERT OR REPLACE INTO answers (image, row, form, at) VALUES (?, ?, ?, ?)", packed
            )
            self._db.execute("UPDATE requests SET outcome = ? WHERE number = ?", (ANSWERED, number))
        self._got_on()

    def not_answered(self, number: int, outcome: str) -> None:
        """Mark a request as ``REFUSED`` or ``LOST``."""
        with self._lock, self._writing():
            self._db.execute("UPDATE requests SET outcome = ? WHERE number = ?", (outcome, number))
            if outcome == REFUSED:
                (images,) = self._db.execute(
                    "SELECT images FROM requests WHERE number = ?", (number,)
                ).fetchone()
                self._counted(-images)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise NotWrittenError(
                f"{self._called} cannot be written: {error}; answers so far are kept"
            ) from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN")
        try:
            yield
        except BaseException:
            with contextlib.suppress(sqlite3.OperationalError):  # a full disk has already ended it
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _unusable(error: sqlite3.DatabaseError, otherwise: str) -> Exception:
    """A full or unreadable disk is not damage to the file, so it gets another error."""
    passing = isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF in PASSING
    return NotWrittenError(f"a ledger cannot be written: {error}") if passing else InputError(otherwise)
