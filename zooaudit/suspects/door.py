"""The one place where a suspect's name becomes something to ask: a file, an address, a description, or answers that came back."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from zooaudit.config import digest_of
from zooaudit.errors import InputError, first_line
from zooaudit.suspects.addresses import is_address_of_suspects
from zooaudit.suspects.api import ApiBlackBox, silent
from zooaudit.suspects.blackbox import BlackBox, Reading, TorchBlackBox, to_probabilities
from zooaudit.suspects.ledger import Ledger
from zooaudit.suspects.load import load_model
from zooaudit.suspects.naming import Naming
from zooaudit.suspects.offline import read_answers
from zooaudit.suspects.opening import opened
from zooaudit.suspects.remote import Remote, read_remote, remote_of

ANSWERS = "answers"
LEDGERS = Path("ledgers")


@dataclass(frozen=True)
class How:
    """What a door needs to know.

    Attributes:
        kit: id of the kit whose questions are asked.
        classes: the kit's names of its classes; of a suspect with other classes, as many names as it has.
        others: whether the suspect's classes are not the kit's, so that their order says nothing.
        say: is told what is found out about an API and what is waited for.
        told: whether the interface was described, so that its values are taken as they are.
        budget: queries that an API may be charged over all runs.
        ledger: an API's; by default a file of its own in ``LEDGERS``.
        kind: ``ANSWERS`` if the name is of a file of answers.
    """

    kit: str
    image_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    told: bool = False
    factory: str | None = None
    budget: int = 0
    ledger: Path | None = None
    kind: str = ""
    others: bool = False
    say: Callable[[str], None] = silent


class Door:
    """To one suspect; closed after use.

    Attributes:
        box: to ask; None if there are only answers.
        answers: float32 ``[n, K]`` to the first n questions; None if it can be asked.
        sha256: of its file, "" of an API.
        in_order: whether its columns are taken as the kit's.
    """

    in_order = True

    def __init__(self, box: BlackBox | None, answers: Tensor | None = None, sha256: str = "", ledger: Ledger | None = None) -> None:
        self._box, self.answers, self.sha256, self._ledger = box, answers, sha256, ledger
        self._closing: list[Any] = [ledger] if ledger else []

    @staticmethod
    def to(name: str, how: How) -> "Door":
        """Open it.

        Raises:
            InputError: no such file, address or answers, or they cannot be read.
            SuspectError: it is being asked already.
        """
        try:
            door = Door._opened(name, how)
        except OSError as error:
            raise InputError(f"{name} cannot be read ({first_line(error)}); expected a file that may be read") from error
        door.in_order = door.in_order and not how.others
        return door

    @staticmethod
    def _opened(name: str, how: How) -> "Door":
        path = Path(name)
        if how.kind == ANSWERS:
            rows, form = read_answers(path, Naming(how.classes), how.kit)
            reading: Reading = "guess" if form == "list" and not how.told else "told"
            answers = to_probabilities(rows, len(rows), len(how.classes), name, reading)
            return Door(None, answers, _sha256(path))
        if is_address_of_suspects(name):
            return _remote(remote_of({"url": name}, how.classes), how)
        if path.suffix == ".toml":
            return _remote(read_remote(path, how.classes), how)
        module = load_model(path, how.factory, how.image_shape, len(how.classes))
        return Door(TorchBlackBox(module, len(how.classes), name, "told" if how.told else "guess"), sha256=_sha256(path))

    @property
    def box(self) -> BlackBox:
        """What to ask."""
        assert self._box is not None, "there are only answers"
        return self._box

    @property
    def ledger(self) -> Path | None:
        return self._ledger.path if self._ledger else None

    def told(self) -> dict[str, Any]:
        """What an API was charged."""
        if not self._ledger:
            return {}
        return {"charged": self._ledger.spent, "lost": self._ledger.lost, "ledger": str(self._ledger.path)}

    def __enter__(self) -> "Door":
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._closing:
            one.close()


def _remote(remote: Remote, how: How) -> Door:
    transport, closing = opened(remote)
    about = {"kit": how.kit, **remote.about}
    path = how.ledger or LEDGERS / f"{how.kit}-{digest_of(about)}.sqlite"
    ledger = Ledger(path, about, how.budget)
    door = Door(ApiBlackBox(remote, ledger, transport, told=how.told, say=how.say), ledger=ledger)
    door._closing.append(closing)
    door.in_order = list(remote.naming.columns) == list(range(len(how.classes)))
    return door


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
