"""Convert answers in any form to the kit's order of classes: lists, names with scores, bare labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from zooaudit.errors import AnswersError, ColumnsError, ConfigError

Form = Literal["list", "scores", "label"]


@dataclass(frozen=True)
class Naming:
    """How a suspect names and orders the kit's classes.

    Attributes:
        classes: the suspect's name of each of the kit's classes, in the kit's order.
        columns: the column of each of the kit's classes in the suspect's lists and in its numeric labels.
        label, score: keys of a class's name and of its score, if answers are objects.

    Raises:
        ConfigError: names are not distinct, or columns are not an order of 0 to K - 1.
    """

    classes: tuple[str, ...]
    columns: tuple[int, ...] = ()
    label: str = "label"
    score: str = "score"

    def __post_init__(self) -> None:
        count = len(self.classes)
        if len(set(self.classes)) < count:
            raise ConfigError(
                f"classes are {list(self.classes)}; expected {count} distinct names, one for each of the"
                " kit's classes"
            )
        if not self.columns:
            object.__setattr__(self, "columns", tuple(range(count)))
        if sorted(self.columns) != list(range(count)):
            raise ConfigError(
                f"columns are {list(self.columns)}; expected 0 to {count - 1}, each once: the column of each"
                " class"
            )

    def rows(self, answers: Sequence[Any]) -> tuple[Tensor, Form]:
        """One row for each answer, float32 ``[n, K]`` in the kit's order; and the answers' form: whole lists
        of numbers, which may be logits, scores by name, or bare labels. A class that is not named is 0; a
        bare label is 1 for its class.

        Raises:
            AnswersError: an unknown form, several forms, classes that are not the kit's, or numbers that are
                not finite.
        """
        try:
            rows = [self._row(a, i) for i, a in enumerate(answers)]
        except OverflowError as error:
            raise AnswersError.of("a whole number that no float holds", "finite numbers") from error
        forms = {form for _, form in rows}
        if len(forms) != 1:
            raise AnswersError.of(
                f"answers of the forms {', '.join(sorted(forms)) or 'none'}", "all of one form"
            )
        found = torch.tensor([row for row, _ in rows], dtype=torch.float64)
        if not torch.isfinite(found.float()).all():
            bad = int((~torch.isfinite(found.float()).all(1)).sum())
            raise AnswersError.of(f"NaN or infinite values in {bad} of {len(rows)} answers", "finite numbers")
        return found.float(), forms.pop()

    def _row(self, answer: Any, index: int) -> tuple[list[float], Form]:
        if isinstance(answer, list) and answer and all(map(_is_number, answer)):
            return self._reordered(answer, index), "list"
        named, form = self._named(answer, index)
        return self._spread(named, index), form

    def _reordered(self, numbers: list[float], index: int) -> list[float]:
        if len(numbers) != len(self.classes):
            found, expected = (
                f"{len(numbers)} numbers for image {index}",
                f"{len(self.classes)}, one for each class",
            )
            raise ColumnsError.counted(
                len(numbers), f"the answers have {found}; expected {expected}", found, expected
            )
        return [float(numbers[c]) for c in self.columns]

    def _named(self, answer: Any, index: int) -> tuple[list[tuple[Any, float]], Form]:
        """Classes, named in whatever way, and their scores."""
        if isinstance(answer, str) or _is_number(answer):
            return [(answer, 1.0)], "label"
        if isinstance(answer, Mapping) and self.label in answer:
            if len(answer) > 1 and self.score not in answer:
                raise AnswersError.of(
                    f"the keys {', '.join(map(str, answer))[:80]} for image {index}",
                    f"{self.score!r}; or give the key's name: score = ...",
                )
            return [(answer[self.label], answer.get(self.score, 1.0))], (
                "scores" if self.score in answer else "label"
            )
        if isinstance(answer, Mapping) and answer and all(map(_is_number, answer.values())):
            return list(answer.items()), "scores"
        if (
            isinstance(answer, list)
            and answer
            and all(isinstance(a, Mapping) and {self.label, self.score} <= a.keys() for a in answer)
        ):
            return [(a[self.label], a[self.score]) for a in answer], "scores"
        objects = f"a list of objects with {self.label!r} and {self.score!r}"
        expected = f"{len(self.classes)} numbers, an object of names and scores, {objects}, or a label"
        raise AnswersError.of(f"{str(answer)[:80]} for image {index}", expected)

    def _spread(self, named: list[tuple[Any, float]], index: int) -> list[float]:
        row, seen = [0.0] * len(self.classes), set()
        for name, score in named:
            at = self._index(name)
            if at in seen or not _is_number(score):
                raise AnswersError.of(
                    f"{score!r} for class {name!r}, image {index}",
                    "a number for each class, and each class once",
                )
            seen.add(at)
            row[at] = float(score)
        return row

    def _index(self, name: Any) -> int:
        """A text is a name, or else a number. A number is the suspect's: the column that its lists have for
        the class."""
        if isinstance(name, str) and name in self.classes:
            return self.classes.index(name)
        number = (
            int(name)
            if isinstance(name, str) and name.isascii() and name.isdecimal() and len(name) < 10
            else name
        )
        if _is_number(number) and number in self.columns:
            return self.columns.index(int(number))
        expected = (
            f"one of {', '.join(self.classes)}; if the suspect has other names, give them: classes = [...]"
        )
        raise AnswersError.of(f"the class {str(name)[:80]!r}", expected)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
