"""WebDataset: tar files whose members ``key.jpg``, ``key.cls`` (or ``key.json``) are one sample.

Most readers take a tar file that is cut off between two members for complete; here its end must be present.
"""

import hashlib
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from zooaudit.data.classes import Targets
from zooaudit.data.columns import LABEL_NAMES, as_labels
from zooaudit.data.decode import LARGEST
from zooaudit.data.folders import IMAGE_SUFFIXES, Undecoded, of_the_system
from zooaudit.data.messages import guard, short
from zooaudit.data.reading import Reading
from zooaudit.data.reading_notes import OTHER, SYSTEM, Met
from zooaudit.errors import DataError

LARGEST_LABEL = 2**20
BLOCK = 512


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a tar, with the place of its bytes."""

    path: Path
    name: str
    start: int
    size: int

    def __str__(self) -> str:
        return f"{self.path}: {self.name}"


class Members:
    """The members' contents by number, an :class:`~zooaudit.data.encoded.Encoded`."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = tuple(members)

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(str(member.path) for member in self._members))

    @property
    def key(self) -> str:
        sha = hashlib.sha256()
        for member in self._members:
            sha.update(f"{member} {member.start} {member.size}\n".encode())
        return sha.hexdigest()

    def __len__(self) -> int:
        return len(self._members)

    def read(self, index: int) -> tuple[bytes, str]:
        """The content of one image, and its name for errors."""
        member = self._members[index]
        try:
            with member.path.open("rb") as file:
                return _bytes(member, file), str(member)
        except OSError as error:
            raise DataError(
                f"{member.path} cannot be read any more ({error.strerror}); expected the data to stay as"
                " it was"
            ) from error


Sample = dict[str, Member]
"""Members of one sample, by what follows the first dot of their names, in lower case."""


def read_tars(paths: list[Path], reading: Reading, met: Met) -> Undecoded:
    """The samples of one part, in the order of the files.

    Raises:
        DataError: a file is cut off; a sample lacks image or label, has several, or occurs twice.
    """
    samples = _samples(paths, met)
    images = [_image(key, sample, reading) for key, sample in samples.items()]
    texts = [_label(key, sample, reading, met) for key, sample in samples.items()]
    return Undecoded(
        str(paths[0]), lambda: _encoded(images), len(images), Targets(as_labels(texts)), Members(images)
    )


def images_of_tars(paths: list[Path], reading: Reading, met: Met) -> Iterator[tuple[bytes, str]]:
    """Only the images, without labels."""
    return _encoded([_image(key, sample, reading) for key, sample in _samples(paths, met).items()])


def _encoded(images: list[Member]) -> Iterator[tuple[bytes, str]]:
    current: Path | None = None
    file: BinaryIO | None = None
    try:
        for member in images:
            if member.path != current:
                if file:
                    file.close()
                file, current = member.path.open("rb"), member.path
            assert file is not None
            yield _bytes(member, file), str(member)
    finally:
        if file:
            file.close()


def _bytes(member: Member, file: BinaryIO) -> bytes:
    if member.size > LARGEST:
        raise DataError(
            f"{member}: {member.size / 2**20:,.0f} MiB; expected an image of at most {LARGEST // 2**20} MiB"
        )
    file.seek(member.start)
    raw = file.read(member.size)
    if len(raw) != member.size:
        raise DataError(f"{member}: the file is cut short; fetch it again")
    return raw


def _samples(paths: list[Path], met: Met) -> dict[str, Sample]:
    """Samples by key, over all files."""
    samples: dict[str, Sample] = {}
    for path in paths:
        for member in guard(path, "tar", _members):
            folder, _, base = member.name.rpartition("/")
            stem, dot, field = base.partition(".")
            if (
                any(of_the_system(part) for part in (folder + "/" + base).split("/") if part not in ("", "."))
                or not stem
            ):
                met.skip(SYSTEM, str(member))
            elif not dot:
                met.skip(OTHER, str(member))
            else:
                sample = samples.setdefault(f"{folder}/{stem}", {})
                if field.lower() in sample:
                    raise DataError(
                        f"{member} comes twice: also {sample[field.lower()]}; expected every key once"
                    )
                sample[field.lower()] = member
    if not samples:
        raise DataError(f"{paths[0]} holds no samples; expected key.jpg and key.cls (or key.json) for each")
    return samples


def _members(path: Path) -> list[Member]:
    """The regular files of a tar, whose end must be present."""
    if _start(path) == b"\x1f\x8b":
        raise DataError(f"{path} is compressed; expected a plain tar: gunzip it")
    found = []
    with tarfile.open(path, "r:") as archive:
        for member in archive:
            if member.isreg() and not member.issparse():
                found.append(Member(path, member.name, member.offset_data, member.size))
            elif not member.isdir():
                raise DataError(
                    f"{path}: {member.name} is a link or not a regular file; expected only files and folders:"
                    " pack it again"
                )
        end = archive.offset
    _check_end(path, end)
    return found


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(2)


def _check_end(path: Path, end: int) -> None:
    """Check that only zeros follow the last member, at least one block of them."""
    with path.open("rb") as file:
        file.seek(end)
        if len(file.read(BLOCK)) < BLOCK:
            raise DataError(f"{path} has no end: the file is cut short, fetch it again")
        file.seek(end)
        while block := file.read(2**20):
            if block.strip(b"\0"):
                raise DataError(
                    f"{path} goes on after its end, or is damaged there; expected one tar: fetch or write it"
                    " again"
                )


def _image(key: str, sample: Sample, reading: Reading) -> Member:
    if reading.image_column:
        likely = [name for name in (reading.image_column.lower().lstrip("."),) if name in sample]
    else:
        likely = [name for name in sample if f".{name}" in IMAGE_SUFFIXES]
        likely = likely or [name for name in sample if "." + name.rpartition(".")[2] in IMAGE_SUFFIXES]
    if len(likely) != 1:
        where = str(next(iter(sample.values())).path)
        raise DataError(
            f"{where}: sample {key.lstrip('/')} has {short(sample)}, {len(likely) or 'none'} of them images;"
            " expected one image: --image-column ENDING, for example jpg"
        )
    return sample[likely[0]]


def _label(key: str, sample: Sample, reading: Reading, met: Met) -> str:
    """The sample's class: ``cls``, or a field of ``json``, or the value of ``--label-column``: an extension,
    or ``json.FIELD``."""
    asked = reading.label_column.lower().lstrip(".")
    ending, _, field = asked.partition(".") if asked.startswith("json") else (asked, "", "")
    ending = ending or next((name for name in ("cls", "cls.txt", "label", "json") if name in sample), "")
    if ending not in sample:
        where = str(next(iter(sample.values())).path)
        expected = ending or "cls (or json)"
        raise DataError(
            f"{where}: sample {key.lstrip('/')} has {short(sample)}; expected {expected} for its class:"
            " --label-column ENDING"
        )
    member = sample[ending]
    if member.size > LARGEST_LABEL:
        raise DataError(f"{member}: {member.size:,} bytes; expected the class of one image")
    with member.path.open("rb") as file:
        text = guard(member.path, "UTF-8", lambda _: _bytes(member, file).decode("utf-8-sig"))
    found = (
        _from_json(text, member, reading.label_column.partition(".")[2] if field else "", met)
        if ending == "json"
        else text.strip()
    )
    if not found:
        raise DataError(f"{member} is empty; expected the class of one image")
    return found


def _from_json(text: str, member: Member, field: str, met: Met) -> str:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{member}: not readable JSON; expected an object with the class of one image"
        ) from error
    if isinstance(found, dict):
        names = [field] if field else [name for name in LABEL_NAMES if name in found]
        if len(names) > 1:
            met.note(
                f"labels are the field {names[0]} of each sample's json; there is also {short(names[1:])}:"
                " --label-column json.FIELD"
            )
        found = found.get(names[0]) if names else None
    if isinstance(found, bool) or not isinstance(found, (str, int)):
        raise DataError(
            f"{member}: expected a field {short(LABEL_NAMES)} with a number or a name: --label-column"
            " json.FIELD"
        )
    return str(found).strip()
