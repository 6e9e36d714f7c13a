"""Paths in tables: they stay in the data folder, and lead to one file each."""

import re
from dataclasses import dataclass
from pathlib import Path

from zooaudit.data.messages import guard, short
from zooaudit.errors import DataError


@dataclass(frozen=True)
class Places:
    """Where a table's paths are searched for.

    Attributes:
        bases: folders that paths may be relative to, the likeliest first.
        root: the data folder, which they must not lead out of.
        outside: allow them to.
    """

    bases: tuple[Path, ...]
    root: Path
    outside: bool

    def find(self, text: str, where: str) -> Path:
        """The file of that name.

        Raises:
            DataError: there is none, there are several, it lies outside, or it is an address.
        """
        if re.match(r"[a-z][a-z0-9+.-]+://", text, re.IGNORECASE):
            raise DataError(f"{where}: {text} is an address; expected a file: download it first")
        spelt = [text, text.replace("\\", "/")] if "\\" in text else [text]
        found = list(
            dict.fromkeys(p for name in spelt for base in self.bases if (p := base / name).is_file())
        )
        if not found:
            raise DataError(
                f"{where}: there is no {text} in {short(dict.fromkeys(self.bases), 3)}; expected the path of"
                " an image"
            )
        distinct = list(dict.fromkeys(path.resolve() for path in found))
        if len(distinct) > 1:
            raise DataError(
                f"{where}: {text} is found as {short(found)}; expected one file of that name: write the path"
                " from the table's folder"
            )
        if not self.outside and not _within(found[0], self.root):
            raise DataError(
                f"{where}: {text} leads out of {self.root}; expected a path within it; --allow-outside reads"
                " it anyway"
            )
        return found[0]

    def read(self, text: str, where: str) -> bytes:
        """The bytes of the file of that name; errors as for :meth:`find`."""
        return guard(self.find(text, where), "image", Path.read_bytes)


def _within(path: Path, root: Path) -> bool:
    """Checks the path itself, without ``..`` among its parts; its links may lead elsewhere, as in a hub's
    cache."""
    here, top = path.absolute(), root.absolute()
    inside = here.is_relative_to(top) and ".." not in here.relative_to(top).parts
    return inside or path.resolve().is_relative_to(root.resolve())
