"""``/openapi.json``: FastAPI's description of the routes, with what FastAPI cannot know: who may call each,
how each refuses, and the bodies that are read by hand."""

from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic.json_schema import models_json_schema

from zooaudit.serving import audit_schemas, schemas
from zooaudit.serving.problems import MEDIA_TYPE
from zooaudit.serving.suspects import schema as suspect_schema

REF = "#/components/schemas/{model}"
KEY = "key"
TAGS = {
    "service": "Health and metrics.",
    "kits": "What is needed to audit suspects of a victim, and the questions that a suspect is asked.",
    "scores": "Verdicts on answers that the caller brings.",
    "audits": "Suspects that the service asks itself.",
    "verdicts": "Scores and audits as they were given, their explanations, and evidence for others.",
    "reports": "Pages of finished runs.",
}
ABOUT = (
    "Was this suspect model stolen from mine? Answers to a kit's questions give a verdict, at a level that"
    " bounds how often a model that was made without the victim is called stolen. Unknown parameters and"
    " fields are refused with 422."
)
WHY: dict[int, str] = {
    400: "The body cannot be read",
    401: "The key is missing, unknown or expired",
    403: "The key, or the service, may not do this",
    404: "There is no such thing, or not for this key",
    405: "The path does not have this method; Allow lists its methods",
    408: "The body comes too slowly",
    409: "The Idempotency-Key belongs to another body, or the audit has no evidence",
    410: "The answers are no longer kept",
    413: "The body is too large",
    415: "The body's type or coding is not supported",
    422: "A parameter or a field is unknown, missing or out of range",
    429: (
        "The key has no requests left, or has reached its limit of audits; Retry-After says when to ask again"
    ),
    500: "The kit is damaged in the store, or an error that the service did not foresee",
    502: "A suspect does not answer",
    503: ("The store, the service's data or its auditor is unavailable; Retry-After says when to ask again"),
}
BY_HAND = (audit_schemas.AuditRequest, schemas.Answers, schemas.Questions)
HEADERS = {401: "WWW-Authenticate", 405: "Allow", 429: "Retry-After", 503: "Retry-After"}
ALWAYS, WITH_KEY, WITH_BODY = (422, 500, 503), (401, 403, 429), (400, 408, 413, 415)


def describe(app: FastAPI, routers: Sequence[APIRouter]) -> None:
    """Make ``/openapi.json`` complete."""

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _described(app, routers)
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]


def _described(app: FastAPI, routers: Sequence[APIRouter]) -> dict[str, Any]:
    tags = [{"name": name, "description": about} for name, about in TAGS.items()]
    result = get_openapi(
        title=app.title, version=app.version, description=ABOUT, routes=app.routes, tags=tags
    )
    parts = result.setdefault("components", {})
    _, read_by_hand = models_json_schema([(one, "validation") for one in BY_HAND], ref_template=REF)
    suspects = suspect_schema()
    own = (
        read_by_hand["$defs"]
        | suspects.pop("$defs")
        | {
            "Suspect": suspects,
            "Problem": schemas.Problem.model_json_schema(),
        }
    )
    own["AuditRequest"]["properties"]["suspect"] = {"$ref": REF.format(model="Suspect")}
    parts["schemas"] = {
        k: v
        for k, v in parts.get("schemas", {}).items()
        if k not in ("HTTPValidationError", "ValidationError")
    } | own
    parts["securitySchemes"] = {
        KEY: {
            "type": "http",
            "scheme": "bearer",
            "description": "A key that 'zooaudit key' made; each operation says which scope it needs",
        }
    }
    parts["responses"] = {_name(status): _refusal(status) for status in WHY}
    for route in documented(routers):
        scopes = scopes_of(route.dependant)
        for method in route.methods or ():
            operation = result["paths"][route.path_format][method.lower()]
            operation["security"] = [{KEY: [scope]} for scope in scopes]
            _refuses(operation, route, bool(scopes))
    return result


def documented(routers: Sequence[APIRouter]) -> Iterator[APIRoute]:
    """The routes in the description."""
    for router in routers:
        yield from (r for r in router.routes if isinstance(r, APIRoute) and r.include_in_schema)


def scopes_of(dependant: Dependant) -> tuple[str, ...]:
    """The scopes of which a route needs one; empty if it needs no key."""
    found: tuple[str, ...] = getattr(dependant.call, "scopes", ())
    return found or next((s for d in dependant.dependencies if (s := scopes_of(d))), ())


def _refuses(operation: dict[str, Any], route: APIRoute, with_key: bool) -> None:
    """Add each way in which an operation is refused."""
    statuses = [*ALWAYS, *(WITH_KEY if with_key else ()), *(WITH_BODY if "requestBody" in operation else ())]
    statuses += [404] if "{" in route.path_format else []
    answers = operation["responses"]
    statuses += [int(s) for s in answers if s.isdecimal() and int(s) in WHY]
    for status in sorted(set(statuses)):
        answers[str(status)] = {"$ref": f"#/components/responses/{_name(status)}"}


def _name(status: int) -> str:
    return HTTPStatus(status).name.title().replace("_", "")


def _refusal(status: int) -> dict[str, Any]:
    content = {MEDIA_TYPE: {"schema": {"$ref": REF.format(model="Problem")}}}
    headers = {HEADERS[status]: {"schema": {"type": "string"}}} if status in HEADERS else {}
    return {"description": WHY[status], "content": content} | ({"headers": headers} if headers else {})
