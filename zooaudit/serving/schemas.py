"""What goes over the wire, typed; OpenAPI is made from these."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Row = Annotated[list[float], Field(fail_fast=True)]
Rows = Annotated[list[Row], Field(fail_fast=True)]
Labels = Annotated[list[str | int], Field(fail_fast=True)]


class Answers(BaseModel):
    """A suspect's answers to a method's first questions, in their order: a row of probabilities each, one a class, or a label each."""

    model_config = ConfigDict(extra="ignore", strict=True)  # "forbid" makes an error of each key that is too many

    answers: Rows | None = None
    labels: Labels | None = None


class Status(BaseModel):
    """That the service, or its store, answers."""

    status: str


class KitSummary(BaseModel):
    """What a kit's manifest says."""

    id: str
    digest: str
    """SHA-256 of the manifest: of all that the kit holds."""
    victim: str
    encoder: str
    level: float
    budget: int
    """Queries of the calibrated verdict at most."""


class Kits(BaseModel):
    """All kits of the store, by id."""

    kits: list[KitSummary]


class KitDetail(KitSummary):
    """What a suspect has to be asked, and what its answers are compared with."""

    classes: list[str]
    """In the order of the answers."""
    image_shape: tuple[int, int, int]
    """Channels, height, width."""
    checks: int
    """The first questions, which show whether a suspect does the task."""
    first_look: int
    """Fewest answers that a calibrated verdict takes."""
    references: dict[str, int]
    """Innocent models by family."""
    smallest_p: float
    """The strongest claim that so many references allow."""
    paper: "PaperTest"


class PaperTest(BaseModel):
    """The paper's t-test: how many views of how many datapoints, and what has to be said beside it."""

    views: int
    views_needed: int
    points: int
    """N: datapoints of one view; a view is 2 N questions, each datapoint clean and then perturbed."""
    queries: int
    references: int
    caution: str


class FamilyEvidence(BaseModel):
    """How the suspect stands to one kind of innocent models."""

    family: str
    models: int
    sources: int
    above: int
    p_value: float


class Population(BaseModel):
    """Where a kind of models lies: the quantiles 0, .05, .25, .5, .75, .95 and 1 of their peaks."""

    models: int
    peaks: list[float]


class CalibratedVerdict(BaseModel):
    """The verdict with a stated rate of false accusations."""

    call: Literal["stolen", "not shown", "cannot tell"]
    reason: str
    p_value: float | None
    smallest_p: float
    level: float
    references: int
    families: list[FamilyEvidence]
    score: float
    """0 as innocent models, 1 as known copies."""
    peak: float | None
    population: dict[str, Population]
    """By family, and known copies as ``copy``; these taught the score, so a copy that it has not seen stands lower."""
    access: str
    queries: int
    budget: int
    hint: str


class PaperVerdict(BaseModel):
    """The paper's test."""

    decision: str
    encoder: str
    queries: int
    similarity: float
    """Mean over all views, in [0, 1]."""
    similarities: list[float]
    """View by view."""
    p_value: float
    reference_models: int
    reference_above: int
    reason: str
    caution: str


class Score(BaseModel):
    """A verdict and what it rests on."""

    kit: str
    digest: str
    suspect: str
    answers_sha256: str
    """Of the answers as little-endian float32, row by row: which answers this verdict is about."""
    calibrated: CalibratedVerdict | None = None
    paper: PaperVerdict | None = None
    seconds: float = Field(ge=0)
    """Spent on this request once its body was there: kit, parsing, verdict."""


class AuditRequest(BaseModel):
    """A suspect for the service to ask."""

    model_config = ConfigDict(extra="forbid")

    kit: str = Field(min_length=1, max_length=100)
    suspect: dict[str, Any]
    """``url`` and, where the address does not say it all, how it is asked: protocol, layout, classes, columns, headers, rate, ...: as a
    description for the command line."""
    level: float | None = None
    access: str | None = Field(default=None, max_length=40)
    budget: int | None = Field(default=None, ge=1, le=1_000_000)


class Audit(BaseModel):
    """An audit, how far it is, and what came of it."""

    id: str
    kit: str
    by: str
    """The name of the key that asked for it."""
    suspect: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    made: float
    changed: float
    """Seconds since 1970."""
    progress: dict[str, Any]
    result: dict[str, Any] | None
    error: str


class Audits(BaseModel):
    """The last audits, the newest first."""

    audits: list[Audit]


class Reports(BaseModel):
    """Names of runs."""

    reports: list[str]


class Problem(BaseModel):
    """RFC 9457, with what was found and what was expected; "" where there is nothing to compare."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    found: str = ""
    expected: str = ""
