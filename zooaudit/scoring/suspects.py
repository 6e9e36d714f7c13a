"""A suspect that is to be scored: what it is, how it is opened, and what has become of it so far."""

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
    """Hears what happens: a message for people, "" if there is none, and an event with its
    facts for a log."""

    def __call__(self, message: str, event: str = "note", **facts: object) -> None: ...


def silent(message: str, event: str = "note", **facts: object) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Opening:
    """How suspects are opened, whatever they are.

    Attributes:
        factory: what builds the module of suspects that are weights.
        contract: how suspects that are files are asked.
        ledger: where an API's answers are kept; None for a file of its own.
        allowed: environment variables that a suspect's TOML may name.
    """

    factory: str | None = None
    contract: Contract = field(default_factory=Contract)
    ledger: Path | None = None
    allowed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Named:
    """One suspect to score.

    Attributes:
        name: its file, address, or description in a TOML file; otherwise what it is called.
        answers: whether the file holds its answers.
        given: what to ask, where that is no file and no address: takes what opening it needs, and opens it.
        called: what it is called in messages and evidence; "" for its name.
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
    """One suspect: how it is asked, what its answers gave, what went wrong with it, and the
    facts that are reported."""

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
        """Its name without the keys that an address may have: in messages, logs and evidence."""
        return without_keys(self.named.called or self.named.name)
