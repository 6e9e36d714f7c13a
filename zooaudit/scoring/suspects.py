"""A suspect to score: what it is, how it is opened, and its results so far."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from zooaudit.errors import InputError, SuspectError
from zooaudit.suspects.addresses import without_keys
from zooaudit.suspects.contract import Contract
from zooaudit.suspects.how import How
from zooaudit.suspects.opened import OpenSuspect
from zooaudit.verdict.decision import TwinVerdict
from zooaudit.verdict.examined import Examined


class Say(Protocol):
    """Receives progress: a message for people, "" for none, and an event with its facts for a log."""

    def __call__(self, message: str, event: str = "note", **facts: object) -> None: ...


def silent(message: str, event: str = "note", **facts: object) -> None:
    """Ignore progress."""


@dataclass(frozen=True)
class Opening:
    """How suspects are opened, of whatever kind.

    Attributes:
        factory: builds the module, for suspects that are weights.
        contract: for suspects that are files.
        ledger: file for an API's answers; None for a file of its own.
        allowed: environment variables that a suspect's TOML file may name.
    """

    factory: str | None = None
    contract: Contract = field(default_factory=Contract)
    ledger: Path | None = None
    allowed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Named:
    """One suspect to score.

    Attributes:
        name: its file, address, or description in a TOML file; otherwise any name.
        answers: whether the file holds its answers.
        given: for anything but a file or an address: a function that takes the parameters and opens it.
        called: its name in messages and evidence; "" for ``name``.
    """

    name: str
    answers: bool = False
    given: Callable[[How], OpenSuspect] | None = None
    called: str = ""

    def open(self, how: How) -> OpenSuspect:
        """See ``OpenSuspect.to``."""
        return self.given(how) if self.given else OpenSuspect.to(self.name, how)


@dataclass(eq=False)
class Case:
    """One suspect: how it is asked, the result of its answers, any failure, and the facts to report."""

    named: Named
    kit: str
    opened: OpenSuspect | None = None
    examined: Examined | None = None
    verdict: TwinVerdict | None = None
    trouble: InputError | SuspectError | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.facts |= {"suspect": self.shown, "kit": self.kit}

    @property
    def shown(self) -> str:
        """Its name without keys in an address, for messages, logs and evidence."""
        return without_keys(self.named.called or self.named.name)
