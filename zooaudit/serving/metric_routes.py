"""Metrics, which need a key: who uses a service, and how often, is for its operator."""

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
    """All metrics of this machine, Ray's and ours, in Prometheus's format."""
    if service.metrics is None:
        raise Refused(
            HTTPStatus.NOT_FOUND,
            "this service has no metrics",
            "a service without Ray",
            "one that 'zooaudit serve' or Ray Serve started",
        )
    return Response(await service.metrics(), media_type=KIND)
