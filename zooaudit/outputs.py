"""Check the output folder before the work begins, so that an hour's work is not lost to a folder that cannot
be written."""

import tempfile
from pathlib import Path

from zooaudit.errors import InputError


def check_folder(folder: Path, remedy: str = "choose another with --out") -> None:
    """Refuse a folder that cannot be written or created. Creates nothing.

    Raises:
        InputError: names the folder and the ``remedy``.
    """
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        problem = (
            f"{folder} cannot be written"
            if there == folder.absolute()
            else f"{folder} cannot be made in {there}"
        )
        raise InputError(f"{problem}: {error.strerror}; {remedy}") from error


def check_new(path: Path) -> None:
    """Refuse a file that exists or cannot be written.

    Raises:
        InputError: says why.
    """
    if path.exists():
        raise InputError(f"{path} is there already; choose another name, nothing was overwritten")
    check_folder(path.parent)
