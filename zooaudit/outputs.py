"""Where results go, looked at before the work begins: an hour's work is not done for a
folder that cannot be written."""

import tempfile
from pathlib import Path

from zooaudit.errors import InputError


def check_folder(folder: Path, remedy: str = "choose another with --out") -> None:
    """Refuse a folder that cannot be written, or made. Nothing is made, and nothing is left there.

    Raises:
        InputError: says which, and ``remedy``.
    """
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        said = (
            f"{folder} cannot be written"
            if there == folder.absolute()
            else f"{folder} cannot be made in {there}"
        )
        raise InputError(f"{said}: {error.strerror}; {remedy}") from error


def check_new(path: Path) -> None:
    """Refuse a file that is there, or that cannot be written.

    Raises:
        InputError: says why.
    """
    if path.exists():
        raise InputError(f"{path} is there already; choose another name, nothing was overwritten")
    check_folder(path.parent)
