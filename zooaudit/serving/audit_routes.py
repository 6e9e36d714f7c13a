"""Routes for audits that the service runs itself, and for the reports of finished runs."""

import json
from collections import Counter
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import ValidationError

from zooaudit.serving import audit_schemas, schemas
from zooaudit.serving.audit_records import MOST_LISTED, AuditRecords
from zooaudit.serving.bodies import JSON
from zooaudit.serving.keys import Key
from zooaudit.serving.paging import MOST, Cursor, Limit, cursor_of, page_of, place_of
from zooaudit.serving.problems import Refused
from zooaudit.serving.service import Shared, needs, read_body
from zooaudit.suspects.addresses import without_keys

router = APIRouter()
Auditing = Annotated[Key, needs("audit")]
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; sandbox"
    " allow-scripts"
)
HELD = ("asked", "starts", "replayed")
"""Fields of an audit that are not shown."""
MOST_BYTES = 65536
"""The largest description of a suspect, in bytes."""
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/AuditRequest"}}},
    }
}
TAKEN: dict[int | str, dict[str, Any]] = {
    202: {
        "headers": {
            "Location": {"description": "where the audit is", "required": True, "schema": {"type": "string"}},
            "Idempotency-Replayed": {
                "description": "true if this request was sent before",
                "schema": {"type": "string"},
            },
        }
    },
    404: {},
    409: {},
}
PAGE = {"Content-Security-Policy": POLICY}
"""A report is a separate page: it must not act in the name of the person who views it."""


Once = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description=(
            "a name of your own for this request, for example a UUID: sent again within 24 hours with the"
            " same body, it starts nothing and returns the same audit; with another body it is refused (409)"
        ),
    ),
]


@router.post("/audits", tags=["audits"], status_code=HTTPStatus.ACCEPTED, openapi_extra=BODY, responses=TAKEN)
async def submit(
    request: Request, service: Shared, key: Auditing, response: Response, request_key: Once = None
) -> audit_schemas.Audit:
    """Have the service ask a suspect behind a prediction API."""
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != JSON:  # any web page could send other types in its visitor's name
        raise Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "an audit must be requested as JSON",
            kind[:100] or "no Content-Type",
            JSON,
        )
    # Read here, so that nothing is read for a caller without a key.
    body = await read_body(request, MOST_BYTES, service, key)
    try:
        asked = audit_schemas.AuditRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        status = (
            HTTPStatus.BAD_REQUEST if first["type"] == "json_invalid" else HTTPStatus.UNPROCESSABLE_ENTITY
        )
        place = ".".join(map(str, first["loc"])) or "the body"
        raise Refused(
            status, f"{place}: {first['msg']}"[:300], place[:100], "JSON as /openapi.json describes it"
        ) from error
    _refuse_twice(body)
    found = await service.audits.submit(key.name, asked.model_dump(), request_key or "")
    made = _shown(found)
    response.headers["Location"] = f"/audits/{made.id}"
    if found.get("replayed"):
        response.headers["Idempotency-Replayed"] = "true"
    return made


@router.get("/audits", tags=["audits"])
async def audits(
    service: Shared,
    key: Auditing,
    state: schemas.State | None = None,
    limit: Limit = MOST_LISTED,
    cursor: Cursor = None,
) -> audit_schemas.Audits:
    """This key's audits, or everybody's with the scope admin, in pages: first those that have not ended, then
    the newest first. An audit that ends between two pages may be on both; none is left out."""
    whose, after = None if "admin" in key.scopes else key.name, place_of(cursor, (int, float, str))
    found = await service.audits.all(whose, state or "", limit + 1, after)
    following = cursor_of(AuditRecords.place(found[limit - 1])) if len(found) > limit else None
    return audit_schemas.Audits(audits=[_shown(a) for a in found[:limit]], next=following)


@router.get("/audits/{id_}", tags=["audits"])
async def audit(id_: str, service: Shared, key: Auditing) -> audit_schemas.Audit:
    """An audit's state, and its result once it has ended."""
    return _shown(_own(await service.audits.get(id_), key, id_))


@router.delete("/audits/{id_}", tags=["audits"])
async def cancel(id_: str, service: Shared, key: Auditing) -> audit_schemas.Audit:
    """Stop an audit. The suspect's answers are kept, and not paid for again."""
    _own(await service.audits.get(id_), key, id_)
    return _shown(_own(await service.audits.cancel(id_), key, id_))


def _refuse_twice(body: bytes) -> None:
    """Raises:
    Refused: a field occurs twice; only the last would be used.
    """

    def refuse_duplicates(pairs: list[tuple[str, Any]]) -> None:
        for name, times in Counter(name for name, _ in pairs).items():
            if times > 1:
                raise Refused(
                    HTTPStatus.UNPROCESSABLE_ENTITY,
                    f"the field {name[:80]} is given twice",
                    f"{times} times",
                    "once",
                )

    json.loads(body, object_pairs_hook=refuse_duplicates)


def _own(found: dict[str, Any] | None, key: Key, id_: str) -> dict[str, Any]:
    """The audit, if this key may see it; otherwise the same error as if there were none."""
    if found is None or (found["by"] != key.name and "admin" not in key.scopes):
        raise Refused(
            HTTPStatus.NOT_FOUND, "there is no such audit", id_[:100], "an id that GET /audits lists"
        )
    return found


def _shown(found: dict[str, Any]) -> audit_schemas.Audit:
    """An audit without the suspect's settings, which may contain its key."""
    return audit_schemas.Audit(
        suspect=without_keys(str(found["asked"]["suspect"].get("url", ""))),
        level=found["asked"].get("level"),
        **{k: v for k, v in found.items() if k not in HELD},
    )


@router.get("/reports", tags=["reports"], dependencies=[needs("read")])
def reports(service: Shared, limit: Limit = MOST, cursor: Cursor = None) -> audit_schemas.Reports:
    """Runs that left a report, by name, in pages."""
    runs, following = page_of(service.kits.reports(), limit, cursor)
    return audit_schemas.Reports(reports=runs, next=following)


@router.get("/reports/{run}", tags=["reports"], response_class=HTMLResponse, dependencies=[needs("read")])
def report(run: str, service: Shared) -> HTMLResponse:
    """A run's report, one page."""
    return HTMLResponse(service.kits.report(run), headers=PAGE)
