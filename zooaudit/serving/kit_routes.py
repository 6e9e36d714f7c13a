"""Routes for kits: list them, their questions, and scores of answers."""

import math
import tempfile
import time
from collections import Counter
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from torch import Tensor

from zooaudit.choices import SEEN
from zooaudit.errors import ZooauditError
from zooaudit.kits.kit import FIRST, Kit
from zooaudit.paper.fingerprint import check_answers
from zooaudit.scoring.answers import Job, Method
from zooaudit.serving import schemas
from zooaudit.serving.bodies import (
    ACCEPTED,
    JSON,
    PARQUET,
    ZIP,
    most_bytes,
    parquet_bytes,
    read_fast,
    read_rows,
)
from zooaudit.serving.keys import Key
from zooaudit.serving.paging import MOST, Cursor, Limit, page_of
from zooaudit.serving.problems import Refused
from zooaudit.serving.recording import kept
from zooaudit.serving.score_checks import answers_kind, refuse_for_paper, refuse_settings_of_twins
from zooaudit.serving.service import Service, Shared, needs, read_body
from zooaudit.serving.settings import QUERIES
from zooaudit.serving.unknown_fields import refuse_unread
from zooaudit.suspects.access import Access
from zooaudit.suspects.offline import questions_json, questions_table, write_questions
from zooaudit.telemetry.metrics import SCORE_SECONDS, SCORES, record
from zooaudit.verdict.decision import By, check_level
from zooaudit.verdict.ranking import smallest_p
from zooaudit.verdict.wording import checked

BINARY = {"schema": {"type": "string", "format": "binary"}}
READ = {
    kind: {"schema": {"$ref": "#/components/schemas/Answers"}} if kind == JSON else BINARY
    for kind in ACCEPTED
}
"""Generated clients send bytes as the last of the types that accept them."""
BODY: dict[str, Any] = {"requestBody": {"required": True, "content": READ}}
QUESTIONS = {"schema": {"$ref": "#/components/schemas/Questions"}}
FILES: dict[int | str, dict[str, Any]] = {200: {"content": {PARQUET: BINARY, JSON: QUESTIONS, ZIP: BINARY}}}
JSON_BYTES, MOST_JSON = 12, 64 * 2**20
"""Approximate bytes of a pixel as JSON, and the most bytes of all questions, which are in memory several
times over."""
Scorer = Annotated[Key, needs("score")]
public = APIRouter(dependencies=[Depends(refuse_unread)])
router = APIRouter()
Format = Annotated[Literal["parquet", "json", "zip"], Query(alias="format")]
Suspect = Annotated[str, Query(min_length=1, max_length=500, description="the suspect's name")]
Classes = Annotated[
    int | None,
    Query(
        ge=2,
        le=100_000,
        description="the suspect's, if it is not the kit's: then how alike its answers are is compared",
    ),
]
Suspects = Annotated[
    int,
    Query(
        ge=1,
        le=100_000,
        description=(
            "that are judged at the same time, each by itself: if several, each verdict has a caution"
        ),
    ),
]
Horizon = Annotated[
    int | None,
    Query(description="the most questions, one of the kit's looks; fix it before you see the first answer"),
]


@public.get("/health", tags=["service"])
async def health() -> schemas.Status:
    """The process answers."""
    return schemas.Status(status="alive")


@public.get("/ready", tags=["service"])
def ready(service: Shared) -> schemas.Status:
    """The store answers, the keys can be read, and data can be written."""
    service.kits.ready()
    service.disk_space.check(service.settings.data)
    if service.keyring.checked():  # what is wrong is for the log, not for callers
        raise Refused(
            HTTPStatus.SERVICE_UNAVAILABLE, "the file of keys cannot be read; the service's log says more"
        )
    return schemas.Status(status="ready")


@router.get("/kits", tags=["kits"], dependencies=[needs("read")])
def kits(service: Shared, limit: Limit = MOST, cursor: Cursor = None) -> schemas.Kits:
    """All kits of the store, by id, in pages."""
    ids, following = page_of(service.kits.ids(), limit, cursor)
    return schemas.Kits(kits=service.kits.summaries(ids), next=following)


@router.get("/kits/{id_}", tags=["kits"], dependencies=[needs("read")])
def kit(id_: str, service: Shared) -> schemas.KitDetail:
    """One kit."""
    summary, found = service.kits.get(id_)
    test, (views, points) = found.twin_test, found.points.shape[:2]
    paper = schemas.PaperTest(
        views=views,
        views_needed=found.verdict.fingerprints,
        points=points,
        queries=views * points * 2,
        references=len(found.reference_ids),
        caution=found.caution,
    )
    return schemas.KitDetail(
        **summary.model_dump(),
        classes=list(found.classes),
        image_shape=found.image_shape,
        control_questions=test.control_questions,
        looks=list(test.looks),
        families=Counter(test.families),
        references=Counter(r.kind for r in test.references),
        smallest_p=smallest_p(test.twins),
        procedure=test.procedure,
        checked=[schemas.Checked(**row) for row in checked(test.exchangeability, test.hub())],
        paper=paper,
    )


@router.get(
    "/kits/{id_}/queries",
    tags=["kits"],
    response_class=Response,
    responses=FILES,
    dependencies=[needs("read")],
)
async def queries(
    id_: str, service: Shared, method: Method = "twins", format_: Format = "parquet"
) -> Response:
    """Every image that a suspect has to be asked, in order. Those of the twin test are test images that no
    model of the zoo was trained on, images of another domain, and, if the kit was made with a query log, some
    that the victim was asked. Those of the paper's test show the victim's training images, and are given out
    only if the operator allows it."""
    if method == "paper" and not service.settings.training_images:
        raise Refused(
            HTTPStatus.FORBIDDEN,
            "this service does not give out training images",
            expected=f"a service with {QUERIES}=1",
        )
    _, found = await service.kit(id_)
    return await service.sending(_questions, id_, found, method, format_)


def _questions(id_: str, found: Kit, method: Method, format_: str) -> Response:
    asked_as = str(found.facts.get(FIRST, id_))
    if format_ == "json":
        shape, count = (
            found.image_shape,
            found.points.shape[:2].numel() * 2 if method == "paper" else found.twin_test.budget,
        )
        if (size := count * math.prod(shape) * JSON_BYTES) > MOST_JSON:
            raise Refused(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "the questions are too large for JSON",
                f"about {size >> 20:,} MiB",
                f"{MOST_JSON >> 20} MiB at most; format=parquet, or format=zip",
            )
    images = found.questions().flatten(0, 2) if method == "paper" else found.twin_test.questions()
    if format_ == "json":
        return Response(questions_json(images), media_type=JSON)
    if format_ == "parquet":
        return Response(parquet_bytes(questions_table(images, asked_as, found.classes)), media_type=PARQUET)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "queries.zip"
        write_questions(path, images, asked_as, found.classes)
        return Response(path.read_bytes(), media_type=ZIP)


@router.post("/kits/{id_}/score", tags=["scores"], openapi_extra=BODY)
async def score(
    id_: str,
    request: Request,
    service: Shared,
    key: Scorer,
    suspect: Suspect,
    method: Method = "twins",
    level: Annotated[float | None, Query(gt=0, lt=0.5)] = None,
    access: Annotated[str, Query(max_length=40)] = SEEN,
    queries: Horizon = None,
    by: Annotated[By, Query(alias="p_value")] = "rank",
    suspect_classes: Classes = None,
    suspects: Suspects = 1,
) -> schemas.Score:
    """Judge a suspect by its answers to a kit's first questions. ``twins``: at least to the first look, at
    most to ``queries``; ``paper``: to whole views. The t-test's random draws depend on the suspect's name, as
    in ``zooaudit score``."""
    kind = answers_kind(request)
    access_level = None if access == SEEN else Access.named(access)
    if level is not None:
        check_level(level)
    if method == "paper":
        refuse_settings_of_twins(request)
    summary, found = await service.kit(id_)
    classes = found.named(suspect_classes)
    if method == "paper":
        refuse_for_paper(found, suspect, classes)
    most = found.twin_test.stops(queries)[-1] if method == "twins" else found.victim_answers.shape[:3].numel()
    body = await read_body(
        request, min(service.settings.body_bytes, most_bytes(most, len(classes))), service, key
    )
    started = time.perf_counter()
    answers = await _parsed(service, kind, body, classes, most, str(found.facts.get(FIRST, id_)))
    if access_level is None:
        check_answers(answers, tuple(answers.shape))
    judged = await scored(
        service,
        summary,
        Job(found, suspect, method, answers, level, access_level, by, queries, suspects),
        started,
    )
    asked = {
        "method": method,
        "level": level,
        "access": access,
        "queries": queries,
        "p_value": by,
        "suspect_classes": suspect_classes,
    }
    asked |= {"suspects": suspects} if suspects > 1 else {}
    return await kept(
        service, key, asked, judged, answers.float().contiguous().numpy().astype("<f4").tobytes()
    )


async def _parsed(
    service: Service, kind: str, body: bytes, classes: tuple[str, ...], most: int, kit: str
) -> Tensor:
    answers = read_fast(kind, body, classes, most, kit)
    return await service.reading(read_rows, kind, body, classes, most, kit) if answers is None else answers


async def scored(service: Service, summary: schemas.KitSummary, job: Job, started: float) -> schemas.Score:
    result = await service.run(job)
    if isinstance(result, ZooauditError):
        raise result
    seconds = time.perf_counter() - started
    record(SCORES, method=job.method, decision=str(result[job.method]["decision"]))
    record(SCORE_SECONDS, seconds, method=job.method)
    return schemas.Score(
        kit=summary.id, digest=summary.digest, suspect=job.suspect, seconds=seconds, **result
    )
