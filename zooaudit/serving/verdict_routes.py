"""Routes for verdicts that were given: the list of scores and audits, one of them, its explanation, and files
for others."""

from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from fastapi.responses import HTMLResponse

from zooaudit.choices import SCOPES
from zooaudit.serving.audit_records import DONE
from zooaudit.serving.audit_routes import PAGE
from zooaudit.serving.explaining import Case, judged_by_twins
from zooaudit.serving.kept_schemas import Caller, Explanation, Listed, Listing, Verdict
from zooaudit.serving.keys import Key
from zooaudit.serving.paging import Cursor, Limit, cursor_of, place_of
from zooaudit.serving.problems import Refused
from zooaudit.serving.schemas import Score
from zooaudit.serving.service import Service, Shared, needs
from zooaudit.serving.verdicts import Wanted

router = APIRouter()
Mine = Annotated[Key, needs("score", "audit", "admin")]
Trusted = Annotated[Key, needs("evidence")]
UNEXPLAINED: dict[int | str, dict[str, Any]] = {409: {}, 410: {}}
DECISIONS = Literal[
    "",
    "stolen",
    "not shown",
    "cannot tell",
    "queued",
    "running",
    "failed",
    "cancelled",
    "piracy",
    "inconclusive",
]
ZIPPED = UNEXPLAINED | {200: {"content": {"application/zip": {}}}}


@router.get("/key", tags=["service"])
def whose(service: Shared, key: Annotated[Key, needs(*SCOPES)]) -> Caller:
    """What this request's key may do."""
    settings = service.settings
    return Caller(
        name=key.name,
        scopes=list(key.scopes),
        per_minute=key.per_minute,
        expires=key.expires.isoformat() if key.expires else None,
        open=service.keyring.open,
        keeps=settings.data is not None,
        model_bytes=settings.model_bytes,
        suspects=list(settings.suspects) if "audit" in key.scopes else [],
    )


@router.get("/verdicts", tags=["verdicts"])
async def verdicts(
    service: Shared,
    key: Mine,
    kind: Literal["", "score", "audit"] = "",
    decision: DECISIONS = "",
    text: Annotated[
        str, Query(max_length=200, description="part of the suspect's name or of the kit's id")
    ] = "",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing:
    """Scores and audits of this key, the newest first; with the scope admin, everybody's."""
    before = place_of(cursor, (float, str))
    wanted = Wanted(_whose(key), kind, decision, text, (before[0], before[1]) if before else None, limit + 1)
    rows = await service.audits.kept("listed", wanted)
    last = rows[limit - 1] if len(rows) > limit else None
    return Listing(
        verdicts=[Listed(**r) for r in rows[:limit]],
        next=cursor_of((last["made"], last["id"])) if last else None,
    )


@router.get("/verdicts/{id_}", tags=["verdicts"])
async def verdict(id_: str, service: Shared, key: Mine) -> Verdict:
    """A score as it was given."""
    row = await _score(id_, service, key)
    kept = await service.audits.kept("answers", row["answers"]) is not None
    return Verdict(
        id=row["id"],
        made=row["made"],
        by=row["by"],
        score=Score(**row["score"]),
        asked=row["asked"],
        answers_kept=kept,
    )


@router.get("/verdicts/{id_}/page", tags=["verdicts"], response_class=HTMLResponse, responses=UNEXPLAINED)
async def page(id_: str, service: Shared, key: Mine) -> HTMLResponse:
    """The verdict as one HTML file, for the person who decides; of a score or of an audit. With the scope
    evidence it includes the questions with the most weight."""
    case = await _case(id_, service, key)
    content = await service.sending(
        lambda: HTMLResponse(case.page(10 if "evidence" in key.scopes else 0), headers=PAGE)
    )
    return _attached(content, f"verdict-{id_}.html")


@router.get("/verdicts/{id_}/explanation", tags=["verdicts"], responses=UNEXPLAINED)
async def explanation(id_: str, service: Shared, key: Trusted) -> Explanation:
    """Why a score or an audit ended as it did: the victim among its twins, and the questions with the most
    weight."""
    case = await _case(id_, service, key)
    return Explanation(**(await service.working(case.as_json)))


@router.get("/verdicts/{id_}/pack", tags=["verdicts"], response_class=Response, responses=ZIPPED)
async def pack(id_: str, service: Shared, key: Trusted) -> Response:
    """Answers, kit and verdict in one file, for 'zooaudit evidence verify'."""
    case = await _case(id_, service, key)
    content = await service.sending(
        lambda: Response(case.pack(service.kits.there()), media_type="application/zip")
    )
    return _attached(content, f"evidence-{id_}.zip")


def _whose(key: Key) -> str | None:
    return None if "admin" in key.scopes else key.name


def _none(id_: str) -> Refused:
    return Refused(
        HTTPStatus.NOT_FOUND, "there is no such verdict", id_[:100], "an id that GET /verdicts lists"
    )


async def _score(id_: str, service: Service, key: Key) -> dict[str, Any]:
    """The score, if this key may see it; otherwise the same error as if there were none."""
    row = await service.audits.kept("get", id_)
    if row is None or (row["by"] != key.name and "admin" not in key.scopes):
        raise _none(id_)
    return dict(row)


async def _case(id_: str, service: Service, key: Key) -> Case:
    """The basis of a score, or of an audit that has ended."""
    audit = await service.audits.get(id_)
    if audit is None:
        row = await _score(id_, service, key)
        judged_by_twins(row)
        content = await service.audits.kept("answers", row["answers"])
        if content is None:
            expected = "a verdict whose answers are; send them again"
            raise Refused(HTTPStatus.GONE, "the answers to this verdict are no longer kept", id_, expected)
        _, kit = await service.kit(row["kit"])
        return Case.of_score(kit, row, content)
    if audit["by"] != key.name and "admin" not in key.scopes:
        raise _none(id_)
    evidence = (audit["result"] or {}).get("evidence")
    if audit["state"] != DONE or not evidence:
        found = audit["state"] if audit["state"] != DONE else "it was not judged"
        raise Refused(
            HTTPStatus.CONFLICT, "this audit has no evidence", found, "one that ended with a verdict"
        )
    _, kit = await service.kit(audit["kit"])
    return await service.working(lambda: Case.of_audit(kit, service.kits.there(), evidence))


def _attached(response: Any, name: str) -> Any:
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
