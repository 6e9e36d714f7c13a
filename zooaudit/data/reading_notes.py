"""What a reader met on its way: kinds, sizes, what was skipped, what was done to pixels. From it come the
notes that users are told."""

from collections import Counter
from dataclasses import dataclass, field

from zooaudit.data.messages import short


@dataclass
class Met:
    """Counts that grow while one data set is read.

    Attributes:
        kind: what the data is: class folders, Parquet, ...
        sizes: (height, width) of images as they were found.
        modes: Pillow's name of how their pixels are kept, ``RGB``, ``L``, ``P``, ..., or an array's type.
        formats: ``PNG``, ``JPEG``, ...
        done: what was done to how many images, where other loaders may do otherwise.
        skipped: why files were left alone, and which.
        highest: the largest number in images of 16 bits; -1 if there were none.
        ordered: how classes were numbered; "" where the data says.
        sized: how many images were brought to another size.
        ranged: how many images ``--value-range`` was used for.
        notes: what else there is to say.
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
    """What is told of a data set that was read; see :class:`Met`.

    Attributes:
        sizing: how images were brought to one size; "" if none was changed. Part of the digest.
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
"""Reasons for skipping that users are always told."""


def found(met: Met, sizing: str) -> Found:
    """``met`` as it stands, with a note for everything that other loaders may do otherwise."""
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
