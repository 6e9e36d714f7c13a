"""Names and order of classes, from the data or from a file of the user's; labels of all parts become
numbers."""

import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zooaudit.data.messages import guard, same, short
from zooaudit.data.reading import Reading
from zooaudit.data.reading_notes import Met
from zooaudit.errors import DataError

LARGEST_FILE = 64 * 2**20
MOST = 1_000_000
"""The most classes; a larger label is a number of something else."""


@dataclass(frozen=True)
class Targets:
    """The labels that a reader found for the images of one part.

    Attributes:
        values: the class of every image: all numbers, or all names.
        names: of classes 0, 1, ...; empty if the data names none, or if ``values`` are names.
    """

    values: Sequence[int] | Sequence[str]
    names: tuple[str, ...] = ()

    @property
    def named(self) -> bool:
        return len(self.values) > 0 and isinstance(self.values[0], str)


def plain_name(name: str) -> str:
    """The Unicode form (NFC) in which names are compared: macOS writes another one than other systems."""
    return unicodedata.normalize("NFC", name)


def natural_key(name: str) -> tuple[Any, ...]:
    """A sort key that puts ``2`` before ``10``."""
    return tuple(
        (0, int(part), "") if part.isdigit() and part.isascii() else (1, 0, part)
        for part in re.split(r"([0-9]+)", name)
        if part
    )


def numbered(
    train: Targets, test: Targets, where: str, reading: Reading, met: Met
) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Labels of train and test as int64 ``[n]`` each, and the classes.

    Raises:
        DataError: train and test do not fit together, a test image has a class without training images, or
            the file of ``--classes`` does not fit.
    """
    if train.named != test.named:
        kinds = ["names" if t.named else "numbers" for t in (train, test)]
        raise DataError(
            f"{where}: labels are {kinds[0]} in train and {kinds[1]} in test; expected the same in both"
        )
    classes = _names(train, test, where, met) if train.named else _numbers(train, test, where)
    order = _order(classes, train.named, where, reading, met)
    labels = [_labels(t, classes, order) for t in (train, test)]
    _compare(labels[0], labels[1], order, where, met)
    return labels[0], labels[1], order


def _names(train: Targets, test: Targets, where: str, met: Met) -> tuple[str, ...]:
    """The classes in alphabetical order, as torchvision's ``ImageFolder`` sorts names of folders."""
    found = sorted({str(name) for name in train.values})
    classes = tuple(plain_name(name) for name in found)
    if len(set(classes)) < len(classes):
        twice = sorted(name for name in set(classes) if classes.count(name) > 1)
        raise DataError(
            f"{where}: two classes have the name {short(twice)}, in two Unicode forms; expected each once:"
            " merge their folders"
        )
    if extra := sorted({plain_name(str(name)) for name in test.values} - set(classes)):
        raise DataError(
            f"{where}: train has classes {short(classes)}, and test also has {short(extra)}; expected no"
            " class in test that train lacks"
        )
    if sorted(classes) != list(classes):
        met.note(
            "class names are sorted as they are spelt on disk; in the other Unicode form the order differs:"
            " --classes FILE settles it"
        )
    return classes


def _numbers(train: Targets, test: Targets, where: str) -> tuple[str, ...]:
    if train.names and test.names and train.names != test.names:
        raise DataError(
            f"{where}: train has classes {short(train.names)}, test has {short(test.names)}; expected the"
            " same"
        )
    if names := train.names or test.names:
        return names
    count = max((int(value) for value in train.values), default=-1) + 1
    if count > MOST:
        raise DataError(
            f"{where}: the largest label is {count - 1:,}; expected numbers of classes, 0, 1, ..., below"
            f" {MOST:,}"
        )
    return tuple(map(str, range(max(count, 0))))


def _order(classes: tuple[str, ...], named: bool, where: str, reading: Reading, met: Met) -> tuple[str, ...]:
    natural = tuple(sorted(classes, key=natural_key))
    if reading.classes == "natural":
        if not named:
            raise DataError(
                f"{where}: --classes natural is for classes that have names only; these are numbered by the"
                " data itself"
            )
        met.ordered = "natural"
        return natural
    if path := reading.classes_file:
        met.ordered = f"as {path} says"
        return _by_file(path, classes, named, where)
    if not named:
        return classes
    met.ordered = "alphabetical"
    if natural != classes:
        met.note(
            f"classes are numbered in alphabetical order, as torchvision does: {short(classes, 4)}; natural"
            f" order differs: {short(natural, 4)}; if your victim has that order, or another: --classes"
            " natural, or --classes FILE"
        )
    return classes


def _by_file(path: Path, classes: tuple[str, ...], named: bool, where: str) -> tuple[str, ...]:
    order = read_classes(path)
    nameless = not named and classes == tuple(map(str, range(len(classes))))
    if nameless:  # the file names the numbers
        if len(order) < len(classes):
            raise DataError(
                f"{path} names {len(order)} classes; expected {len(classes)} at least, as {where} has labels"
                f" up to {len(classes) - 1}"
            )
        return order
    if differ := same(order, classes, (str(path), where)):
        raise DataError(f"{path} does not fit the classes of {where}: {differ}; expected the same names")
    return order


def _labels(targets: Targets, classes: tuple[str, ...], order: tuple[str, ...]) -> Tensor:
    if targets.named:
        index = {name: i for i, name in enumerate(order)}
        return torch.tensor([index[plain_name(str(value))] for value in targets.values])
    labels = torch.as_tensor(targets.values, dtype=torch.int64)
    if sorted(order) != sorted(classes) or order == classes or len(labels) == 0:
        return labels
    if int(labels.min()) < 0 or int(labels.max()) >= len(classes):
        return labels  # the data set itself reports what is wrong
    return torch.tensor([order.index(name) for name in classes])[labels]


def _compare(train: Tensor, test: Tensor, classes: tuple[str, ...], where: str, met: Met) -> None:
    count = len(classes)
    held = [set(part.unique().tolist()) for part in (train, test)]
    if not all(held) or any(min(h) < 0 or max(h) >= count for h in held):
        _refuse_unstated(train, test, where)
        return  # the data set itself reports what is wrong
    if extra := held[1] - held[0]:
        names = short([classes[i] for i in sorted(extra)])
        raise DataError(
            f"{where}: test has images of {names}, train has none; expected no class in test that train lacks"
        )
    for part, has in zip(("train", "test"), held, strict=True):
        if absent := [classes[i] for i in range(count) if i not in has]:
            met.note(f"{part} has no image of {len(absent)} of {count} classes: {short(absent)}")


def _refuse_unstated(train: Tensor, test: Tensor, where: str) -> None:
    for part, labels in (("train", train), ("test", test)):
        if len(labels) and bool((labels == -1).all()):
            raise DataError(
                f"{where}: every label of {part} is -1, which means that it was not published; expected"
                f" labels: use another split, --{part}-split validation"
            )


def read_classes(path: Path) -> tuple[str, ...]:
    """Names of classes in order: one on each line; a JSON list; or a JSON mapping of names to numbers
    (``class_indices``, ``class_to_idx``, ``label2id``) or of numbers to names (``id2label``), also inside a
    model's ``config.json``.

    Raises:
        DataError: another format, a repeated name or number, or missing numbers.
    """
    if guard(path, "text", lambda p: p.stat().st_size) > LARGEST_FILE:
        raise DataError(f"{path} is larger than {LARGEST_FILE // 2**20} MiB; expected names of classes")
    text = guard(path, "text", lambda p: p.read_text(encoding="utf-8-sig"))
    if text.lstrip().startswith(("{", "[")):
        names = _from_json(guard(path, "JSON", lambda _: json.loads(text)), path)
    else:
        names = [line.strip() for line in text.strip().splitlines()]
    names = [plain_name(name) for name in names]
    if not names or not all(names):
        raise DataError(f"{path}: an empty name of a class; expected one name a line, or JSON")
    if len(set(names)) < len(names):
        twice = sorted(name for name in set(names) if names.count(name) > 1)
        raise DataError(f"{path} names {short(twice)} twice; expected every class once")
    return tuple(names)


def _from_json(found: object, path: Path) -> list[str]:
    if isinstance(found, dict):
        for key in ("id2label", "label2id", "class_indices", "class_to_idx"):
            if isinstance(found.get(key), dict):
                found = found[key]
                break
    if isinstance(found, list) and all(isinstance(name, str) for name in found):
        return found
    pairs: list[tuple[int, str]] = []
    if isinstance(found, dict) and all(
        isinstance(v, int) and not isinstance(v, bool) for v in found.values()
    ):
        pairs = [(number, str(name)) for name, number in found.items()]
    elif isinstance(found, dict) and all(
        isinstance(v, str) and k.isascii() and k.isdigit() for k, v in found.items()
    ):
        pairs = [(int(number), name) for number, name in found.items()]
    if not pairs:
        raise DataError(
            f"{path}: expected a JSON list of names, or a mapping of names to numbers or of numbers to names"
        )
    if sorted(number for number, _ in pairs) != list(range(len(pairs))):
        raise DataError(
            f"{path}: classes are numbered {short(sorted(n for n, _ in pairs))}; expected 0 to"
            f" {len(pairs) - 1}, each once"
        )
    return [name for _, name in sorted(pairs)]
