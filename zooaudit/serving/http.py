"""The service's routes. They know of kits, keys and HTTP, and nothing of Ray."""

import asyncio
import time
from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from zooaudit import __version__
from zooaudit.kit import Kit, answers_digest
from zooaudit.serving import schemas
from zooaudit.serving.bodies import JSON, PARQUET, RAW, most_bytes, queries_parquet, read_answers
from zooaudit.serving.kits import Kits
from zooaudit.serving.problems import MEDIA_TYPE, Refused, install, not_authorised
from zooaudit.serving.settings import QUERIES, Settings

ACCEPTED = f"{JSON} or {RAW}"
BODY_S = 30.0
"""How long a caller may take to send a body: Serve's own limit is one that callers can switch off by a header."""
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {"schema": schemas.Answers.model_json_schema()},
            RAW: {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


class Service:
    """What the routes share."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.kits = Kits(settings.store, settings.kits)

    def score(self, summary: schemas.KitSummary, kit: Kit, suspect: str, kind: str, body: bytes) -> schemas.Score:
        """Judge a suspect by the answers in a request's body, as ``zooaudit score`` does by asking it."""
        started = time.perf_counter()
        answers = read_answers(kind, body, tuple(kit.victim_answers.shape))
        similarities, verdict = kit.score_answers(suspect, answers)
        return schemas.Score(
            kit=summary.id,
            digest=summary.digest,
            suspect=suspect,
            answers_sha256=answers_digest(answers),
            encoder=summary.encoder,
            similarities=similarities.tolist(),
            caution=kit.caution,
            seconds=time.perf_counter() - started,
            **asdict(verdict),
        )


def make_app(settings: Settings) -> FastAPI:
    """The ASGI application. The pages that would load scripts from elsewhere are off; ``/openapi.json`` says what there is."""
    app = FastAPI(title="zooaudit", version=__version__, docs_url=None, redoc_url=None)
    app.state.service = Service(settings)
    app.include_router(public)
    app.include_router(private)
    install(app)
    return app


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Shared = Annotated[Service, Depends(_service)]


def _has_key(request: Request, service: Shared) -> None:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if service.settings.keys and not (scheme.lower() == "bearer" and service.settings.accepts(key.strip())):
        raise not_authorised()


PROBLEM: dict[int | str, dict[str, Any]] = {
    status: {"description": "Refused", "content": {MEDIA_TYPE: {"schema": schemas.Problem.model_json_schema()}}}
    for status in ("4XX", "5XX")
}
public = APIRouter(responses=PROBLEM)
private = APIRouter(responses=PROBLEM, dependencies=[Depends(_has_key)])


@public.get("/health")
def health() -> schemas.Status:
    """The process answers."""
    return schemas.Status(status="alive")


@public.get("/ready")
def ready(service: Shared) -> schemas.Status:
    """The store answers too."""
    service.kits.ready()
    return schemas.Status(status="ready")


@private.get("/kits")
def kits(service: Shared) -> schemas.Kits:
    """All kits of the store."""
    return schemas.Kits(kits=service.kits.summaries())


@private.get("/kits/{id_}")
def kit(id_: str, service: Shared) -> schemas.KitDetail:
    """One kit."""
    summary, found = service.kits.get(id_)
    views, points = found.points.shape[:2]
    return schemas.KitDetail(
        **summary.model_dump(),
        views=views,
        points=points,
        num_classes=found.num_classes,
        image_shape=found.image_shape,
        queries=views * points * 2,
        references=len(found.reference_ids),
        caution=found.caution,
    )


@private.get("/kits/{id_}/queries", response_class=Response, responses={200: {"content": {PARQUET: {}}}})
def queries(id_: str, service: Shared) -> Response:
    """Every image that a suspect has to be asked, as Parquet. They show the victim's training images."""
    if not service.settings.queries:
        raise Refused(HTTPStatus.FORBIDDEN, "this service does not hand out images", expected=f"a service with {QUERIES}=1")
    return Response(queries_parquet(service.kits.get(id_)[1]), media_type=PARQUET)


@private.post("/kits/{id_}/score", openapi_extra=BODY)
async def score(id_: str, request: Request, service: Shared, suspect: Annotated[str, Query(min_length=1, max_length=500)]) -> schemas.Score:
    """Judge a suspect by its answers to all of a kit's queries. The t-test's draws depend on its name, as in ``zooaudit score``."""
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind not in (JSON, RAW):
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "answers come as JSON or as bare numbers", kind or "no Content-Type", ACCEPTED)
    summary, kit = await run_in_threadpool(service.kits.get, id_)
    if suspect in kit.reference_ids:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "the suspect has the name of one of the kit's references", suspect, "another name")
    body = await _body(request, min(service.settings.body_bytes, most_bytes(tuple(kit.victim_answers.shape))))
    return await run_in_threadpool(service.score, summary, kit, suspect, kind, body)


async def _body(request: Request, limit: int) -> bytes:
    """The whole body; what is larger than ``limit`` bytes is refused without being held."""
    stated = request.headers.get("Content-Length", "")
    parts, size = [], int(stated) if stated.isdecimal() else 0
    too_large = Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is too large", f"more than {limit:,} bytes", f"{limit:,} at most")
    if size > limit:
        raise too_large
    size = 0
    try:
        async with asyncio.timeout(BODY_S):
            async for part in request.stream():
                size += len(part)
                if size > limit:
                    raise too_large
                parts.append(part)
    except TimeoutError as error:
        raise Refused(HTTPStatus.REQUEST_TIMEOUT, f"the body was not there within {BODY_S:g} s") from error
    except ClientDisconnect as error:
        raise Refused(HTTPStatus.BAD_REQUEST, "the caller has gone") from error
    return b"".join(parts)
