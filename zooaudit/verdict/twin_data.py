"""The data of a twin test: the questions, the candidates, the references, and their answers."""

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from zooaudit.data.images import to_unit
from zooaudit.errors import ConfigError
from zooaudit.verdict.decision import (
    By,
    too_few,
)
from zooaudit.verdict.examined import (
    FAMILIES,
    NATURAL,
    Candidate,
    Reference,
)
from zooaudit.verdict.exchangeable import Check, examined, spoken
from zooaudit.verdict.registry import COSINE

LEAST = 10
"""A family with fewer questions than this is left out of a look."""


@dataclass(frozen=True, eq=False)
class TwinData:
    """Everything that a verdict rests on.

    Attributes:
        images: uint8 ``[Q, c, h, w]``, in the order in which they are asked; the first ``control_questions``
            are drawn at random from the victim's task.
        labels: int64 ``[Q]``, true classes; ``NO_CLASS`` for images without one.
        families: of each question, one of ``FAMILIES``.
        looks: after how many questions the statistic is computed, ascending; the last one is Q.
        level: at most this share of innocent suspects is accused.
        candidates: the victim first, then its twins.
        answers: float32 ``[m + 1, Q, K]``, the candidates'. Here and below K is the number of classes, or of
            groups if there are too many classes (``verdict/grouping.py``).
        references: models of other procedures, none made from a candidate; their answers float32 ``[R, Q,
            K]``.
        procedure: how the twins were trained, for people; "" without any.
        behind, reference_behind: float32 ``[I, m + 1, Q, K]`` and ``[I, R, Q, K]``, the same models' answers
            behind I interfaces that change their inputs; None for a test without interfaces.
        predicted: float32 ``[m + 1, Q, K]``, the candidates' answers to images of the victim's task as
            predicted from the references', and the candidates' own answers to all others; None without
            predictions.
        lessons: float32 ``[R, n, K]``, the references' answers to all images of the task that questions were
            chosen from, in their order: needed to predict the answers of later twins.
        defended, defended_predicted: as ``answers`` and ``predicted``, for the answers that a defence gives
            instead of the candidates' own; None if the victim has none.
        classes: how many classes a suspect must have to be compared class by class; 0 if that is K.
        statistic: what candidates are ranked by, one of ``STATISTICS``.
    """

    images: Tensor
    labels: Tensor
    families: tuple[str, ...]
    control_questions: int
    looks: tuple[int, ...]
    level: float
    candidates: tuple[Candidate, ...]
    answers: Tensor
    references: tuple[Reference, ...]
    reference_answers: Tensor
    procedure: str = ""
    behind: Tensor | None = None
    reference_behind: Tensor | None = None
    predicted: Tensor | None = None
    lessons: Tensor | None = None
    classes: int = 0
    statistic: str = COSINE
    defended: Tensor | None = None
    defended_predicted: Tensor | None = None

    @property
    def budget(self) -> int:
        """The number of questions."""
        return len(self.images)

    @property
    def twins(self) -> int:
        return len(self.candidates) - 1

    @property
    def num_classes(self) -> int:
        """The number of classes of the victim, and of suspects that are compared class by class."""
        return self.classes or int(self.answers.shape[-1])

    def questions(self) -> Tensor:
        """Float ``[Q, c, h, w]`` in [0, 1], in the order in which they are asked."""
        return to_unit(self.images)

    @cached_property
    def exchangeability(self) -> tuple[Check, ...]:
        """Whether the victim looks like a draw of its twins' procedure; tested without any suspect."""
        if self.twins < 2:
            return ()
        natural = self._rows(NATURAL, self.budget)
        return examined(
            self.answers[:, natural],
            [c.accuracy for c in self.candidates],
            self.reference_answers[:, natural],
        )

    def barred(self, level: float | None = None, by: By = "rank") -> str:
        """Why nobody can be accused, whatever a suspect answers; "" if somebody can."""
        return spoken(self.exchangeability)[0] or too_few(
            self.twins, self.level if level is None else level, by
        )

    def stops(self, horizon: int | None = None) -> tuple[int, ...]:
        """The numbers of questions after which the statistic is computed.

        Raises:
            ConfigError: ``horizon`` is not a look.
        """
        if horizon is None:
            return self.looks
        if horizon not in self.looks:
            raise ConfigError(
                f"{horizon} questions; expected one of {', '.join(map(str, self.looks))}, after which the kit"
                " takes a look"
            )
        return tuple(n for n in self.looks if n <= horizon)

    def _families(self, queries: int) -> list[str]:
        return [f for f in FAMILIES if len(self._rows(f, queries)) >= min(LEAST, self.control_questions)]

    def _rows(self, family: str, queries: int) -> list[int]:
        return [i for i, f in enumerate(self.families[:queries]) if f == family]
