"""The format number of a SQLite file of ours, in the field that SQLite keeps for its user."""

import sqlite3

from zooaudit import __version__
from zooaudit.errors import FormatError


def claim_format(db: sqlite3.Connection, expected: int, what: str) -> None:
    """Write ``expected`` into a file of this version or an older one, once its tables are
    as this version has them.

    Raises:
        FormatError: a newer zooaudit wrote it.
    """
    (found,) = db.execute("PRAGMA user_version").fetchone()
    if found > expected:
        raise FormatError(
            f"{what} has format {found}; this zooaudit ({__version__}) reads formats up to {expected}",
            "upgrade zooaudit",
        )
    if found < expected:
        db.execute(f"PRAGMA user_version = {int(expected)}")
