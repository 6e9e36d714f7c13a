"""Other methods with fewer questions: which of the victim's questions a method asks of a suspect for a
budget, and its score of them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from zooaudit.baselines.methods import METHODS, Crafted, Method

BUDGETS = (10, 50, 100, 500)
"""Images that a suspect is asked."""


@dataclass(frozen=True, eq=False)
class Natural:
    """A model's answers to some images of the pool.

    Attributes:
        rows: int64 ``[m]``, ascending: which images; ``answers`` float32 ``[m, K]``.
    """

    rows: Tensor
    answers: Tensor

    @staticmethod
    def to_all(answers: Tensor) -> "Natural":
        return Natural(torch.arange(len(answers)), answers)

    def at(self, rows: Tensor) -> Tensor:
        """The answers to these images, each of which was asked."""
        return self.answers[torch.searchsorted(self.rows, rows)]


@dataclass(frozen=True, eq=False)
class Cut:
    """A method and the questions of one victim that fit a budget.

    Attributes:
        rows: int64 ``[a]``, natural images; then the first ``made`` of the images that were made.
    """

    method: Method
    budget: int
    rows: Tensor
    made: int

    @property
    def asked(self) -> int:
        return len(self.rows) + self.made

    def score(
        self, crafted: Crafted, own: dict[str, Tensor], natural: Natural, given: dict[str, Tensor]
    ) -> float:
        """Of a suspect against the victim.

        Args:
            own, given: the victim's and the suspect's answers to the images made from the
                victim, by what they are.
            natural: the suspect's answers to natural images.
        """
        mine, theirs = crafted.answers[self.rows], natural.at(self.rows)
        if self.made:
            mine, theirs = (
                torch.cat([part, of[self.method.made][: self.made]])
                for part, of in ((mine, own), (theirs, given))
            )
        return self.method.score(mine, theirs, crafted.labels[crafted.surest][: self.made])


def cuts(crafted: Crafted, made: dict[str, int]) -> list[Cut]:
    """Every method at every budget: all its questions where it has fewer, once.

    Args:
        made: how many images there are of each kind that is made.
    """
    found = []
    for method in METHODS:
        asked = 0
        for budget in BUDGETS:
            one = _cut(method, crafted, made.get(method.made, 0), budget)
            if one.asked > asked:
                found.append(one)
            asked = one.asked
    return found


def _cut(method: Method, crafted: Crafted, made: int, budget: int) -> Cut:
    rows = method.rows(crafted).cpu()
    if not method.made:
        return Cut(method, budget, rows[:budget], 0)
    if not len(rows):
        return Cut(method, budget, rows, min(budget, made))
    each = min(budget // 2, len(rows), made)  # an image and what was made of it
    return Cut(method, budget, rows[:each], each)


def needed(found: list[Cut]) -> Tensor:
    """All natural images that are asked for: int64 ``[m]``, ascending."""
    return torch.cat([one.rows for one in found]).unique()
