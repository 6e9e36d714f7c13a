"""The parameters for opening a suspect."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from zooaudit.suspects.asking import silent
from zooaudit.suspects.contract import Contract

ANSWERS = "answers"
LEDGERS = Path("ledgers")


@dataclass(frozen=True)
class How:
    """The parameters for opening a suspect.

    Attributes:
        kit: id of the kit whose questions are asked.
        classes: the kit's names of its classes; for a suspect with other classes, as many placeholders.
        say: called with what is found out about an API, and with waits.
        described: whether the interface was described, so that its values are taken as they are.
        budget: the most queries that an API may charge, over all runs.
        ledger: an API's; by default a file of its own in ``LEDGERS``.
        kind: ``ANSWERS`` if the name is that of a file of answers.
        others: whether the suspect's classes are not the kit's, so that their order means nothing.
        contract: how a file is asked, as far as stated.
        local: downloads a model that is stored elsewhere.
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
