"""What opening a suspect needs to know."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from zooaudit.suspects.asking import silent
from zooaudit.suspects.contract import Contract

ANSWERS = "answers"
LEDGERS = Path("ledgers")


@dataclass(frozen=True)
class How:
    """What opening a suspect needs to know.

    Attributes:
        kit: id of the kit whose questions are asked.
        classes: the kit's names of its classes; of a suspect with other classes, as many names as it has.
        say: is called with what is found out about an API and what is waited for.
        described: whether the interface was described, so that its values are taken as they are.
        budget: queries that an API may be charged over all runs.
        ledger: an API's; by default a file of its own in ``LEDGERS``.
        kind: ``ANSWERS`` if the name is of a file of answers.
        others: whether the suspect's classes are not the kit's, so that their order says nothing.
        contract: how a file is asked, as far as that is said.
        local: brings a model that lies elsewhere to this machine's disk.
        allowed: environment variables whose values a description in a file may have sent to its address;
            ``AWS`` for AWS's credentials.
    """

    kit: str
    image_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    described: bool = False
    factory: str | None = None
    budget: int = 0
    ledger: Path | None = None
    kind: str = ""
    others: bool = False
    contract: Contract = field(default_factory=Contract)
    local: Callable[[str], Path] = Path
    say: Callable[[str], None] = silent
    allowed: frozenset[str] = frozenset()
