"""Check the stated size of a stranger's zip before it is read or even listed."""

import os
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path

END, END_BYTES = b"PK\x05\x06", 22
LONG_LOCATOR, LOCATOR_BYTES, LONG_END_BYTES = b"PK\x06\x07", 20, 56
ENTRY_BYTES = 46 + 512
"""Bytes of an entry in the list of members with a long name."""
RATIO, SMALL = 50, 2**26
"""Weights hardly compress; a zip that is not small and grows by more than this factor is refused."""


def check_listing(path: Path, most_members: int) -> None:
    """Refuse a zip whose list of members is too long for this many: Python makes an object of each.

    Raises:
        ValueError: says what was found and what was expected.
    """
    size = _listing_bytes(path)
    if size > most_members * ENTRY_BYTES:
        raise ValueError(f"its list of members has {size:,} bytes; expected {most_members:,} members at most")


def check_members(path: Path, members: Sequence[zipfile.ZipInfo], most_members: int, most_bytes: int) -> None:
    """Refuse a zip with too many members, a repeated one, or members that together unpack to too much.

    Raises:
        ValueError: says what was found and what was expected.
    """
    if len(members) > most_members:
        raise ValueError(f"it has {len(members):,} members; expected {most_members:,} at most")
    names = {m.filename for m in members}
    if len(names) < len(members):
        raise ValueError("it has two members of one name; expected every name once")
    whole, packed = sum(m.file_size for m in members), max(path.stat().st_size, 1)
    if whole > most_bytes:
        raise ValueError(f"it unpacks to {whole:,} bytes; expected {most_bytes:,} at most")
    if whole > SMALL and whole > RATIO * packed:
        raise ValueError(
            f"it unpacks from {packed:,} to {whole:,} bytes; expected {RATIO} times as much at most"
        )


def _listing_bytes(path: Path) -> int:
    """The larger of the lengths that the zip states at its end, in its short and its long form."""
    with path.open("rb") as file:
        length = file.seek(0, os.SEEK_END)
        start = max(length - END_BYTES - 65535 - LOCATOR_BYTES, 0)
        file.seek(start)
        tail = file.read()
        at = tail.rfind(END)
        found = [0]
        while at >= 0:  # the reader may use any of several
            if at + END_BYTES <= len(tail):
                found.append(struct.unpack_from("<I", tail, at + 12)[0] % 0xFFFFFFFF)
            locator = at - LOCATOR_BYTES
            if locator >= 0 and tail[locator : locator + 4] == LONG_LOCATOR:
                place = struct.unpack_from("<Q", tail, locator + 8)[0]
                for offset in (place, start + locator - LONG_END_BYTES):
                    if 0 <= offset < length:
                        file.seek(offset)
                        record = file.read(LONG_END_BYTES)
                        if len(record) == LONG_END_BYTES and record[:4] == b"PK\x06\x06":
                            found.append(struct.unpack_from("<Q", record, 40)[0])
            at = tail.rfind(END, 0, at)
    return min(max(found), length)
