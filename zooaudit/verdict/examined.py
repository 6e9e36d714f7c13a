"""The objects of the twin test: candidates, references, families of questions; and the results for a
suspect."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from zooaudit.suspects.access import Access
from zooaudit.verdict.decision import TwinVerdict

NATURAL, FOREIGN, LOG = "natural", "foreign", "log"
FAMILIES = (NATURAL, FOREIGN, LOG)
"""Images of the victim's task, images of anything else, and images that the victim was asked."""
NO_CLASS = -1


@dataclass(frozen=True)
class Candidate:
    """The victim or a twin: its id, and its accuracy on the test images."""

    id: str
    accuracy: float


@dataclass(frozen=True)
class Reference:
    """A model of another procedure, and how it was made: for example ``trained``, ``cloudleak (hard)``, or
    the kind of net: ``mlp``.

    Attributes:
        source: id of the model that it was extracted from; "" without one. When it is tried as a suspect, its
            whole source group is left out.
    """

    id: str
    kind: str
    source: str = ""


@dataclass(frozen=True, eq=False)
class Examined:
    """A suspect's answers float32 ``[queries, K]`` so far, how they are read, and the verdict on them."""

    verdict: TwinVerdict
    answers: Tensor
    access: Access

    @property
    def queries(self) -> int:
        return len(self.answers)


@dataclass(frozen=True, eq=False)
class Compared:
    """The results of a suspect's answers, whichever candidate is the victim.

    Attributes:
        looks: standardised statistics ``[looks so far, C]``, candidates in the test's order.
        abstain_reason: why these answers cannot be judged; "" if they can.
        by_columns: whether the suspect has as many classes as the kit.
    """

    looks: np.ndarray
    abstain_reason: str
    access: Access
    by_columns: bool
    queries: int

    def ordered(self, order: Sequence[int]) -> "Compared":
        """The same for a test with its candidates in another order."""
        return replace(self, looks=self.looks[:, list(order)])
