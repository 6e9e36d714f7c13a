"""The service's refusals, as RFC 9457 problem details with what was found and what was expected."""

import logging
from collections.abc import Sequence
from http import HTTPStatus

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from zooaudit.errors import (
    AnswersError,
    DamagedArtifactError,
    FormatError,
    InputError,
    LimitError,
    MissingArtifactError,
    NotEnoughModelsError,
    NotWrittenError,
    RepeatedError,
    StoreError,
    SuspectError,
)
from zooaudit.serving.schemas import Problem

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S, LIMITED_S = 5, 60

log = logging.getLogger(__name__)


class Refused(Exception):
    """A request that is refused, and why.

    Args:
        status: HTTP status, 400 to 599.
        detail: one sentence.
        found, expected: "" if there is nothing to compare.
        headers: of the response.
    """

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        found: str = "",
        expected: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.found, self.expected, self.headers = (
            status,
            detail,
            found,
            expected,
            headers,
        )


def install(app: FastAPI, routers: Sequence[APIRouter]) -> None:
    """Make ``app`` answer every error as a problem.

    Args:
        routers: all of its routes, to list a path's methods when it is called with another one.
    """

    def answer(request: Request, error: Exception) -> JSONResponse:
        refused = _refusal(error)
        if refused.status == HTTPStatus.METHOD_NOT_ALLOWED:
            allowed = _methods(request, routers)
            refused.headers = {"Allow": ", ".join(allowed)}
            refused.found, refused.expected = request.method[:20], ", ".join(allowed)
        return _answer(refused)

    for kind in (
        Refused,
        InputError,
        NotEnoughModelsError,
        SuspectError,
        StoreError,
        RequestValidationError,
        HTTPException,
        Exception,
    ):
        app.add_exception_handler(kind, answer)


def _methods(request: Request, routers: Sequence[APIRouter]) -> list[str]:
    """The methods of the requested path, from all routes."""
    routes = [r for router in routers for r in router.routes if isinstance(r, Route)]
    # /openapi.json does not belong to a router.
    found = {m for r in routes if r.matches(request.scope)[0] != Match.NONE for m in r.methods or ()} or {
        "GET"
    }
    return sorted(found | ({"HEAD"} if "GET" in found else set()))


def _refusal(error: Exception) -> Refused:
    if isinstance(error, Refused):
        return error
    if isinstance(error, AnswersError):
        return Refused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), error.found, error.expected)
    if isinstance(error, LimitError):
        return Refused(HTTPStatus.TOO_MANY_REQUESTS, str(error), headers={"Retry-After": str(LIMITED_S)})
    if isinstance(error, RepeatedError):
        return Refused(HTTPStatus.CONFLICT, str(error))
    if isinstance(error, NotEnoughModelsError | InputError):
        return Refused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
    if isinstance(error, SuspectError):
        return Refused(HTTPStatus.BAD_GATEWAY, str(error))
    if isinstance(error, MissingArtifactError):
        return Refused(
            HTTPStatus.NOT_FOUND,
            "there is no such kit, or report",
            expected="an id that GET /kits, or GET /reports, lists",
        )
    if isinstance(error, FormatError):
        log.error("%s", error)
        why = "the kit was made by another version of zooaudit; its owner has to make it again"
        return Refused(HTTPStatus.INTERNAL_SERVER_ERROR, why)
    if isinstance(error, DamagedArtifactError):
        log.error("%s", error)
        return Refused(
            HTTPStatus.INTERNAL_SERVER_ERROR, "the kit is damaged in the store; the service's log says where"
        )
    if isinstance(error, NotWrittenError):
        log.error("%s", error)
        later = {"Retry-After": str(RETRY_AFTER_S)}
        return Refused(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "the service's data cannot be written just now; try again later",
            headers=later,
        )
    if isinstance(error, StoreError):  # its message names the store, which only the operator may see
        log.warning("%s", error)
        later = {"Retry-After": str(RETRY_AFTER_S)}
        return Refused(
            HTTPStatus.SERVICE_UNAVAILABLE, "the store does not answer; try again later", headers=later
        )
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        place = " ".join(map(str, first["loc"]))
        return Refused(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"{place}: {first['msg']}",
            repr(first.get("input"))[:200],
            first["msg"],
        )
    if isinstance(error, HTTPException):
        return Refused(HTTPStatus(error.status_code), str(error.detail), headers=dict(error.headers or {}))
    log.error("unforeseen", exc_info=error)
    return Refused(
        HTTPStatus.INTERNAL_SERVER_ERROR, "an error that the service did not foresee; its log says more"
    )


def _answer(refused: Refused) -> JSONResponse:
    status = refused.status
    body = Problem(
        title=status.phrase,
        status=status,
        detail=refused.detail,
        found=refused.found,
        expected=refused.expected,
    )
    return JSONResponse(body.model_dump(), status, refused.headers, MEDIA_TYPE)


def not_authorised(detail: str) -> Refused:
    """The refusal of a missing, wrong or expired key."""
    return Refused(
        HTTPStatus.UNAUTHORIZED,
        detail,
        expected="Authorization: Bearer KEY",
        headers={"WWW-Authenticate": "Bearer"},
    )
