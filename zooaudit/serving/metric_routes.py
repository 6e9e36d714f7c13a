"""What is counted, behind a key: whom a service is asked by, and how often, is for its operator."""

from http import HTTPStatus

from fastapi import APIRouter, Response

from zooaudit.serving.problems import Refused
from zooaudit.serving.service import Shared, needs

KIND = "text/plain; version=0.0.4; charset=utf-8"
router = APIRouter()


@router.get(
    "/metrics",
    tags=["service"],
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    dependencies=[needs("admin")],
)
async def metrics(service: Shared) -> Response:
    """What is counted on this machine, by Ray and by us, as Prometheus reads it."""
    if service.metrics is None:
        raise Refused(
            HTTPStatus.NOT_FOUND,
            "nobody counts here",
            "a service without Ray",
            "one that 'zooaudit serve' or Ray Serve started",
        )
    return Response(await service.metrics(), media_type=KIND)
