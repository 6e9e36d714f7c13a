"""The only place where a suspect's name becomes something to ask: a file, an address, a description, or
answers that came back."""

import datetime
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from zooaudit.config import digest_of
from zooaudit.errors import ConfigError, InputError, first_line
from zooaudit.suspects import files
from zooaudit.suspects.addresses import is_address_of_suspects
from zooaudit.suspects.api import ApiBlackBox
from zooaudit.suspects.blackbox import BlackBox, FunctionBlackBox, Reading, TorchBlackBox, to_probabilities
from zooaudit.suspects.contract import Classes, Contract, Input
from zooaudit.suspects.contract_files import contract_of
from zooaudit.suspects.contracted import contracted_box
from zooaudit.suspects.how import ANSWERS, LEDGERS, How
from zooaudit.suspects.ledger import Ledger
from zooaudit.suspects.load import Asked, Loaded, load
from zooaudit.suspects.naming import Naming
from zooaudit.suspects.offline import answers_in
from zooaudit.suspects.opening import opened
from zooaudit.suspects.outputs import chosen, valued
from zooaudit.suspects.remote import Remote, read_remote, remote_of
from zooaudit.suspects.signing import check_allowed


class OpenSuspect:
    """An open suspect; close it after use.

    Attributes:
        black_box: to ask; None if there are only answers.
        answers: float32 ``[n, K]`` to the first n questions; None if it can be asked.
        sha256: of its file; "" for an API.
        in_order: whether its columns are assumed to have the kit's order.
        loaded, asked: for a file, its model as it is asked, and what it is asked; else None.
        stated: its contract as stated.
        api: for an API, the black box behind its contract; else None.
    """

    in_order = True
    loaded: Loaded | None = None
    asked: Asked | None = None
    stated = Contract()
    api: ApiBlackBox | None = None

    def __init__(
        self,
        black_box: BlackBox | None,
        answers: Tensor | None = None,
        sha256: str = "",
        ledger: Ledger | None = None,
    ) -> None:
        self._black_box, self.answers, self.sha256, self._ledger = black_box, answers, sha256, ledger
        self._closing: list[Any] = [ledger] if ledger else []

    @staticmethod
    def to(name: str, how: How) -> "OpenSuspect":
        """Open a suspect by its name.

        Raises:
            InputError: there is no such file, address or answers, or they cannot be read.
            SuspectError: another audit is asking it.
        """
        try:
            suspect = OpenSuspect._opened(name, how)
        except OSError as error:
            raise InputError(
                f"{name} cannot be read ({first_line(error)}); expected a readable file"
            ) from error
        suspect.in_order = suspect.in_order and not how.others
        return suspect

    @staticmethod
    def _opened(name: str, how: How) -> "OpenSuspect":
        path = Path(name)
        if how.kind == ANSWERS:
            return _answers(path, how)
        if is_address_of_suspects(name):
            return _remote(remote_of({"url": name}, _named(how)), how)
        if path.suffix == ".toml":
            if "file" in (settings := _settings(path)):
                return _described(path, settings, how)
            remote = read_remote(path, _named(how))
            check_allowed(remote.signing, remote.url, name, how.allowed)
            return _remote(remote, how)
        return _file(how.local(name), how)

    @staticmethod
    def described(settings: dict[str, Any], how: How) -> "OpenSuspect":
        """Open an API by the settings that a TOML file would have; they may include its keys, which the
        caller has already.

        Raises:
            ConfigError: an unknown setting, or a value that it cannot have.
        """
        return _remote(remote_of(settings, _named(how)), how)

    @staticmethod
    def of(model: nn.Module | Callable[[Any], Any], how: How) -> "OpenSuspect":
        """Open a module, or a function of images, of this process.

        Raises:
            ConfigError: the contract has fields for files only.
        """
        columns = len(_named(how))
        reading: Reading = "stated" if how.described else "guess"
        kind = TorchBlackBox if isinstance(model, nn.Module) else FunctionBlackBox
        name = getattr(model, "__name__", type(model).__name__)
        asked = kind(model, columns, name, "any" if how.contract != Contract() else reading)  # type: ignore[arg-type]
        suspect = OpenSuspect(
            contracted_box(asked, how.contract, how.image_shape, how.classes, name, reading)
        )
        suspect.stated = how.contract
        suspect.in_order = how.contract.classes == Classes() and not how.others
        return suspect

    @property
    def black_box(self) -> BlackBox:
        """The black box to ask."""
        assert self._black_box is not None, "there are only answers"
        return self._black_box

    @property
    def ledger(self) -> Path | None:
        return self._ledger.path if self._ledger else None

    @property
    def how(self) -> dict[str, Any]:
        """How it was asked, or its answers read, for the record: the contract as stated and as inferred, and
        for an API its metadata; empty fields are left out."""
        seen = self.loaded.notes if self.loaded else self._ledger.seen if self._ledger else ()
        return (
            {"said": self.stated.to_json(), "seen": list(seen)} if seen or self.stated != Contract() else {}
        )

    @property
    def answered(self) -> dict[str, str | None]:
        """When an API's first and last answer came, UTC, null if unknown; empty for anything else."""
        return between(self.api.came) if self.api else {}

    def facts(self) -> dict[str, Any]:
        """What an API charged."""
        if not self._ledger:
            return {}
        return {"charged": self._ledger.spent, "lost": self._ledger.lost, "ledger": str(self._ledger.path)}

    def __enter__(self) -> "OpenSuspect":
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._closing:
            one.close()


def between(came: tuple[float | None, float | None]) -> dict[str, str | None]:
    """Times of a first and a last answer, for the record."""
    rows = [
        t if t is None else datetime.datetime.fromtimestamp(t, datetime.UTC).isoformat(timespec="seconds")
        for t in came
    ]
    return {"first": rows[0], "last": rows[1]}


def _answers(path: Path, how: How) -> OpenSuspect:
    """Open answers that came back, for the kit's classes or for classes that the contract maps to them."""
    stated = how.contract
    if stated.input != Input():
        raise ConfigError(
            f"{path} holds answers, and the contract's input says how to ask; give only its output and"
            " classes"
        )
    if how.others and stated.classes != Classes():
        raise ConfigError(BOTH)
    columns, result = stated.classes.of(how.classes), answers_in(path)
    wide = (
        stated.classes.names or (tuple(map(str, range(result.width or 0))) if columns else ()) or how.classes
    )
    rows, form = result.rows(Naming(wide), how.kit)
    reading: Reading = "guess" if form == "list" and not how.described else "stated"
    rows = valued(rows, stated.output, str(path), reading == "stated")
    rows = chosen(rows, columns, str(path), reading) if columns else rows
    suspect = OpenSuspect(
        None, to_probabilities(rows, len(rows), len(how.classes), str(path), reading), files.sha256(path)
    )
    suspect.stated = stated
    return suspect


BOTH = (
    "--suspect-classes says that the suspect's classes are not the kit's, and the contract maps them;"
    " give only one"
)


def _remote(remote: Remote, how: How) -> OpenSuspect:
    reading: Reading = "stated" if how.described else "guess"
    transport, closing = opened(remote)
    about = {"kit": how.kit, **remote.about}
    path = how.ledger or LEDGERS / f"{how.kit}-{digest_of(about)}.sqlite"
    ledger = Ledger(path, about, how.budget)
    api = ApiBlackBox(remote, ledger, transport, described=how.described, say=how.say)
    suspect = OpenSuspect(
        contracted_box(api, how.contract, how.image_shape, how.classes, remote.shown, reading), ledger=ledger
    )
    suspect._closing.append(closing)
    suspect.api = api
    suspect.stated = how.contract
    suspect.in_order = how.contract.classes == Classes() and list(remote.naming.columns) == list(
        range(len(how.classes))
    )
    return suspect


def _named(how: How) -> tuple[str, ...]:
    """The names of an API's classes: those in its contract, or the kit's.

    Raises:
        ConfigError: the contract states something that belongs in the API's own description.
    """
    stated, classes = how.contract, how.contract.classes
    if how.others and classes != Classes():
        raise ConfigError(BOTH)
    own = {
        "layout": stated.input.layout,
        "dtype": stated.input.dtype,
        "batch": stated.input.batch,
        "name": stated.input.name,
    }
    if given := next((name for name, value in own.items() if value), None):
        settings = "layout, scale, datatype, batch and input"
        raise ConfigError(
            f"--contract input.{given} is for files; an API's description has its own settings for it:"
            f" {settings}"
        )
    if stated.output.name or stated.output.index is not None:
        raise ConfigError(
            "--contract output.name and output.index are for files; an API's description has the settings"
            " output and answers"
        )
    if classes.columns:
        raise ConfigError(
            "--contract classes.columns is for files; for an API, name all of its classes, in its order:"
            " classes.names=[...]"
        )
    return classes.names or how.classes


def _file(path: Path, how: How) -> OpenSuspect:
    """Open a model in a file or a folder."""
    if how.others and how.contract.classes != Classes():
        raise ConfigError(BOTH)
    reading: Reading = "stated" if how.described else "guess"
    classes = tuple(map(str, range(len(how.classes)))) if how.others else how.classes
    asked = Asked(how.image_shape, classes, how.contract, reading)
    loaded = load(path, how.factory, asked)
    suspect = OpenSuspect(
        TorchBlackBox(loaded.module, len(classes), str(path), reading),
        sha256=files.digest(files.files_of(path)),
    )
    suspect.asked = asked
    suspect.loaded, suspect.stated, suspect.in_order = loaded, how.contract, how.contract.classes == Classes()
    return suspect


FIELDS = ("file", "factory", "input", "output", "classes")


def _settings(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError):
        return {}  # the next reader reports the error


def _described(path: Path, settings: dict[str, Any], how: How) -> OpenSuspect:
    """Open a file suspect with its own contract and factory: ``file = "theirs.onnx"`` and the contract's
    tables."""
    if unknown := [name for name in settings if name not in FIELDS]:
        raise ConfigError(
            f"{path}: the setting {unknown[0][:80]!r} is unknown; expected some of {', '.join(FIELDS)}"
        )
    for name in ("file", "factory"):
        if not isinstance(settings.get(name, ""), str):
            raise ConfigError(f"{path}: {name} is {str(settings[name])[:80]!r}; expected a text")
    tables = {name: value for name, value in settings.items() if name in ("input", "output", "classes")}
    name = settings["file"]
    place = how.local(name) if "://" in name or ":/" in name else path.parent / name
    own = replace(
        how,
        factory=settings.get("factory", how.factory),
        contract=contract_of(tables, str(path)).over(how.contract),
    )
    return _file(place, own)
