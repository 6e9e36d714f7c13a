"""The format number of our SQLite files, in the field that SQLite reserves for applications."""

import sqlite3

from zooaudit import __version__
from zooaudit.errors import FormatError


def claim_format(db: sqlite3.Connection, expected: int, what: str) -> None:
    """Write ``expected`` into a file of this version or an older one, after its tables were brought to this
    version.

    Raises:
        FormatError: a newer zooaudit wrote the file.
    """
    (found,) = db.execute("PRAGMA user_version").fetchone()
    if found > expected:
        raise FormatError(
            f"{what} has format {found}; this zooaudit ({__version__}) reads formats up to {expected}",
            "upgrade zooaudit",
        )
    if found < expected:
        db.execute(f"PRAGMA user_version = {int(expected)}")
