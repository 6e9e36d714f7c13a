"""Kits, suspects and scores from Python."""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
from torch import nn

from zooaudit.errors import ConfigError
from zooaudit.kits import kit as kits
from zooaudit.kits.kit import find_kit, read_kit
from zooaudit.scoring.scoring import Scoring
from zooaudit.scoring.settings import ScoreSettings
from zooaudit.scoring.suspects import Case, Named, Opening
from zooaudit.storage.artifact import Artifact
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.opening import existing_store
from zooaudit.suspects.contract import Contract
from zooaudit.suspects.contract_files import read_contract
from zooaudit.suspects.opened import OpenSuspect

Answering = Callable[[Any], Any]
"""Takes float32 images ``[n, c, h, w]`` in [0, 1] as a NumPy array and returns class probabilities or logits
``[n, K]``."""


@dataclass(frozen=True)
class HttpSuspect:
    """A suspect behind a prediction API, as a TOML file would describe it (docs/apis.md).

    Attributes:
        url: its address.
        settings: those of the file: ``{"protocol": "template", "answers": "results[*].scores", "rate": 20}``.
    """

    url: str
    settings: dict[str, Any]

    def __init__(self, url: str, **settings: Any) -> None:
        object.__setattr__(self, "url", url)
        object.__setattr__(self, "settings", settings)


Suspect = str | Path | HttpSuspect | nn.Module | Answering
"""A file or folder, an address, a description in a TOML file, an ``HttpSuspect``, a module,
or a function of images."""


@dataclass(frozen=True, eq=False)
class Score:
    """The result for one suspect.

    Attributes:
        suspect: its name.
        decision: ``stolen``, ``not shown`` or ``cannot tell``; "" if only the paper's test was made.
        p_value: None if there is none.
        statistic: the victim's, in standard deviations of all candidates; None if there is none.
        queries: how many questions of the twin test the suspect was asked.
        reason: why this decision, in a sentence.
        facts: everything that ``zooaudit score --json`` prints; ``facts["paper"]`` is the paper's test.
    """

    suspect: str
    decision: str
    p_value: float | None
    statistic: float | None
    queries: int
    reason: str
    facts: dict[str, Any]

    @staticmethod
    def of(case: Case) -> "Score":
        """The score of a case."""
        facts = case.facts
        statistics = facts.get("statistics") or [None]
        reason = facts.get("reason") or facts.get("error", "")
        return Score(
            case.shown,
            str(facts.get("decision", "")),
            facts.get("p_value"),
            statistics[0],
            int(facts.get("queries", 0)),
            reason,
            facts,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return self.facts

    def to_arrow(self) -> pa.Table:
        """One row."""
        return to_arrow([self])

    def __str__(self) -> str:
        return f"{self.suspect}: {self.facts.get('headline', self.decision)}: {self.reason}"

    def _repr_html_(self) -> str:
        p = "-" if self.p_value is None else f"{self.p_value:.3g}"
        headline = html.escape(str(self.facts.get("headline", self.decision)))
        return (
            f"<p><strong>{html.escape(self.suspect)}: {headline}</strong> (p {p}, {self.queries}"
            f" questions)<br>{html.escape(self.reason)}</p>"
        )


def to_arrow(scores: Sequence[Score]) -> pa.Table:
    """One row for each score: suspect, decision, p_value, statistic, queries, reason, evidence."""
    columns = ("suspect", "decision", "p_value", "statistic", "queries", "reason")
    rows = [{c: getattr(s, c) for c in columns} | {"evidence": s.facts.get("evidence")} for s in scores]
    types = {"p_value": pa.float64(), "statistic": pa.float64(), "queries": pa.int64()}
    return pa.Table.from_pylist(
        rows, pa.schema([(c, types.get(c, pa.string())) for c in (*columns, "evidence")])
    )


@dataclass(frozen=True, eq=False)
class Kit:
    """All that is needed to score suspects of one victim; from ``load_kit``."""

    id: str
    _artifacts: Artifacts
    _artifact: Artifact

    def score(self, suspect: Suspect, name: str = "", **options: Any) -> Score:
        """Ask a suspect the kit's questions and judge its answers by the twin test. The
        answers are kept in the store as evidence.

        Suspects that are scored one by one are not corrected for their number: of twenty innocent ones, one
        is called stolen at level .05 on average. Use ``score_many`` instead.

        Args:
            suspect: see ``Suspect``.
            name: its name in the evidence; by default its file or address, or the name of the function or
                class.
            options: those of ``zooaudit score``, with ``_`` for ``-``: ``level``,
                ``access``, ``queries``, ``ask_everything``, ``factory``, ``contract``,
                ``ledger``, ``budget``, ``suspect_classes``, ``p_value``, ``method``.

        Raises:
            InputError, ModelError, AnswersError: the suspect cannot be asked, or its answers cannot be read.
            SuspectError: an API does not answer, or its budget is spent; its answers so far
                are in the ledger.
        """
        return score_many(self, [(name, suspect)] if name else [suspect], **options)[0]

    def score_answers(self, answers: str | Path, **options: Any) -> Score:
        """As ``score``, for a file with a suspect's answers to ``zooaudit kit queries``."""
        return _scored(self, [Named(str(answers), answers=True)], options)[0]

    def score_paper(self, suspect: Suspect, name: str = "", **options: Any) -> Score:
        """Score by the paper's t-test, which accuses innocent models too: ``facts["paper"]``."""
        return self.score(suspect, name, method="paper", **options)

    @property
    def facts(self) -> dict[str, Any]:
        """The kit's contents, as ``zooaudit kit show --json`` prints them."""
        from zooaudit.cli.kit import kit_facts

        return kit_facts(self._kit)

    @cached_property
    def _kit(self) -> kits.Kit:
        return read_kit(self._artifact)


def load_kit(store: str | Path, kit: str = "") -> Kit:
    """Load a kit from a store.

    Args:
        kit: its id, or the start of it; optional if the store has one kit.

    Raises:
        MissingArtifactError, UnknownNameError: there is no such store, or not exactly one such kit; the
            message lists the kits.
    """
    artifacts = existing_store(str(store), writes=True)
    found = find_kit(artifacts, kit)
    return Kit(found.id, artifacts, found)


def score_many(kit: Kit, suspects: "Sequence[Suspect | tuple[str, Suspect]]", **options: Any) -> list[Score]:
    """Score several suspects together: their p-values are corrected for the number of suspects
    (``correction="holm"`` or ``"bh"``).

    Args:
        suspects: each a suspect, or its name and the suspect.
        options: as for ``Kit.score``.

    Raises:
        InputError, SuspectError: as for ``Kit.score``, if there is one suspect; among several, a suspect that
            cannot be asked is ``cannot tell``.
    """
    return _scored(
        kit, [_named(*one) if isinstance(one, tuple) else _named("", one) for one in suspects], options
    )


OPENING = ("factory", "contract", "ledger", "allow_key_env")
SETTINGS = tuple(f.name for f in fields(ScoreSettings))


def _scored(kit: Kit, suspects: Sequence[Named], options: dict[str, Any]) -> list[Score]:
    contract = options.get("contract") or Contract()
    opening = Opening(
        options.get("factory"),
        contract if isinstance(contract, Contract) else read_contract(_words(contract)),
        Path(options["ledger"]) if options.get("ledger") else None,
        frozenset(_words(options.get("allow_key_env") or ())),
    )
    if unknown := options.keys() - {*OPENING, *SETTINGS}:
        raise ConfigError(
            f"there is no option {min(unknown)}; expected one of {', '.join(sorted([*OPENING, *SETTINGS]))}"
        )
    settings = ScoreSettings(**{k: v for k, v in options.items() if k in SETTINGS})
    settings.check(kit._kit)
    return [
        Score.of(case)
        for case in Scoring(kit._artifacts, kit._artifact, kit._kit, settings, opening).score(suspects)
    ]


def _words(value: str | Path | Sequence[str]) -> list[str]:
    return [str(value)] if isinstance(value, str | Path) else list(value)


def _named(name: str, suspect: Suspect) -> Named:
    if isinstance(suspect, HttpSuspect):
        described = suspect
        return Named(
            name or described.url,
            given=lambda how: OpenSuspect.described({"url": described.url, **described.settings}, how),
        )
    if isinstance(suspect, str | Path):
        return Named(str(suspect), called=name)
    asked = suspect
    return Named(
        name or getattr(suspect, "__name__", type(suspect).__name__),
        given=lambda how: OpenSuspect.of(asked, how),
    )
