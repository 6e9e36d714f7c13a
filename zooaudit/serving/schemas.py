"""What goes over the wire, typed; OpenAPI is made from these."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Row = Annotated[list[float], Field(fail_fast=True)]
Rows = Annotated[list[Row], Field(fail_fast=True)]
Labels = Annotated[list[str | int], Field(fail_fast=True)]


class Schema(BaseModel):
    """What is written under a field describes it in OpenAPI, too."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Answers(Schema):
    """A suspect's answers to a method's first questions, in their order: a row of probabilities each, one a
    class, or a label each."""

    model_config = ConfigDict(extra="allow", strict=True, json_schema_extra={"additionalProperties": False})
    """Others are refused by who reads these; "forbid" would make an error of each one, of
    which there may be a million."""

    answers: Rows | None = None
    labels: Labels | None = None


class Status(Schema):
    """That the service, or its store, answers."""

    status: Literal["alive", "ready"]


class KitSummary(Schema):
    """What a kit's manifest says."""

    id: str
    digest: str
    """SHA-256 of the manifest: of all that the kit holds."""
    victim: str
    encoder: str
    level: float
    budget: int
    """Queries of the twin test at most."""
    twins: int
    accuses_nobody: str
    """Why it cannot accuse anybody at its level, whatever a suspect answers; "" if it can."""
    recipe: str
    """Name of the recipe that made it; "" if the kit does not say."""
    dataset: str
    """Of the victim's task; "" if the kit does not say."""
    trial: str
    """That nobody is to be accused by it, if a trial recipe made it."""


class Page(Schema):
    """A list, or a part of one."""

    next: str | None = None
    """The ``cursor`` that gives what follows; null at the end."""


class Kits(Page):
    """Kits of the store, by id."""

    kits: list[KitSummary]


class Question(Schema):
    """An image that a suspect is asked: its number, and its pixels in [0, 1], channel by
    channel, row by row."""

    query: int
    image: list[float]


class Questions(Schema):
    """Every image that a suspect has to be asked, in order."""

    image_shape: tuple[int, int, int]
    queries: list[Question]


class KitDetail(KitSummary):
    """What a suspect has to be asked, and what its answers are compared with."""

    classes: list[str]
    """In the order of the answers."""
    image_shape: tuple[int, int, int]
    """Channels, height, width."""
    control_questions: int
    """The first questions, which show whether a suspect does the task."""
    looks: list[int]
    """After how many answers a verdict can be had; each may be the ``queries`` of a score or an audit."""
    families: dict[str, int]
    """Questions by what they show: ``natural`` images of the victim's task, ``foreign`` ones of anything
    else, and ``log``: the victim was asked these."""
    references: dict[str, int]
    """Models of other procedures than the victim's, by how they were made."""
    smallest_p: float
    """The strongest claim that so many twins allow."""
    procedure: str
    """How the twins were trained."""
    checked: list["Checked"]
    """What was found out about victim and twins without any suspect."""
    paper: "PaperTest"


class Checked(Schema):
    """One check of what the verdict assumes: that the victim is a draw of the procedure
    that made its twins."""

    check: str
    state: Literal["ok", "caution", "refused", "no references"]
    p_value: float | None
    text: str


class PaperTest(Schema):
    """The paper's t-test: how many views of how many datapoints, and what has to be said beside it."""

    views: int
    views_needed: int
    points: int
    """N: datapoints of one view; a view is 2 N questions, each datapoint clean and then perturbed."""
    queries: int
    references: int
    caution: str


class Normal(Schema):
    """A p-value beside the rank's, which rests on the twins' statistics being normal; ``normality`` is the p
    of a test that they are."""

    p_value: float | None
    normality: float | None


class Beyond(Schema):
    """Of a victim that many models resemble: how many references, of how many, have as much
    of it as the suspect has."""

    above: int
    references: int


class TwinVerdict(Schema):
    """The verdict by the twin test: where the victim stands among models that were trained
    as it was but for the seed."""

    decision: Literal["stolen", "not shown", "cannot tell"]
    reason: str
    p_value: float | None
    smallest_p: float
    """The strongest claim that so many twins allow."""
    level: float
    by: Literal["rank", "normal"]
    """What ``p_value`` is."""
    rank: int | None
    """The victim's among all candidates, from 1."""
    twins: int
    statistics: list[float | None]
    """How much of each candidate is in the suspect, the victim first: in standard
    deviations of all of them from their mean."""
    statistics_after: int | None
    """How many questions had been asked when they were taken: the victim's place was
    settled then, whatever was asked later."""
    beyond: Beyond | None
    normal: Normal | None
    access: str
    """As what the answers were read."""
    queries: int
    budget: int
    settled: bool
    """No further answers would change the decision."""
    cautions: list[str]
    headline: str
    """The decision as it is shown: a weak one is marked."""
    frequency: str
    """The level as a frequency: in how many cases a model made without the victim is called this."""
    weak: bool
    """Whether it is called stolen at a level above .05."""
    standing: str
    """The statistic in words."""
    promise: str
    """What the level means."""
    hint: str


class PaperVerdict(Schema):
    """The paper's test."""

    decision: Literal["piracy", "inconclusive"]
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
    level: float
    """The kit's own for this test."""


class Score(Schema):
    """A verdict and what it rests on."""

    kit: str
    digest: str
    suspect: str
    answers_sha256: str
    """Of the answers as little-endian float32, row by row: which answers this verdict is about."""
    twins: TwinVerdict | None = None
    paper: PaperVerdict | None = None
    seconds: float = Field(ge=0)
    """Spent on this request once its body was there: kit, parsing, verdict."""
    id: str = ""
    """Under which the verdict is kept, at /verdicts; "" if this service keeps none, or
    there is no room for it."""


State = Literal["queued", "running", "done", "failed", "cancelled"]


class Problem(Schema):
    """RFC 9457, with what was found and what was expected; "" where there is nothing to compare."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    found: str = ""
    expected: str = ""
