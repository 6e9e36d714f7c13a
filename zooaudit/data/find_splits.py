"""Find the splits of a data folder, and their form."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from zooaudit.data.arrays import Arrays, part_of_npz, part_of_pair
from zooaudit.data.folders import Undecoded, class_folders, of_the_system, read_class_folder
from zooaudit.data.messages import short
from zooaudit.data.parquet import read_columns, saved_files
from zooaudit.data.parquet_columns import open_arrow, open_parquet
from zooaudit.data.reading import Reading
from zooaudit.data.reading_notes import Met
from zooaudit.data.tables import TABLE_SUFFIXES, read_table
from zooaudit.data.tars import read_tars
from zooaudit.errors import DataError

Part = Undecoded | Arrays
TRAIN_NAMES = ("train", "training")
TEST_NAMES = ("test", "testing", "val", "valid", "validation", "eval", "dev")
WORDS = {
    "folders": "class folders",
    "parquet": "Parquet",
    "arrow": "Arrow files of save_to_disk",
    "npz": ".npz",
    "npy": ".npy",
    "webdataset": "WebDataset tar files",
    "table": "a table of paths and labels",
}
DEEPEST = 4  # datasets--NAME/snapshots/REVISION/data
MOST_FOLDERS = 200
"""How many folders are searched for splits at each depth; if there are more, they are classes."""


@dataclass(frozen=True)
class Split:
    """A split that was found.

    Attributes:
        name: of the split, as files or folders are named.
        kind: one of :data:`~zooaudit.data.reading.KINDS`.
        read: reads it.
    """

    name: str
    kind: str
    read: Callable[[Reading, Met], Part]


def split_names(asked: str, usual: tuple[str, ...]) -> tuple[str, ...]:
    return (asked.lower(),) if asked else usual


def find_root(folder: Path, reading: Reading) -> Path:
    """The folder with the training split: this one, or one below it.

    Raises:
        DataError: several folders below have one.
    """
    names = split_names(reading.train_split, TRAIN_NAMES)
    level = [folder]
    for _ in range(DEEPEST + 1):
        found = [place for place in level if any(candidates(place, name, folder) for name in names)]
        if len(found) > 1:
            raise DataError(
                f"{folder} holds {len(found)} data sets: {short(found)}; expected one: give its folder with"
                " --data"
            )
        if found:
            return found[0]
        below = [
            sub
            for place in level
            for sub in class_folders(place)
            if len(class_folders(place)) <= MOST_FOLDERS
        ]
        level = below[:MOST_FOLDERS]
    return folder


def find_split(folder: Path, root: Path, names: tuple[str, ...], reading: Reading, met: Met) -> Split:
    """The first of ``names`` that exists, which must exist in one form only.

    Args:
        root: the data folder, which paths in tables must not lead out of.

    Raises:
        DataError: there is none, or it exists in several forms.
    """
    by_name = {name: found for name in names if (found := candidates(folder, name, root))}
    if not by_name:
        listed = sorted(p.name for p in folder.iterdir())
        raise DataError(
            f"{folder} holds {short(listed) or 'nothing'}; expected {names[0]}.npz, {names[0]}*.parquet,"
            f" {names[0]}*.tar, {names[0]}.csv, {names[0]}/ with a folder per class, x_train and y_train in"
            " one .npz, IDX files, CIFAR-10's binary version, or tiny-imagenet-200; a split of another name:"
            " --train-split, --test-split"
        )
    name = next(iter(by_name))
    found = [split for split in by_name[name] if not reading.kind or split.kind == reading.kind]
    if not found:
        raise DataError(
            f"{folder}: {name} is {short(WORDS[s.kind] for s in by_name[name])}; --data-kind {reading.kind}"
            " is not there"
        )
    if len(found) > 1:
        raise DataError(
            f"{folder}: {name} exists as {' and as '.join(WORDS[s.kind] for s in found)}; expected one of"
            f" them: --data-kind {' or --data-kind '.join(s.kind for s in found)}"
        )
    if others := list(by_name)[1:]:
        met.note(
            f"the split {name} is read, {short(others)} is not:"
            f" --{'train' if names[0].startswith('train') else 'test'}-split chooses one"
        )
    return found[0]


def candidates(folder: Path, name: str, root: Path) -> list[Split]:
    """Every form in which ``folder`` has a split of that name (in any case)."""
    entries = sorted((p for p in folder.iterdir() if not of_the_system(p.name)), key=lambda p: p.name)
    files = [p for p in entries if p.is_file()]
    folders = [p for p in entries if p.is_dir() and p.name.lower() == name]
    if len(folders) > 1:
        raise DataError(f"{folder} holds {short(p.name for p in folders)}; expected one of them")
    within = folders[0] if folders else None
    inside = (
        sorted(
            (p for p in within.iterdir() if not of_the_system(p.name) and p.is_file()), key=lambda p: p.name
        )
        if within
        else []
    )
    found = [
        *(_arrays(files, name)),
        *(
            _shards(
                files,
                inside,
                name,
                ".parquet",
                "parquet",
                lambda p, r, m: read_columns([open_parquet(f) for f in p], r, m, root),
            )
        ),
        *(_shards(files, inside, name, ".tar", "webdataset", read_tars)),
        *(_tables(files, inside, within, name, root)),
    ]
    if within is not None:
        found += _in_folder(within, inside, root, any_other=bool(found))
    return [Split(name, kind, read) for kind, read in found]


Form = tuple[str, Callable[[Reading, Met], Part]]


def _arrays(files: list[Path], name: str) -> list[Form]:
    by_name = {p.name.lower(): p for p in files}
    found: list[Form] = []
    if path := by_name.get(f"{name}.npz"):
        found.append(("npz", lambda _, __, p=path: part_of_npz(p)))  # type: ignore[misc]
    pairs = [
        (f"x_{name}", f"y_{name}"),
        (f"{name}_x", f"{name}_y"),
        (f"{name}_images", f"{name}_labels"),
        (f"{name}-images", f"{name}-labels"),
    ]
    for images, labels in pairs:
        one, other = by_name.get(f"{images}.npy"), by_name.get(f"{labels}.npy")
        if one and other:
            found.append(("npy", lambda _, __, p=one, q=other: part_of_pair(p, q)))  # type: ignore[misc]
    return found


def _shards(
    files: list[Path],
    inside: list[Path],
    name: str,
    suffix: str,
    kind: str,
    read: Callable[[list[Path], Reading, Met], Part],
) -> list[Form]:
    begins = re.compile(rf"{re.escape(name)}(?![a-z]).*{re.escape(suffix)}", re.IGNORECASE)
    here = [p for p in files if begins.fullmatch(p.name)]
    chosen = here or [p for p in inside if p.suffix.lower() == suffix]
    if not chosen:
        return []
    return [(kind, lambda r, m: read(_whole(chosen), r, m))]


def _whole(paths: list[Path]) -> list[Path]:
    """The files of a split, if none is missing by their numbers, ``00001-of-00003`` or ``000001``.

    Raises:
        DataError: one is missing.
    """
    stated = [re.search(r"-(\d+)-of-(\d+)", p.name) for p in paths]
    if any(stated):
        totals = {int(s[2]) for s in stated if s}
        numbers = sorted(int(s[1]) for s in stated if s)
        if None in stated or len(totals) > 1 or len(set(numbers)) < len(numbers):
            raise DataError(
                f"{paths[0].parent} holds {short(p.name for p in paths)}; expected the files of one writing:"
                " remove the others"
            )
        missing = sorted(set(range(totals.pop())) - set(numbers))
    else:
        ends = [re.search(r"(\d+)$", p.stem) for p in paths]
        numbers = sorted(int(e[1]) for e in ends if e) if all(ends) else []
        missing = sorted(set(range(numbers[0], numbers[-1] + 1)) - set(numbers)) if numbers else []
    if missing:
        raise DataError(
            f"{paths[0].parent} holds {short(p.name for p in paths)}; number {short(missing)} is missing:"
            " fetch the rest"
        )
    return paths


def _tables(files: list[Path], inside: list[Path], within: Path | None, name: str, root: Path) -> list[Form]:
    chosen = [p for p in files if p.stem.lower() == name and p.suffix.lower() in TABLE_SUFFIXES]
    chosen += [p for p in inside if p.stem.lower() == "metadata" and p.suffix.lower() in TABLE_SUFFIXES]
    bases = ((within,) if within else ()) + (root,)
    return [("table", lambda r, m, p=path: read_table(p, bases, root, r, m)) for path in chosen]  # type: ignore[misc]


def _in_folder(within: Path, inside: list[Path], root: Path, any_other: bool) -> list[Form]:
    if (within / "state.json").is_file():
        return [
            ("arrow", lambda r, m: read_columns([open_arrow(p) for p in saved_files(within)], r, m, root))
        ]
    if any_other and not class_folders(within):
        return []
    lacking = within.name.lower() not in TRAIN_NAMES
    return [("folders", lambda _, m: read_class_folder(within, m, may_lack=lacking))]


def parts(folder: Path, reading: Reading, met: Met) -> Sequence[Part]:
    """Train and test of a data folder.

    Raises:
        DataError: see :func:`find_split` and each reader.
    """
    root = find_root(folder, reading)
    if root != folder:
        met.note(f"the data is in {root}")
    read: list[Part] = []
    for asked, usual in ((reading.train_split, TRAIN_NAMES), (reading.test_split, TEST_NAMES)):
        split = find_split(root, folder, split_names(asked, usual), reading, met)
        met.kind = " and ".join(dict.fromkeys([*filter(None, [met.kind]), WORDS[split.kind]]))
        read.append(split.read(reading, met))
    return read
