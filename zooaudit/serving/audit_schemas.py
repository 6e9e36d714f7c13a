"""Requests and replies about audits, as JSON."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from zooaudit.serving.schemas import Page, Schema, State, TwinVerdict


class AuditRequest(Schema):
    """A suspect for the service to ask."""

    model_config = ConfigDict(extra="forbid")

    kit: str = Field(min_length=1, max_length=100)
    suspect: dict[str, Any]
    """``url`` and, if the address does not imply it, how the suspect is asked: protocol, layout, classes,
    columns, headers, rate, and so on, as in the command line's TOML file."""
    level: float | None = Field(default=None, gt=0, lt=0.5)
    access: str | None = Field(default=None, max_length=40)
    budget: int | None = Field(default=None, ge=1, le=1_000_000)
    """The most queries that the suspect may charge for, over all audits of it by this kit."""
    queries: int | None = None
    """The most questions: one of the kit's ``looks``."""
    p_value: Literal["rank", "normal"] = "rank"
    suspect_classes: int | None = Field(default=None, ge=2, le=100_000)
    """The suspect's number of classes, if it is not the kit's."""
    ask_everything: bool = False
    """Ask all questions, even when the decision is settled, or when the first answers are no better than
    chance."""

    fresh: bool = False
    """Ask everything again: use no answers of earlier audits, and leave those as they are."""


class Trouble(Schema):
    """A suspect that does not answer at the moment."""

    text: str
    """All of this as a sentence."""
    reason: str
    times: int
    """How often one request failed in a row; 0 for a request in flight."""
    next_try: float | None
    gives_up: float
    """Seconds since 1970; null for a request in flight."""
    tries: int
    """It is given up after this many failures at the latest; 0 for no such limit."""


class Progress(Schema):
    """The progress of an audit; null for what is not known yet or does not apply."""

    queries: int | None = None
    budget: int | None = None
    charged: int | None = None
    """Queries that the suspect may have charged for, over all audits of it that share answers."""
    decision: Literal["stolen", "not shown", "cannot tell"] | None = None
    rank: int | None = None
    twins: int | None = None
    p_value: float | None = None
    settled: bool | None = None
    waiting: str | None = None
    """What it waits for before it runs, or runs again."""
    waiting_for: str | None = None
    """The audit that must end first."""
    trouble: Trouble | None = None


class AuditResult(TwinVerdict):
    """The verdict on a suspect that the service asked."""

    charged: int
    lost: int
    """Queries whose answers were lost in transit."""
    kit: str
    digest: str
    evidence: str | None
    """Its id in the store; null if the audit ended before a verdict."""


class Audit(Schema):
    """An audit, its progress, and its result."""

    id: str
    kit: str
    by: str
    """The name of the key that asked for it."""
    suspect: str
    level: float | None
    """The level of its verdict; null for audits from before this was recorded."""
    state: State
    made: float
    changed: float
    """Seconds since 1970."""
    progress: Progress
    result: AuditResult | None
    error: str


class Audits(Page):
    """Audits: first those that have not ended, then the newest first."""

    audits: list[Audit]


class Reports(Page):
    """Names of runs."""

    reports: list[str]
