"""Answers as rows of probabilities or labels, with the numbers of their questions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from zooaudit.errors import AnswersError, ColumnsError
from zooaudit.suspects.naming import Form, Naming

FLOAT32 = np.dtype("<f4")


@dataclass(frozen=True, eq=False)
class AnswerRows:
    """Answers as they arrived, in the order of the questions.

    Attributes:
        answers: numbers ``[n, K']``; or a flat array whose row length is unknown; or a list of values that
            ``Naming`` reads.
        kits: the kits whose questions they claim to answer.
    """

    answers: Tensor | list[Any]
    kits: Sequence[str] = ()

    @property
    def width(self) -> int | None:
        """How many numbers the first answer has; None if it is not a list of numbers, or if the row length is
        unknown."""
        if isinstance(self.answers, Tensor):
            return self.answers.shape[1] if self.answers.ndim == 2 and len(self.answers) else None
        first = next(iter(self.answers), None)
        return (
            len(first)
            if isinstance(first, list) and first and all(isinstance(n, int | float) for n in first)
            else None
        )

    def rows(self, naming: Naming, kit: str = "", most: int | None = None) -> tuple[Tensor, Form]:
        """Float32 ``[n, K]`` in the kit's order of classes, and the answers' form. Numbers that are not
        finite are left in.

        Args:
            kit: refuse answers that name another kit.
            most: the largest number of rows.

        Raises:
            AnswersError: no rows or too many; answers to another kit's questions; or an unknown form.
        """
        if others := sorted({k for k in self.kits if k != kit}) if kit else []:
            raise AnswersError.of(
                f"answers to the questions of kit {', '.join(others)[:200]}", f"those of kit {kit}"
            )
        wide = len(naming.classes)
        found = _by_rows(self.answers, wide) if isinstance(self.answers, Tensor) else self.answers
        if not len(found) or (most is not None and len(found) > most):
            raise AnswersError.of(
                f"{len(found):,} rows", f"1 to {most:,}, one a question" if most else "one for each query"
            )
        if not isinstance(found, Tensor):
            return naming.rows(found)
        if found.shape[1] != wide:
            stated, expected = f"{found.shape[1]} numbers for image 0", f"{wide}, one for each class"
            raise ColumnsError.counted(
                found.shape[1], f"the answers have {stated}; expected {expected}", stated, expected
            )
        same = list(naming.columns) == list(range(wide))
        return found if same else found[:, list(naming.columns)], "list"


def _by_rows(numbers: Tensor, wide: int) -> Tensor:
    if numbers.ndim == 2:
        return numbers
    if len(numbers) % wide:
        row = FLOAT32.itemsize * wide
        raise AnswersError.of(
            f"{FLOAT32.itemsize * len(numbers):,} bytes",
            f"a multiple of {row}: little-endian float32, {wide} a row",
        )
    return numbers.view(-1, wide)
