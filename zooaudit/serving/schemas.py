"""The types of requests and replies; OpenAPI is made from them."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Row = Annotated[list[float], Field(fail_fast=True)]
Rows = Annotated[list[Row], Field(fail_fast=True)]
Labels = Annotated[list[str | int], Field(fail_fast=True)]


class Schema(BaseModel):
    """A docstring under a field is also its description in OpenAPI."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Answers(Schema):
    """A suspect's answers to a method's first questions, in order: for each, a row of probabilities, one for
    each class, or a label."""

    model_config = ConfigDict(extra="allow", strict=True, json_schema_extra={"additionalProperties": False})
    """Unknown fields are refused by the reader of these; "forbid" would make an error of each one, and there
    may be a million."""

    answers: Rows | None = None
    labels: Labels | None = None


class Status(Schema):
    """Confirms that the service, or its store, answers."""

    status: Literal["alive", "ready"]


class KitSummary(Schema):
    """What a kit's manifest says."""

    id: str
    digest: str
    """SHA-256 of the manifest, and so of everything in the kit."""
    victim: str
    encoder: str
    level: float
    budget: int
    """The most queries of the twin test."""
    twins: int
    accuses_nobody: str
    """Why it cannot accuse anybody at its level, whatever a suspect answers; "" if it can."""
    recipe: str
    """Name of the recipe that made it; "" if the kit does not say."""
    dataset: str
    """The victim's data set; "" if the kit does not say."""
    trial: str
    """A warning not to accuse anybody by it, if a trial recipe made it."""


class Page(Schema):
    """A list, or a part of one."""

    next: str | None = None
    """The ``cursor`` of the next page; null at the end."""


class Kits(Page):
    """Kits of the store, by id."""

    kits: list[KitSummary]


class Question(Schema):
    """An image that a suspect is asked: its number, and its pixels in [0, 1], by channel and row."""

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
    """Numbers of answers after which there can be a verdict; each may be the ``queries`` of a score or an
    audit."""
    families: dict[str, int]
    """Questions by family: ``natural`` images of the victim's task, ``foreign`` ones of anything else, and
    ``log``: the victim was asked these."""
    references: dict[str, int]
    """Models of other procedures than the victim's, by how they were made."""
    smallest_p: float
    """The smallest p-value that this many twins allow."""
    procedure: str
    """How the twins were trained."""
    checked: list["Checked"]
    """Checks of victim and twins, made without any suspect."""
    paper: "PaperTest"


class Checked(Schema):
    """A check of the verdict's assumption: that the victim is a draw of the procedure that made its twins."""

    check: str
    state: Literal["ok", "caution", "refused", "no references"]
    p_value: float | None
    text: str


class PaperTest(Schema):
    """The paper's t-test: how many views of how many datapoints, and its caution."""

    views: int
    views_needed: int
    points: int
    """N: datapoints in a view; a view has 2 N questions, each datapoint clean and then perturbed."""
    queries: int
    references: int
    caution: str


class Normal(Schema):
    """A p-value in addition to the rank's, which assumes that the twins' statistics are normal; ``normality``
    is the p-value of a test of that."""

    p_value: float | None
    normality: float | None


class Beyond(Schema):
    """For a victim that many models resemble: how many references, of how many, have as much of it as the
    suspect."""

    above: int
    references: int


class TwinVerdict(Schema):
    """The verdict by the twin test: the victim's rank among models that were trained like it but with other
    seeds."""

    decision: Literal["stolen", "not shown", "cannot tell"]
    reason: str
    p_value: float | None
    smallest_p: float
    """The smallest p-value that this many twins allow."""
    level: float
    by: Literal["rank", "normal"]
    """How ``p_value`` was computed."""
    rank: int | None
    """The victim's rank among all candidates, from 1."""
    twins: int
    statistics: list[float | None]
    """How much of each candidate is in the suspect, the victim first: in standard deviations of all of them
    from their mean."""
    statistics_after: int | None
    """How many questions had been asked when the statistics were computed: the victim's rank was settled
    then, whatever was asked later."""
    beyond: Beyond | None
    normal: Normal | None
    access: str
    """The access level that the answers were read as."""
    queries: int
    budget: int
    settled: bool
    """Whether further answers cannot change the decision."""
    cautions: list[str]
    headline: str
    """The decision as it is shown: a weak one is marked."""
    frequency: str
    """The level as a frequency: in how many cases a model made without the victim is called stolen."""
    weak: bool
    """Whether it is called stolen at a level above .05."""
    standing: str
    """The statistic in words."""
    promise: str
    """What the level means."""
    hint: str


class PaperVerdict(Schema):
    """The verdict by the paper's test."""

    decision: Literal["piracy", "inconclusive"]
    encoder: str
    queries: int
    similarity: float
    """Mean over all views, in [0, 1]."""
    similarities: list[float]
    """For each view."""
    p_value: float
    reference_models: int
    reference_above: int
    reason: str
    caution: str
    level: float
    """The kit's level for this test."""


class Score(Schema):
    """A verdict and its basis."""

    kit: str
    digest: str
    suspect: str
    answers_sha256: str
    """Of the answers as little-endian float32, row by row: identifies the answers that this verdict is
    about."""
    twins: TwinVerdict | None = None
    paper: PaperVerdict | None = None
    seconds: float = Field(ge=0)
    """Time for this request after its body arrived: kit, parsing, verdict."""
    id: str = ""
    """The verdict's id, at /verdicts; "" if this service stores none, or its disk is full."""


State = Literal["queued", "running", "done", "failed", "cancelled"]


class Problem(Schema):
    """RFC 9457, with what was found and what was expected; "" if there is nothing to compare."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    found: str = ""
    expected: str = ""
