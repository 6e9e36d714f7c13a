"""Replies about stored verdicts and about a caller's own key."""

from typing import Any, Literal

from pydantic import BaseModel

from zooaudit.serving.schemas import Score


class Caller(BaseModel):
    """The caller's key, and what it may do here."""

    name: str
    scopes: list[str]
    per_minute: int
    """Requests; 0 is no limit."""
    expires: str | None
    """The first day on which the key is not accepted, UTC."""
    open: bool
    """Whether the service needs no keys."""
    keeps: bool
    """Whether the service stores verdicts, and asks suspects if it may ask any."""
    model_bytes: int
    """The largest model file that it runs, in bytes; 0 if it runs none."""
    suspects: list[str]
    """Hosts, or beginnings of addresses, that it may ask."""


class Listed(BaseModel):
    """A score or an audit, in a line."""

    id: str
    kind: Literal["score", "audit"]
    made: float
    """Seconds since 1970."""
    by: str
    """The name of the key."""
    kit: str
    suspect: str
    method: str
    state: str
    decision: str
    """"" for an audit without a verdict."""
    level: float | None
    p_value: float | None


class Listing(BaseModel):
    """The newest first."""

    verdicts: list[Listed]
    next: str | None
    """The ``cursor`` of the older ones; null if there are none."""


class Verdict(BaseModel):
    """A score as it was given, and its request."""

    id: str
    made: float
    by: str
    score: Score
    asked: dict[str, Any]
    answers_kept: bool
    """Whether the answers are stored too: explanations and evidence packs need them."""


class Explanation(BaseModel):
    """Why a verdict is what it is, as ``zooaudit explain --json`` prints it, with the image of each
    question."""

    suspect: str
    kit: str
    kit_sha256: str
    victim: str
    answers_sha256: str
    evidence: str
    verdict: dict[str, Any]
    candidates: list[dict[str, Any]]
    looks: list[dict[str, Any]]
    leads: bool
    questions: list[dict[str, Any]]
    decided_by: list[str]
    abstained: list[str]
