"""What goes over the wire, typed; OpenAPI is made from these."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, FailFast, Field

Probabilities = Annotated[list[float], FailFast()]
Pair = Annotated[list[Probabilities], FailFast()]
View = Annotated[list[Pair], FailFast()]


class Answers(BaseModel):
    """A suspect's answers: by view, by datapoint, clean and then perturbed, one probability a class."""

    model_config = ConfigDict(extra="ignore", strict=True)  # "forbid" makes an error of each key that is too many

    answers: Annotated[list[View], FailFast()]


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


class Kits(BaseModel):
    """All kits of the store, by id."""

    kits: list[KitSummary]


class KitDetail(KitSummary):
    """What a suspect has to be asked, and what its answers are compared with."""

    views: int
    points: int
    """N: datapoints of one view."""
    num_classes: int
    image_shape: tuple[int, int, int]
    """Channels, height, width."""
    queries: int
    """Images to ask: views x points x 2."""
    references: int
    caution: str


class Score(BaseModel):
    """A verdict and what it rests on; the fields of ``zooaudit score --json``, and more."""

    kit: str
    digest: str
    suspect: str
    answers_sha256: str
    """Of the answers as little-endian float32 ``[views, N, 2, K]``: which answers this verdict is about."""
    encoder: str
    decision: str
    similarity: float
    """Mean over all views, in [0, 1]."""
    similarities: list[float]
    """View by view."""
    p_value: float
    reference_models: int
    reference_above: int
    reason: str
    caution: str
    seconds: float = Field(ge=0)
    """Spent on this request once its body was there: kit, parsing, verdict."""


class Problem(BaseModel):
    """RFC 9457, with what was found and what was expected; "" where there is nothing to compare."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    found: str = ""
    expected: str = ""
