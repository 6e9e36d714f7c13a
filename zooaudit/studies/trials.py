"""A twin test of one owner of a collection, and the verdicts that it gives on that owner's models: chosen,
ranked and decided by the same functions as an audit's."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from zooaudit.auditing.twin_questions import informativeness, order
from zooaudit.auditing.twin_step import Asked, assembled, foreseen
from zooaudit.config import TwinTestConfig
from zooaudit.config.basics import Defence
from zooaudit.data.images import to_unit
from zooaudit.studies.collected_about import About
from zooaudit.studies.owners import Owner
from zooaudit.suspects.access import Access
from zooaudit.verdict.decision import TwinVerdict
from zooaudit.verdict.examined import FOREIGN, LOG, NATURAL, Candidate, Compared, Reference
from zooaudit.verdict.grouping import kept
from zooaudit.verdict.twin_test import TwinTest
from zooaudit.zoo.attacks.defended import shown

LEVEL = 0.05
ACCESSES = (Access(), Access("label"), Access("top", 3), Access("rounded", 1))


@dataclass(frozen=True)
class Asking:
    """Attributes:
    name: for tables.
    looks: after how many questions the statistic is looked at.
    families: of questions, shared as an audit's are.
    control_questions: images of the victim's task at random, asked first.
    """

    name: str
    looks: tuple[int, ...]
    families: tuple[str, ...] = (NATURAL, FOREIGN)
    control_questions: int = TwinTestConfig.control_questions

    @property
    def config(self) -> TwinTestConfig:
        return TwinTestConfig(level=LEVEL, looks=self.looks, control_questions=self.control_questions)


ASKINGS = (
    Asking("500 natural", (250, 500), (NATURAL,)),
    Asking("500", (250, 500)),
    Asking("1,000", (250, 500, 1000)),
    Asking("2,000", (250, 500, 1000, 2000)),
    Asking("1,000 with the query log", (250, 500, 1000), (NATURAL, FOREIGN, LOG)),
)
"""Natural images and such of another domain, unless named otherwise."""


@dataclass(frozen=True)
class Defending:
    """What the victim's service shows instead of its answers, as ``TwinTestConfig`` has it."""

    name: Defence = "none"
    budget: float = 1.0

    def shown(self, images: Tensor, answers: Tensor) -> Tensor:
        """Instead of ``answers`` ``[models, n, K]`` to uint8 ``[n, c, h, w]``."""
        unit = to_unit(images)
        return torch.stack([shown(unit, given, self.name, self.budget) for given in answers])


UNDEFENDED = Defending()


@dataclass(eq=False)
class Trial:
    """One kit.

    Attributes:
        candidates, references: of the owner's; the victim first.
        defending: the defence that the kit knows of.
    """

    owner: Owner
    asking: Asking
    candidates: Sequence[About]
    references: Sequence[About]
    defending: Defending = UNDEFENDED

    @staticmethod
    def of(owner: Owner, asking: Asking) -> "Trial":
        """With all twins and references."""
        return Trial(owner, asking, owner.candidates, owner.references)

    @cached_property
    def families(self) -> tuple[str, ...]:
        """Those of which there are images."""
        return tuple(f for f in self.asking.families if f != LOG or len(self.owner.log))

    @cached_property
    def _chosen(self) -> tuple[Tensor, int, tuple[int, ...]]:
        informative = informativeness(self.owner.answers(self.references, self.families))
        return order(self.asking.config, self.owner.pools(self.families), informative)

    @property
    def rows(self) -> Tensor:
        """int64 ``[n]``: the questions, as rows of the pools of these families."""
        return self._chosen[0]

    @cached_property
    def test(self) -> TwinTest:
        own, others = (self._asked(models) for models in (self.candidates, self.references))
        task, lessons = (
            self.owner.answers(models, (NATURAL,)) for models in (self.candidates, self.references)
        )
        classes, pools = task.shape[-1], self.owner.pools(self.families)
        defended = None
        if self.defending != UNDEFENDED:
            answers = self.owner.answers(self.candidates, self.families)[:, self.rows]
            own = replace(own, defended=kept(self.defending.shown(pools.images[self.rows], answers)))
            defended = kept(self.defending.shown(pools.images[: task.shape[1]], task))
        own = foreseen(own, kept(task), kept(lessons), self._chosen[0], classes, defended)
        return assembled(
            LEVEL,
            pools,
            self._chosen,
            [Candidate(a.id, a.accuracy) for a in self.candidates],
            own,
            [Reference(a.id, a.attack or "trained", a.parent) for a in self.references],
            others,
            self.candidates[0].procedure,
            classes,
        )

    def _asked(self, models: Sequence[About]) -> Asked:
        """What models answer to the chosen questions."""
        rows, behind = self.rows, self.owner.answers_behind(models, self.families)
        return Asked(
            kept(self.owner.answers(models, self.families)[:, rows]),
            None if behind is None else kept(behind[:, :, rows]),
        )

    def compared(self, models: Sequence[About], access: Access) -> list[Compared]:
        """What models come to that tell no more than ``access``; each is read as it looks,
        like any suspect."""
        return self.compared_answers(self.owner.answers(models, self.families)[:, self.rows], access)

    def compared_answers(self, answers: Tensor, access: Access) -> list[Compared]:
        """The same of what suspects answered to the questions, float32 ``[suspects, n, K]``."""
        found: dict[int, Compared] = {}
        for seen, rows, result in self._read(answers, access):
            found |= dict(zip(rows, self.test.compared(result, seen), strict=True))
        return [found[row] for row in range(len(answers))]

    def cosines(self, models: Sequence[About], access: Access) -> list[float]:
        """The victim's statistic on natural images, before it is standardised, of models
        read as in ``compared``."""
        answers = self.owner.answers(models, self.families)[:, self.rows]
        found: dict[int, float] = {}
        for seen, rows, result in self._read(answers, access):
            found |= dict(
                zip(rows, self.test.cosines(result, seen, self.test.looks[-1])[:, 0].tolist(), strict=True)
            )
        return [found[row] for row in range(len(models))]

    def _read(self, answers: Tensor, access: Access) -> list[tuple[Access, list[int], Tensor]]:
        """How suspects' answers are read; which suspects; and what those tell, ``[suspects, n, K]``."""
        reduced = access.reduced(answers)
        groups: dict[Access, list[int]] = {}
        for row, given in enumerate(reduced):
            groups.setdefault(self.test.read_as(None, given), []).append(row)
        return [(seen, rows, reduced[rows]) for seen, rows in groups.items()]


def last(compared: Compared) -> Compared:
    """What a test with one look sees."""
    return replace(compared, looks=compared.looks[-1:])


def decided(test: TwinTest, compared: Compared, level: float = LEVEL) -> TwinVerdict:
    """The verdict at the first look that settles it, where asking would stop."""
    for verdict in _by_look(test, compared, level):
        if verdict.settled:
            break
    return verdict


def _by_look(test: TwinTest, compared: Compared, level: float) -> Iterator[TwinVerdict]:
    for count, queries in enumerate(test.looks, 1):
        yield test.decide(
            replace(compared, looks=compared.looks[:count], queries=queries), level, aside=False
        )


def draws(models: Sequence[About], count: int, times: int) -> list[list[About]]:
    """``count`` of the models at random, several times; once if that is all of them."""
    if count >= len(models) or count == 0:
        return [list(models)[:count]]
    orders = (
        torch.randperm(len(models), generator=torch.Generator().manual_seed(i)).tolist() for i in range(times)
    )
    return [[models[i] for i in rows[:count]] for rows in orders]
