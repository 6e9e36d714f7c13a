"""A zip of a data folder, unpacked beside the system's temporary files for as long as it is read."""

import contextlib
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from zooaudit.data.words import guard, short
from zooaudit.errors import DataError

MOST_FILES = 5_000_000
RATIO = 200
"""Images hardly shrink; what shrinks more than so many times, and is large, is refused."""
LARGE = 2**30
UTF8 = 0x800


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """A folder with what the zip holds, gone afterwards; errors about it name the zip.

    Raises:
        DataError: it is damaged, encrypted, too large for the disk or a bomb, or holds links or names that lead elsewhere.
    """
    with tempfile.TemporaryDirectory(prefix="zooaudit-data-") as scratch:
        try:
            guard(path, "zip", lambda p: _unpack(p, Path(scratch)))
            yield Path(scratch)
        except DataError as error:
            raise DataError(str(error).replace(scratch, str(path))) from error


def _unpack(path: Path, target: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        _check(path, members, target)
        for member in members:
            archive.extract(member, target)  # checks every CRC


def _check(path: Path, members: list[zipfile.ZipInfo], target: Path) -> None:
    if len(members) > MOST_FILES:
        raise DataError(f"{path} holds {len(members):,} files; expected {MOST_FILES:,} at most: unpack it yourself")
    whole, packed = sum(m.file_size for m in members), max(path.stat().st_size, 1)
    free = shutil.disk_usage(target).free
    if whole > free * 0.9:
        raise DataError(
            f"{path} holds {whole / 2**30:,.1f} GiB, {target.parent} has {free / 2**30:,.1f} GiB free: free some, or set TMPDIR"
        )
    if whole > LARGE and whole > RATIO * packed:
        raise DataError(
            f"{path} holds {whole / 2**30:,.1f} GiB in {packed / 2**20:,.1f} MiB, as no images do; unpack it yourself if you trust it"
        )
    names = [m.filename for m in members]
    if len(set(names)) < len(names):
        raise DataError(f"{path} holds {short(sorted(n for n in set(names) if names.count(n) > 1), 3)} twice; expected every name once")
    for member in members:
        parts = member.filename.replace("\\", "/").split("/")
        if member.filename.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
            raise DataError(f"{path}: {member.filename} leads out of it; expected names within: pack it again")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise DataError(f"{path}: {member.filename} is a link; expected files: pack it with what it points to")
        if member.flag_bits & 1:
            raise DataError(f"{path}: {member.filename} is encrypted; unpack it yourself")
        if not member.flag_bits & UTF8 and not member.orig_filename.isascii():
            raise DataError(f"{path}: {member.filename} is a name in an unknown encoding; expected UTF-8: unpack it, and give the folder")
