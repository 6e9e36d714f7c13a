"""A zip of a data folder, unpacked into a temporary folder while it is read.

Image files that together are too large for memory are later read from the zip itself, each by its position.
"""

import contextlib
import hashlib
import os
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from zooaudit.data.decode import LARGEST
from zooaudit.data.messages import guard, short
from zooaudit.errors import DataError

MOST_FILES = 5_000_000
RATIO = 200
"""Images hardly compress; a large zip that grows by more than this factor is refused."""
LARGE = 2**30
UTF8 = 0x800


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """A temporary folder with the zip's content; errors about it name the zip.

    Raises:
        DataError: it is damaged, encrypted, too large for the disk or a zip bomb, or holds links or names
            that lead elsewhere.
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
        raise DataError(
            f"{path} holds {len(members):,} files; expected {MOST_FILES:,} at most: unpack it yourself"
        )
    whole, packed = sum(m.file_size for m in members), max(path.stat().st_size, 1)
    free = shutil.disk_usage(target).free
    if whole > free * 0.9:
        raise DataError(
            f"{path} holds {whole / 2**30:,.1f} GiB, {target.parent} has {free / 2**30:,.1f} GiB free: free"
            " some, or set TMPDIR"
        )
    if whole > LARGE and whole > RATIO * packed:
        raise DataError(
            f"{path} holds {whole / 2**30:,.1f} GiB in {packed / 2**20:,.1f} MiB, as no images do; unpack it"
            " yourself if you trust it"
        )
    names = [m.filename for m in members]
    if len(set(names)) < len(names):
        raise DataError(
            f"{path} holds {short(sorted(n for n in set(names) if names.count(n) > 1), 3)} twice; expected"
            " every name once"
        )
    for member in members:
        parts = member.filename.replace("\\", "/").split("/")
        if member.filename.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
            raise DataError(
                f"{path}: {member.filename} leads out of it; expected names within: pack it again"
            )
        if stat.S_ISLNK(member.external_attr >> 16):
            raise DataError(
                f"{path}: {member.filename} is a link; expected files: pack it with what it points to"
            )
        if member.flag_bits & 1:
            raise DataError(f"{path}: {member.filename} is encrypted; unpack it yourself")
        if not member.flag_bits & UTF8 and not member.orig_filename.isascii():
            raise DataError(
                f"{path}: {member.filename} is a name in an unknown encoding; expected UTF-8: unpack it, and"
                " give the folder"
            )


class _Member(NamedTuple):
    name: str
    start: int
    packed: int
    size: int
    sum: int
    method: int


LOCAL = struct.Struct("<4s22xHH")
"""What precedes a member's content: a signature, and at its end the lengths of name and extra field."""


class Zipped:
    """Image files in a zip by number, an :class:`~zooaudit.data.encoded.Encoded`.

    Args:
        path: the zip.
        names: of the members, in order.

    Raises:
        DataError: a member is missing, or its compression does not allow reading it by position.
    """

    def __init__(self, path: Path, names: list[str]) -> None:
        self._path = str(path)
        with zipfile.ZipFile(path) as archive:
            members = {plain_name(member.filename): member for member in archive.infolist()}
            self._members = tuple(_place(path, members, name) for name in names)

    @property
    def paths(self) -> tuple[str, ...]:
        return (self._path,)

    @property
    def key(self) -> str:
        return hashlib.sha256(repr(self._members).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._members)

    def read(self, index: int) -> tuple[bytes, str]:
        """The content of one image, and its name for errors."""
        member = self._members[index]
        where = f"{self._path}/{member.name}"
        if member.size > LARGEST:
            raise DataError(
                f"{where}: {member.size / 2**20:,.0f} MiB; expected an image of at most"
                f" {LARGEST / 2**20:g} MiB"
            )
        try:
            raw = _content(self._path, member)
        except OSError as error:
            raise DataError(
                f"{self._path} cannot be read any more ({error.strerror}); expected the data to stay as"
                " it was"
            ) from error
        except (struct.error, zlib.error):
            raw = b""
        if len(raw) != member.size or zlib.crc32(raw) != member.sum:
            raise DataError(
                f"{where}: it is damaged, or the zip has changed since it was first read; expected the data"
                " to stay as it was"
            )
        return raw, where


def plain_name(name: str) -> str:
    """A member's name after unpacking."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _place(path: Path, members: dict[str, zipfile.ZipInfo], name: str) -> _Member:
    found = members[name]
    if found.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(
            f"{path}: {name} is packed by method {found.compress_type}, and the images are too large for"
            " memory together; expected members that are stored or deflated: unpack it, and give the folder"
        )
    return _Member(
        name, found.header_offset, found.compress_size, found.file_size, found.CRC, found.compress_type
    )


def _content(path: str, member: _Member) -> bytes:
    with open(path, "rb") as file:
        file.seek(member.start)
        mark, name, extra = LOCAL.unpack(file.read(LOCAL.size))
        if mark != b"PK\3\4":
            return b""
        file.seek(name + extra, os.SEEK_CUR)
        raw = file.read(member.packed)
    if member.method == zipfile.ZIP_STORED:
        return raw
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(raw, member.size + 1)
