"""Class folders: one subfolder for each class with images inside, as in torchvision's ``ImageFolder``."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from zooaudit.data.classes import Targets
from zooaudit.data.encoded import Encoded, Files
from zooaudit.data.messages import guard, short
from zooaudit.data.reading_notes import LOOKS_LIKE, OTHER, OUTSIDE, SYSTEM, Met
from zooaudit.errors import DataError

IMAGE_SUFFIXES = frozenset(
    {
        ".png",
        ".apng",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".bmp",
        ".dib",
        ".gif",
        ".tif",
        ".tiff",
        ".webp",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".avif",
        ".jp2",
    }
)
UNREAD_SUFFIXES = frozenset(
    {
        ".heic",
        ".heif",
        ".svg",
        ".psd",
        ".exr",
        ".hdr",
        ".dcm",
        ".raw",
        ".cr2",
        ".nef",
        ".arw",
        ".dng",
        ".ico",
        ".tga",
        ".pcx",
        ".eps",
        ".jxl",
        ".xcf",
        ".npy",
        ".nii",
        ".mat",
    }
)
"""Endings of image formats that are not supported."""
MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", b"8BPS", b"\0\0\0\x0cjP  ")
SYSTEM_NAMES = frozenset(
    {
        "__macosx",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "@eadir",
        "$recycle.bin",
        "system volume information",
        "lost+found",
        "icon\r",
        "#recycle",
        "__pycache__",
    }
)


@dataclass(frozen=True)
class Undecoded:
    """One part of a data set before its images are decoded.

    Attributes:
        where: its name in errors.
        items: yields every image's bytes and name, in order, each time it is called.
        count: the number of images.
        encoded: the same images by number, or a function that makes that in a cache folder.
    """

    where: str
    items: Callable[[], Iterator[tuple[bytes, str]]]
    count: int
    targets: Targets
    encoded: Encoded | Callable[[Path], Encoded]


def of_the_system(name: str) -> bool:
    """Whether a file or folder is hidden or belongs to an operating system."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def images_in(folder: Path, met: Met | None = None) -> list[Path]:
    """The image files of a folder, at any depth and behind links, in order; hidden and system files are left
    out."""
    met = Met() if met is None else met
    found = []
    for path in _files(folder, set(), met):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            found.append(path)
        else:
            met.skip(LOOKS_LIKE if _looks_like_an_image(path) else OTHER, str(path))
    return sorted(found)


def _files(folder: Path, above: set[str], met: Met) -> Iterator[Path]:
    """Every file below a folder, following links, except a link back to a folder above it."""
    real = os.path.realpath(folder)
    if real in above:
        return
    for entry in sorted(guard(folder, "folder", lambda p: list(os.scandir(p))), key=lambda e: e.name):
        if of_the_system(entry.name):
            met.skip(SYSTEM, entry.path)
        elif entry.is_dir():
            yield from _files(Path(entry.path), above | {real}, met)
        elif entry.is_symlink() and not os.path.exists(entry.path):
            raise DataError(
                f"{entry.path} is a link to {os.readlink(entry.path)}, which does not exist; remove it or"
                " mend it"
            )
        else:
            yield Path(entry.path)


def _looks_like_an_image(path: Path) -> bool:
    if path.suffix.lower() in UNREAD_SUFFIXES:
        return True
    start = guard(path, "data", lambda p: _start(p))
    return (
        start.startswith(MAGIC)
        or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")
        or start[4:12] in (b"ftypheic", b"ftypavif")
    )


def _start(path: Path) -> bytes:
    if not path.is_file():  # a pipe would block forever
        return b""
    with path.open("rb") as file:
        return file.read(16)


def class_folders(folder: Path) -> list[Path]:
    """The subfolders that are classes, in alphabetical order."""
    return sorted(
        (p for p in folder.iterdir() if p.is_dir() and not of_the_system(p.name)), key=lambda p: p.name
    )


def read_class_folder(folder: Path, met: Met, may_lack: bool = False) -> Undecoded:
    """One subfolder for each class, images inside (at any depth). Hidden and system folders and files, for
    example ``.ipynb_checkpoints``, ``__MACOSX`` and ``._0.png``, are left out.

    Args:
        may_lack: leave out a class without images; otherwise that is an error.

    Raises:
        DataError: no class folders, or one without images.
    """
    classes = class_folders(folder)
    if not classes:
        raise DataError(
            f"{folder} has no subfolders; expected one per class with images inside, or another split:"
            " --train-split, --test-split"
        )
    _refuse_one_above_all(folder, classes)
    for path in sorted(p for p in folder.iterdir() if not p.is_dir()):
        loose = path.suffix.lower() in IMAGE_SUFFIXES and not of_the_system(path.name)
        met.skip(OUTSIDE if loose else SYSTEM if of_the_system(path.name) else OTHER, str(path))
    files: list[Path] = []
    names: list[str] = []
    for cls in classes:
        unread = len(met.skipped.get(LOOKS_LIKE, ()))
        found = images_in(cls, met)
        if not found and not may_lack:
            others = met.skipped.get(LOOKS_LIKE, [])[unread:]
            more = f"; {others[0]} {LOOKS_LIKE}" if others else ""
            raise DataError(
                f"{cls} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}){more}; remove it or add images"
            )
        files += found
        names += [cls.name] * len(found)
    return from_files(str(folder), files, Targets(names))


def _refuse_one_above_all(folder: Path, classes: list[Path]) -> None:
    """Refuse a single folder that holds only folders: those are the classes."""
    within = class_folders(classes[0])
    if (
        len(classes) > 1
        or len(within) < 2
        or any(p.suffix.lower() in IMAGE_SUFFIXES for p in classes[0].iterdir() if p.is_file())
    ):
        return
    names = short(p.name for p in within)
    raise DataError(
        f"{folder} has one folder, {classes[0].name}, with {names} in it; expected one per class: move these"
        f" into {folder}"
    )


def from_files(where: str, paths: list[Path], targets: Targets) -> Undecoded:
    """Image files as a part of a data set."""
    files = Files(paths)
    return Undecoded(where, lambda: map(files.read, range(len(files))), len(files), targets, files)
