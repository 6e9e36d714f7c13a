"""What carries questions to a suspect behind an API: one small protocol for all wire formats.

A transport sends a batch and returns answers, or a refusal with its reason. Ledger, budget, rate limit and
retries belong to :class:`~zooaudit.suspects.api.ApiBlackBox`, which wraps any transport.
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
    """A request without answers, although another may succeed.

    Attributes:
        reason: after the suspect's name, as in "answers 503".
        outcome: the ledger's ``REFUSED`` if it certainly was not answered, else ``LOST``.
        wait_s: how long the suspect asks to be left alone; 0 if it does not say.
        most: how many images a request may have, if these were too many; else 0.
        message: the suspect's own message; "" if it is uninformative.
        loading: whether its model is loading, so that waiting helps however often it was asked.
    """

    reason: str
    outcome: str = REFUSED
    wait_s: float = 0.0
    most: int = 0
    message: str = ""
    loading: bool = False


@dataclass(frozen=True)
class Takes:
    """A suspect's description of itself, before the first question.

    Attributes:
        most: most images in a request; 0 if unknown.
        exact: how many images every request must have; 0 for any number.
        columns: how many numbers an answer has; 0 if unknown.
        notes: what was read from it, in words.
        seen: for the record: the description, and how pixels are sent because of it; empty without one.
    """

    most: int = 0
    exact: int = 0
    columns: int = 0
    notes: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()


class Transport(Protocol):
    """Used by several threads at a time, after a single call of ``learn``."""

    def learn(self, shape: tuple[int, int, int]) -> Takes | Refusal:
        """Read the suspect's optional description of itself. Nothing is charged for it.

        Args:
            shape: of the images that it will be asked, (channels, height, width).

        Raises:
            ConfigError: such images cannot be sent by its description; names the setting that resolves it.
        """
        ...

    def message(self, images: Tensor) -> Message:
        """The request for float images ``[n, c, h, w]``."""
        ...

    def send(self, message: Message, count: int) -> list[Any] | Refusal:
        """Answers, one for each image, in whatever form.

        Raises:
            SuspectError: the suspect will never answer this.
            AnswersError: it answered something else.
        """
        ...
