"""TinyImageNet in its published folder (tiny-imagenet-200), with all of its classes or some.

    wnids.txt                         one class id a line; *ours*: the order of the labels
    words.txt                         class id, tab, words
    train/ID/images/*.JPEG
    val/val_annotations.txt           file, tab, class id, tab, a box that is not used
    val/images/*.JPEG

Its test images have no labels and are not read: ``val`` is the test set.
"""

from pathlib import Path

from zooaudit.data.classes import Targets
from zooaudit.data.folders import Undecoded, from_files
from zooaudit.data.messages import guard, short
from zooaudit.errors import DataError

FOLDER = "tiny-imagenet-200"
URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
IDS, WORDS, ANNOTATIONS = "wnids.txt", "words.txt", "val_annotations.txt"


def find_tiny_imagenet(folder: Path) -> Path | None:
    """``folder``, or the folder in it, that has ``wnids.txt``; None if this is not TinyImageNet."""
    return next((place for place in (folder, folder / FOLDER) if (place / IDS).is_file()), None)


def read_tiny_imagenet(folder: Path) -> tuple[Undecoded, Undecoded]:
    """Training and validation images; a class is named by its id and its first word, for example ``n02124075
    Egyptian cat``."""
    ids = _text(folder / IDS).split()
    if not ids:
        raise DataError(f"{folder / IDS} is empty; expected one class id a line")
    words = dict(line.split("\t", 1) for line in _text(folder / WORDS).splitlines() if "\t" in line)
    classes = tuple(f"{id_} {words.get(id_, '').split(',')[0]}".strip() for id_ in ids)
    label = {id_: i for i, id_ in enumerate(ids)}
    train = [(path, label[id_]) for id_ in ids for path in _images(folder / "train" / id_ / "images")]
    return _read(train, folder / "train", classes), _read(
        _validation(folder / "val", label), folder / "val", classes
    )


def _images(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.JPEG"))
    if not found:
        raise DataError(f"{folder} holds no .JPEG; expected the images of a class that {IDS} lists")
    return found


def _validation(folder: Path, label: dict[str, int]) -> list[tuple[Path, int]]:
    listed = []
    for number, line in enumerate(_text(folder / ANNOTATIONS).splitlines(), 1):
        name, id_ = [*line.split("\t"), ""][:2]
        if id_ not in label:
            raise DataError(
                f"{folder / ANNOTATIONS} line {number}: class {id_!r} is not in {IDS}; expected one of"
                f" {short(label)}"
            )
        path = folder / "images" / name
        if not path.is_file():
            raise DataError(
                f"{path}: not a readable JPEG file (it does not exist); expected what {ANNOTATIONS} lists:"
                " fetch it again"
            )
        listed.append((path, label[id_]))
    return listed


def _read(listed: list[tuple[Path, int]], folder: Path, classes: tuple[str, ...]) -> Undecoded:
    return from_files(
        str(folder), [path for path, _ in listed], Targets([label for _, label in listed], classes)
    )


def _text(path: Path) -> str:
    return guard(path, "text", Path.read_text)
