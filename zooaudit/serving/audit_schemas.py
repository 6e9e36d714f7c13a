"""Requests and replies about audits, as JSON."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from zooaudit.serving.schemas import Page, Schema, State, TwinVerdict


class AuditRequest(Schema):
    """A suspect for the service to ask."""

    model_config = ConfigDict(extra="forbid")

    kit: str = Field(min_length=1, max_length=100)
    suspect: dict[str, Any]
    """``url`` and, where the address does not say it all, how it is asked: protocol, layout, classes,
    columns, headers, rate, ...: as a description for the command line."""
    level: float | None = Field(default=None, gt=0, lt=0.5)
    access: str | None = Field(default=None, max_length=40)
    budget: int | None = Field(default=None, ge=1, le=1_000_000)
    """Queries that the suspect may charge for, over all audits of it by this kit."""
    queries: int | None = None
    """Questions at most: one of the kit's ``looks``."""
    p_value: Literal["rank", "normal"] = "rank"
    suspect_classes: int | None = Field(default=None, ge=2, le=100_000)
    """How many classes the suspect has, where they are not the kit's."""
    ask_everything: bool = False
    """Ask all questions, even when the decision is settled, or when the first answers are
    no better than by chance."""

    fresh: bool = False
    """Ask everything anew: use no answers of the audits before, and leave them as they are."""


class Trouble(Schema):
    """A suspect that does not answer just now."""

    text: str
    """All of it, in words."""
    reason: str
    times: int
    """How often one request failed in a row; 0 while it is still out."""
    next_try: float | None
    gives_up: float
    """Seconds since 1970; null while a request is still out."""
    tries: int
    """After so many it is given up before; 0 for no such limit."""


class Progress(Schema):
    """How far an audit is; what is not known yet, or not so, is null."""

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
    """For what it waits before it is run, or run again."""
    waiting_for: str | None = None
    """The audit that has to end first."""
    trouble: Trouble | None = None


class AuditResult(TwinVerdict):
    """The verdict on a suspect that the service asked."""

    charged: int
    lost: int
    """Queries whose answers were lost on the way."""
    kit: str
    digest: str
    evidence: str | None
    """Of the store; null where there was no use in asking."""


class Audit(Schema):
    """An audit, how far it is, and what came of it."""

    id: str
    kit: str
    by: str
    """The name of the key that asked for it."""
    suspect: str
    level: float | None
    """What it is judged at; null of audits that were asked for before this was noted."""
    state: State
    made: float
    changed: float
    """Seconds since 1970."""
    progress: Progress
    result: AuditResult | None
    error: str


class Audits(Page):
    """Audits: those that have not ended first, the newest first among them."""

    audits: list[Audit]


class Reports(Page):
    """Names of runs."""

    reports: list[str]
