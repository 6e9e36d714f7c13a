"""What a reader found: kinds, sizes, what was skipped, what was done to pixels; and the notes that users
see."""

from collections import Counter
from dataclasses import dataclass, field

from zooaudit.data.messages import short


@dataclass
class Met:
    """Counters for reading one data set.

    Attributes:
        kind: of the data: class folders, Parquet, ...
        sizes: (height, width) of images in the files.
        modes: Pillow's names of their pixel formats, ``RGB``, ``L``, ``P``, ..., or an array's type.
        formats: ``PNG``, ``JPEG``, ...
        done: what was done to how many images, in cases where other loaders may differ.
        skipped: why files were skipped, and which.
        highest: the largest number in images of 16 bits; -1 without any.
        ordered: how classes were numbered; "" if the data says.
        sized: how many images were resized.
        ranged: how many images ``--value-range`` was used for.
        notes: other notes.
    """

    kind: str = ""
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    skipped: dict[str, list[str]] = field(default_factory=dict)
    highest: int = -1
    ordered: str = ""
    sized: int = 0
    ranged: int = 0
    notes: list[str] = field(default_factory=list)

    def skip(self, why: str, name: str) -> None:
        self.skipped.setdefault(why, []).append(name)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


@dataclass(frozen=True)
class Found:
    """The summary of a data set that was read; see :class:`Met`.

    Attributes:
        sizing: how images were resized; "" if none was. Part of the digest.
    """

    kind: str
    sizes: tuple[tuple[tuple[int, int], int], ...] = ()
    modes: tuple[tuple[str, int], ...] = ()
    formats: tuple[tuple[str, int], ...] = ()
    skipped: tuple[tuple[str, int, str], ...] = ()
    ordered: str = ""
    notes: tuple[str, ...] = ()
    sizing: str = ""


SYSTEM = "hidden or the system's own"
OTHER = "no image"
LOOKS_LIKE = "looks like an image, but is of a kind that is not read"
OUTSIDE = "lies outside the class folders"
LOUD = frozenset({LOOKS_LIKE, OUTSIDE})
"""Reasons for skipping that users are always shown."""


def found(met: Met, sizing: str) -> Found:
    """Summarise ``met``, with a note for everything in which other loaders may differ."""
    total = sum(met.sizes.values())
    notes = [f"{count:,} of {total:,} images {what}" for what, count in sorted(met.done.items())]
    skipped = tuple((why, len(names), short(sorted(names), 3)) for why, names in sorted(met.skipped.items()))
    notes += [
        f"files skipped: {count:,}, each {why}: {names}" for why, count, names in skipped if why in LOUD
    ]
    return Found(
        met.kind,
        tuple(met.sizes.most_common()),
        tuple(met.modes.most_common()),
        tuple(met.formats.most_common()),
        skipped,
        met.ordered,
        (*met.notes, *notes),
        sizing if met.sized else "",
    )
