"""Score suspects together: each is opened, asked and judged; one that cannot be asked does not stop the
others."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from zooaudit.auditing.suspect_check import order_hint
from zooaudit.choices import SEEN
from zooaudit.errors import ColumnsError, ConfigError, InputError, SuspectError
from zooaudit.evidence.records import Together, keep
from zooaudit.kits.kit import Kit, answers_digest, asked_as, read_kit
from zooaudit.paper.fingerprint import ask
from zooaudit.scoring.asking import examined, not_judged, worth_asking
from zooaudit.scoring.settings import ScoreSettings
from zooaudit.scoring.suspects import Case, Named, Opening, Say, silent
from zooaudit.storage.artifact import Artifact
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.places import local
from zooaudit.suspects.how import ANSWERS, How
from zooaudit.suspects.opened import OpenSuspect
from zooaudit.verdict import wording
from zooaudit.verdict.examined import Examined
from zooaudit.verdict.several import corrected


@dataclass(frozen=True, eq=False)
class Scoring:
    """How suspects of one kit are scored.

    Attributes:
        artifacts: the store for evidence.
        artifact, kit: the kit, as stored and as read.
        say: called with progress.
    """

    artifacts: Artifacts
    artifact: Artifact
    kit: Kit
    settings: ScoreSettings
    opening: Opening = field(default_factory=Opening)
    say: Say = silent

    @staticmethod
    def of(
        artifacts: Artifacts, artifact: Artifact, settings: ScoreSettings, opening: Opening, say: Say = silent
    ) -> "Scoring":
        """Read the kit, and refuse settings that do not fit it.

        Raises:
            ConfigError: see ``ScoreSettings.check``.
        """
        scoring = Scoring(artifacts, artifact, read_kit(artifact), settings, opening, say)
        settings.check(scoring.kit)
        return scoring

    def score(self, suspects: Sequence[Named]) -> list[Case]:
        """Ask all suspects, or read their answers, and judge them together.

        Among several, one that cannot be asked has the reason in its case.

        Raises:
            ConfigError: no suspects, one named twice, or answers to two methods.
            InputError, SuspectError: the only suspect failed.
        """
        check(suspects, self.settings)
        cases, method = [Case(named, self.artifact.id) for named in suspects], self.settings.method
        with ExitStack() as stack:
            self._each(cases, partial(self._open, stack=stack))
            if method != "paper":
                self._each(
                    cases, partial(self._examine, early=len(cases) == 1 and not self.settings.ask_everything)
                )
                self._together(cases)
            if method != "twins":
                self._each(cases, self._by_paper)
            for case in cases:
                case.facts |= {"trial": self.kit.trial} if self.kit.trial else {}
                case.facts |= case.opened.facts() if case.opened else {}
        for case in cases:
            self.say("", "done", **_flat(case.facts))
        return cases

    def _each(self, cases: Sequence[Case], step: Callable[[Case], None]) -> None:
        """Take a step with each suspect. Among several, one that failed is skipped from then on."""
        for case in (c for c in cases if c.trouble is None):
            try:
                step(case)
            except (InputError, SuspectError) as error:
                case.trouble = self._hinting(error)
                if len(cases) == 1:
                    raise case.trouble from error
                text = case.facts["error"] = " ".join(str(case.trouble).split())
                self.say(
                    f"{case.shown}: {text}", "failed", suspect=case.shown, code=error.exit_code, reason=text
                )

    def _hinting(self, error: InputError | SuspectError) -> InputError | SuspectError:
        """The error, with how to ask a suspect with other classes."""
        if (
            not isinstance(error, ColumnsError)
            or self.settings.suspect_classes is not None
            or self.settings.method != "twins"
        ):
            return error
        message = (
            f"{error}; if the victim's classes are among its own, map them: --contract classes.columns=[...]"
            " or classes.names=[...]; if its classes are not the victim's, give --suspect-classes"
            f" {error.columns}"
        )
        return ColumnsError.counted(error.columns, message, error.found, error.expected)

    def _open(self, case: Case, stack: ExitStack) -> None:
        """Prepare to ask a suspect."""
        kit, settings, opening, shown = self.kit, self.settings, self.opening, case.shown
        takes = settings.takes(kit)
        self.say(
            "",
            "started",
            suspect=shown,
            kit=case.kit,
            store=self.artifacts.url,
            method=settings.method,
            budget=takes,
        )
        how = How(
            asked_as(self.artifact),
            kit.image_shape,
            kit.named(settings.suspect_classes),
            settings.access != SEEN,
            opening.factory,
            takes if settings.budget is None else settings.budget,
            opening.ledger,
            ANSWERS if case.named.answers else "",
            settings.others(kit),
            opening.contract,
            local,
            lambda text: self.say(text, "suspect", suspect=shown, text=text),
            opening.allowed,
        )
        case.opened = stack.enter_context(case.named.open(how))
        if case.opened.loaded:
            for note in case.opened.loaded.notes:
                self.say(f"{shown}: {note}", "seen", suspect=shown, seen=note)
        if ledger := case.opened.ledger:
            self.say(f"{shown}: answers are kept in {ledger}", "ledger", suspect=shown, ledger=str(ledger))

    def _examine(self, case: Case, early: bool) -> None:
        """Judge one suspect by itself. Several are asked everything: their corrected p-values need it."""
        opened = _opened(case)

        def on_look(so_far: Examined) -> None:
            verdict = so_far.verdict
            self.say(
                "",
                "look",
                suspect=case.shown,
                queries=so_far.queries,
                decision=verdict.decision,
                p=verdict.p_value,
            )

        if opened.answers is None:
            found = worth_asking(self.kit, opened, case.shown, self.settings)
            case.facts |= {"hint": found.hint} if found.hint else {}
            if found.objection:
                case.verdict = not_judged(self.kit, self.settings, found.objection, opened.black_box.queries)
                return
        case.examined = examined(self.kit, opened, self.settings, early, on_look)
        case.verdict = case.examined.verdict

    def _together(self, cases: Sequence[Case]) -> None:
        """Each verdict, corrected for the number of suspects, and its evidence."""
        for case in cases:
            if case.verdict is None:
                queries = case.opened.black_box.queries if case.opened and case.opened.answers is None else 0
                case.verdict = not_judged(
                    self.kit, self.settings, f"not judged: {case.facts['error']}", queries
                )
        alone = [case.verdict for case in cases if case.verdict]
        for i, (case, verdict) in enumerate(
            zip(cases, corrected(alone, self.settings.correction), strict=True)
        ):
            case.verdict = verdict
            case.facts |= wording.facts(verdict) | {"evidence": None}
            if not case.examined or not case.opened:
                continue
            together = Together(self.settings.correction, tuple(v.p_value for v in alone), i)
            case.facts["evidence"] = keep(
                self.artifacts,
                self.artifact,
                case.shown,
                case.examined,
                self.settings.access,
                together,
                verdict,
                case.opened.sha256,
                case.opened.how,
                case.opened.answered,
            )
            hint = (
                order_hint(self.kit.twin_test, case.examined.answers, case.opened)
                if case.opened.in_order
                else ""
            )
            if hint:
                case.facts.setdefault("hint", hint)

    def _by_paper(self, case: Case) -> None:
        kit, opened = self.kit, _opened(case)
        answers = (
            ask(opened.black_box, kit.questions()) if opened.answers is None else kit.shaped(opened.answers)
        )
        _, verdict = kit.score_answers(case.shown, answers)
        facts = {"encoder": kit.encoder_config.name, "queries": answers.shape[:3].numel(), **asdict(verdict)}
        case.facts["paper"] = facts | {
            "answers_sha256": answers_digest(answers),
            "caution": kit.caution,
            "level": kit.verdict.level,
        }


def check(suspects: Sequence[Named], settings: ScoreSettings) -> None:
    """Refuse suspects that cannot be scored together.

    Raises:
        ConfigError: none, one named twice, or answers to two methods.
    """
    if not suspects:
        raise ConfigError(
            "whom do you suspect? give --suspect (a file, an address, or a .toml that describes one), or"
            " --answers"
        )
    if min(len({s.name for s in suspects}), len({s.called or s.name for s in suspects})) < len(suspects):
        raise ConfigError("a suspect is named twice; each counts once")
    if settings.method == "both" and any(s.answers for s in suspects):
        raise ConfigError(
            "answers are to one method's questions: give --method twins (the default) or --method paper"
        )


def _opened(case: Case) -> OpenSuspect:
    assert case.opened is not None, "it was not opened"
    return case.opened


def _flat(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts for a line of a log: the paper's test under ``paper_``, and no lists."""
    inner = {f"paper_{k}": v for k, v in facts.get("paper", {}).items()}
    return {k: v for k, v in (facts | inner).items() if not isinstance(v, dict | list | tuple)}
