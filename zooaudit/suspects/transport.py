"""What carries questions to a suspect behind an API: one small protocol, whatever is spoken on the wire.

A transport sends a batch and brings answers, or a refusal with its reason. It knows of no ledger, budget,
pace or retry: those are :class:`~zooaudit.suspects.api.ApiBlackBox`'s, which wraps any transport.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from zooaudit.suspects.ledger import REFUSED


@dataclass(frozen=True)
class Message:
    """A request's body."""

    kind: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Refusal:
    """A request that brought no answers, though another may.

    Attributes:
        reason: after the suspect's name, as in "answers 503".
        outcome: the ledger's ``REFUSED`` if it surely was not answered, else ``LOST``.
        wait_s: for how long it wants to be let alone; 0 if it does not say.
        most: images that it takes a request, if these were too many; 0 if they were not.
        said: what it said itself, "" if that tells nothing.
        loading: whether its model is on the way, so that waiting helps however often it was asked.
    """

    reason: str
    outcome: str = REFUSED
    wait_s: float = 0.0
    most: int = 0
    said: str = ""
    loading: bool = False


@dataclass(frozen=True)
class Takes:
    """What a suspect told of itself before the first question.

    Attributes:
        most: images a request at most; 0 if it does not say.
        exact: images that every request must have; 0 for any number.
        columns: numbers in an answer; 0 if it does not say.
        notes: what was taken from it, in words.
        seen: for the record: what it told, and how pixels go to it because of that; empty if it told nothing.
    """

    most: int = 0
    exact: int = 0
    columns: int = 0
    notes: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()


class Transport(Protocol):
    """Used by several threads at once, but for ``learn``, which comes first."""

    def learn(self, shape: tuple[int, int, int]) -> Takes | Refusal:
        """What the suspect tells of itself; it need not tell anything. Nothing is charged for it.

        Args:
            shape: of the images that it will be asked, (channels, height, width).

        Raises:
            ConfigError: they cannot be asked of it as it is described, and which setting settles it.
        """
        ...

    def message(self, images: Tensor) -> Message:
        """A request for float images ``[n, c, h, w]``."""
        ...

    def send(self, message: Message, count: int) -> list[Any] | Refusal:
        """Answers, one an image, in whatever form.

        Raises:
            SuspectError: it will never answer this.
            AnswersError: it answered something else.
        """
        ...
