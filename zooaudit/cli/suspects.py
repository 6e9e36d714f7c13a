"""The suspects of one ``zooaudit score``: how each is asked, and what becomes of the others when one of them cannot be."""

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from zooaudit.choices import SEEN
from zooaudit.cli.terminal import Voice
from zooaudit.errors import ColumnsError, ConfigError, InputError, SuspectError
from zooaudit.kits.kit import Kit, asked_as, find_kit, read_kit
from zooaudit.storage.artifact import Artifact
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.places import local
from zooaudit.suspects.access import Access
from zooaudit.suspects.addresses import without_keys
from zooaudit.suspects.contract import Contract
from zooaudit.suspects.contract_files import read_contract
from zooaudit.suspects.opened import ANSWERS, How, OpenSuspect
from zooaudit.verdict.decision import TwinVerdict, check_level
from zooaudit.verdict.twin_test import Examined


@dataclass(eq=False)
class Case:
    """One suspect: how it is asked, what its answers gave, what went wrong with it, and what is told of it."""

    name: str
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
        return without_keys(self.name)


@dataclass(frozen=True, eq=False)
class Scoring:
    """What is common to the suspects of one command."""

    args: argparse.Namespace
    tell: Voice
    artifacts: Artifacts

    @cached_property
    def artifact(self) -> Artifact:
        return find_kit(self.artifacts, self.args.kit)

    @cached_property
    def kit(self) -> Kit:
        return read_kit(self.artifact)

    @cached_property
    def names(self) -> list[str]:
        """Of suspects to ask, and of files with answers."""
        return [*(self.args.suspect or []), *(self.args.answers or [])]

    @property
    def access(self) -> Access | None:
        return None if self.args.access == SEEN else Access.named(self.args.access)

    @property
    def horizon(self) -> int:
        """Questions of the twin test at most."""
        return self.kit.twin_test.stops(self.args.queries)[-1]

    @property
    def budget(self) -> int:
        """Queries that the method takes at most."""
        paper = self.kit.victim_answers.shape[:3].numel()
        return {"twins": self.horizon, "paper": paper, "both": self.horizon + paper}[self.args.method]

    def check(self) -> None:
        """Refuse what is wrong with the command, before anybody is asked.

        Raises:
            ConfigError: what is wrong, and what was expected.
        """
        args, names = self.args, self.names
        if not names:
            raise ConfigError("whom do you suspect? give --suspect (a file, an address, or a .toml that describes one), or --answers")
        if len(set(names)) < len(names):
            raise ConfigError("a suspect is named twice; each counts once")
        if args.budget is not None and args.budget < 1:
            raise ConfigError(f"--budget is {args.budget}; expected a number of queries, 1 at least")
        if args.answers and args.method == "both":
            raise ConfigError("answers are to one method's questions: give --method twins (the default) or --method paper")
        if args.suspect_classes is not None and args.suspect_classes < 2:
            raise ConfigError(f"--suspect-classes is {args.suspect_classes}; expected how many classes the suspect has, 2 at least")
        if args.suspect_classes not in (None, self.kit.num_classes) and args.method != "twins":
            raise ConfigError("the paper's test compares class by class; a suspect with other classes takes --method twins")
        if args.level is not None:
            check_level(args.level)
        self.kit.twin_test.stops(args.queries)
        if args.access != SEEN:
            Access.named(args.access)

    def attempt(self, case: Case, step: Callable[["Scoring", Case], None]) -> None:
        """Take a step with one suspect. Of several, one that cannot be asked does not end the command; it is left alone from then on.

        Raises:
            InputError, SuspectError: what went wrong with the only suspect.
        """
        if case.trouble is not None:
            return
        try:
            step(self, case)
        except (InputError, SuspectError) as error:
            case.trouble = self._hinting(error)
            if len(self.names) == 1:
                raise case.trouble from error
            text = case.facts["error"] = " ".join(str(case.trouble).split())
            self.tell(f"{case.shown}: {text}", "failed", suspect=case.shown, code=error.exit_code, reason=text)

    def _hinting(self, error: InputError | SuspectError) -> InputError | SuspectError:
        """The error, and how a suspect with other classes is asked."""
        if not isinstance(error, ColumnsError) or self.args.suspect_classes is not None or self.args.method != "twins":
            return error
        message = (
            f"{error}; if the victim's classes are among its own, say where: --contract classes.columns=[...] or classes.names=[...]; "
            f"if its classes are not the victim's, give --suspect-classes {error.columns}"
        )
        return ColumnsError.counted(error.columns, message, error.found, error.expected)


def open_suspect(scoring: Scoring, case: Case, stack: ExitStack) -> None:
    """Find out how a suspect is asked."""
    args, kit = scoring.args, scoring.kit
    scoring.tell("", "started", suspect=case.shown, kit=case.kit, store=args.store, method=args.method, budget=scoring.budget)
    others = args.suspect_classes not in (None, kit.num_classes)
    contract = read_contract(args.contract) if args.contract else Contract()
    how = How(
        asked_as(scoring.artifact), kit.image_shape, kit.named(args.suspect_classes),
        args.access != SEEN, args.factory, scoring.budget if args.budget is None else args.budget,
        Path(args.ledger) if args.ledger else None, ANSWERS if case.name in (args.answers or []) else "", others,
        contract, local, lambda text: scoring.tell(text, "suspect", suspect=case.shown, text=text),
        frozenset(args.allow_key_env or ()),
    )  # fmt: skip
    case.opened = stack.enter_context(OpenSuspect.to(case.name, how))
    if case.opened.loaded:
        for note in case.opened.loaded.notes:
            scoring.tell(f"{case.shown}: {note}", "seen", suspect=case.shown, seen=note)
    if case.opened.ledger:
        words = str(case.opened.ledger)
        scoring.tell(f"{case.shown}: answers are kept in {words}", "ledger", suspect=case.shown, ledger=words)
