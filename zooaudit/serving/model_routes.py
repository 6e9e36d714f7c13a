"""The route for a suspect that is a file: asked in a process of its own, if the operator allows it."""

import hashlib
import tempfile
import time
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Literal

import anyio
from fastapi import APIRouter, Query, Request
from torch import Tensor

from zooaudit.choices import SEEN
from zooaudit.errors import ModelError
from zooaudit.kits.kit import Kit
from zooaudit.scoring.answers import Job
from zooaudit.serving import schemas
from zooaudit.serving.kit_routes import BINARY, Horizon, Scorer, Suspect, Suspects, scored
from zooaudit.serving.problems import Refused
from zooaudit.serving.recording import kept
from zooaudit.serving.service import Shared, read_body
from zooaudit.serving.settings import MODELS_MIB
from zooaudit.suspects import sandbox
from zooaudit.suspects.access import Access
from zooaudit.verdict.decision import By, check_level

router = APIRouter()
BODY: dict[str, Any] = {"requestBody": {"required": True, "content": {"application/octet-stream": BINARY}}}
one_at_a_time = anyio.CapacityLimiter(1)


@router.post("/kits/{id_}/model", tags=["scores"], openapi_extra=BODY)
async def model(
    id_: str,
    request: Request,
    service: Shared,
    key: Scorer,
    suspect: Suspect,
    kind: Literal["onnx", "safetensors"],
    factory: Annotated[
        str, Query(max_length=200, description="of weights: timm:NAME or torchvision:NAME")
    ] = "",
    level: Annotated[float | None, Query(gt=0, lt=0.5)] = None,
    access: Annotated[str, Query(max_length=40)] = SEEN,
    queries: Horizon = None,
    by: Annotated[By, Query(alias="p_value")] = "rank",
    suspects: Suspects = 1,
) -> schemas.Score:
    """Judge a suspect's file by the twin test: it is asked all questions in a process with limits on memory
    and time, and not stored."""
    most = service.settings.model_bytes
    if not most:
        raise Refused(
            HTTPStatus.FORBIDDEN,
            "this service does not run its callers' models",
            expected=f"a service with {MODELS_MIB}",
        )
    access_level = None if access == SEEN else Access.named(access)
    if level is not None:
        check_level(level)
    summary, kit = await service.kit(id_)
    asked = kit.twin_test.stops(queries)[-1]
    body = await read_body(request, most, service, key)
    started = time.perf_counter()
    how = sandbox.Sandbox(kit.image_shape, kit.classes, factory, access_level is not None)
    answers = await anyio.to_thread.run_sync(_answers, body, kind, kit, asked, how, limiter=one_at_a_time)
    judged = await scored(
        service,
        summary,
        Job(kit, suspect, "twins", answers, level, access_level, by, queries, suspects),
        started,
    )
    about = {
        "method": "twins",
        "level": level,
        "access": access,
        "queries": queries,
        "p_value": by,
        "suspect_classes": None,
    }
    about |= {"suspects": suspects} if suspects > 1 else {}
    about |= {"model_sha256": hashlib.sha256(body).hexdigest(), "factory": factory}
    return await kept(
        service, key, about, judged, answers.float().contiguous().numpy().astype("<f4").tobytes()
    )


def _answers(body: bytes, kind: str, kit: Kit, asked: int, how: sandbox.Sandbox) -> Tensor:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model.{kind}"
        path.write_bytes(body)
        try:
            return sandbox.ask(path, kit.twin_test.questions()[:asked], how)
        except ModelError as error:
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
