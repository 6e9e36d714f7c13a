"""Answers in a stranger's words, brought into the kit's order of classes: lists, names with scores, bare labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zooaudit.errors import AnswersError, ConfigError


@dataclass(frozen=True)
class Naming:
    """How a suspect names and orders the kit's classes.

    Attributes:
        classes: the suspect's name of each of the kit's classes, in the kit's order.
        columns: where the suspect's lists, and its numbers for labels, have each of the kit's classes.
        label, score: keys of a class's name and of its score where answers are objects.

    Raises:
        ConfigError: names that are not distinct, or columns that are no order of 0 to K - 1.
    """

    classes: tuple[str, ...]
    columns: tuple[int, ...] = ()
    label: str = "label"
    score: str = "score"

    def __post_init__(self) -> None:
        count = len(self.classes)
        if len(set(self.classes)) < count:
            raise ConfigError(f"classes are {list(self.classes)}; expected {count} distinct names, one for each of the kit's classes")
        if not self.columns:
            object.__setattr__(self, "columns", tuple(range(count)))
        if sorted(self.columns) != list(range(count)):
            raise ConfigError(f"columns are {list(self.columns)}; expected 0 to {count - 1}, each once: where it has each class")

    def rows(self, answers: Sequence[Any]) -> tuple[Tensor, bool]:
        """One row an answer, float32 ``[n, K]`` in the kit's order; and whether they are whole lists of numbers, which may be logits. A
        class that is not named is 0, of a bare label its class is 1.

        Raises:
            AnswersError: an answer of no known form, or classes that are not the kit's.
        """
        rows = [self._row(a, i) for i, a in enumerate(answers)]
        if len({whole for _, whole in rows}) > 1:
            raise AnswersError.of("some whole lists and some named classes", "all of one form")
        return torch.tensor([row for row, _ in rows], dtype=torch.float32), all(whole for _, whole in rows)

    def _row(self, answer: Any, index: int) -> tuple[list[float], bool]:
        if isinstance(answer, list) and answer and all(map(_is_number, answer)):
            return self._reordered(answer, index), True
        return self._spread(self._named(answer, index), index), False

    def _reordered(self, numbers: list[float], index: int) -> list[float]:
        if len(numbers) != len(self.classes):
            raise AnswersError.of(f"{len(numbers)} numbers for image {index}", f"{len(self.classes)}, one for each class")
        return [float(numbers[c]) for c in self.columns]

    def _named(self, answer: Any, index: int) -> list[tuple[Any, float]]:
        """Classes, by whatever name, and their scores."""
        if isinstance(answer, str) or (_is_number(answer) and float(answer).is_integer()):
            return [(answer, 1.0)]
        if isinstance(answer, Mapping) and self.label in answer:
            return [(answer[self.label], answer.get(self.score, 1.0))]
        if isinstance(answer, Mapping) and answer and all(map(_is_number, answer.values())):
            return list(answer.items())
        if isinstance(answer, list) and answer and all(isinstance(a, Mapping) and {self.label, self.score} <= a.keys() for a in answer):
            return [(a[self.label], a[self.score]) for a in answer]
        objects = f"a list of objects with {self.label!r} and {self.score!r}"
        expected = f"{len(self.classes)} numbers, an object of names and scores, {objects}, or a label"
        raise AnswersError.of(f"{str(answer)[:80]} for image {index}", expected)

    def _spread(self, named: list[tuple[Any, float]], index: int) -> list[float]:
        row, seen = [0.0] * len(self.classes), set()
        for name, score in named:
            at = self._index(name)
            if at in seen or not _is_number(score):
                raise AnswersError.of(f"{score!r} for class {name!r}, image {index}", "a number for each class, and each class once")
            seen.add(at)
            row[at] = float(score)
        return row

    def _index(self, name: Any) -> int:
        if str(name) in self.classes:
            return self.classes.index(str(name))
        number = int(name) if isinstance(name, int | float) or (isinstance(name, str) and name.isdecimal()) else -1
        if number not in self.columns:
            raise AnswersError.of(
                f"the class {str(name)[:80]!r}",
                f"one of {', '.join(self.classes)}; if the suspect names them otherwise, say how: classes = [...]",
            )
        return self.columns.index(number)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
