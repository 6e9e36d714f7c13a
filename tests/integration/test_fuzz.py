"""Thousands of requests that the API's own description gives rise to, good ones and bad:
none may bring more than a refusal."""

import json
import time
from collections import Counter
from itertools import count
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.schemas import OpenApiSchema

from tests.support.service import Place, without_models
from zooaudit.serving.application import ROUTERS
from zooaudit.serving.description import documented

pytestmark = pytest.mark.fuzz

LEAST, EXAMPLES = 5_000, 500
OPERATIONS = len(list(documented(ROUTERS)))
SLOW_S = 10.0
seen: Counter[tuple[str, int]] = Counter()


@pytest.fixture(scope="module")
def api(place: Place) -> OpenApiSchema:
    without_models(place)
    return schemathesis.openapi.from_asgi("/openapi.json", place.client.app)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("number", range(OPERATIONS))
def test_no_request_does_more_than_be_refused(
    number: int,
    mode: GenerationMode,
    api: OpenApiSchema,
    place: Place,
) -> None:
    operation = [found.ok() for found in api.get_all_operations()][number]
    try:
        cases = operation.as_strategy(generation_mode=mode)
    except Unsatisfiable:
        return  # nothing about it can be wrong
    flip = count()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def each(case: schemathesis.Case[Any]) -> None:
        if "id_" in case.path_parameters and next(flip) % 2:
            case.path_parameters["id_"] = place.id  # else most would end at a kit that is not there
        _asked(case, place)

    try:
        each()
    except Unsatisfiable:
        return


def _asked(case: schemathesis.Case[Any], place: Place) -> None:
    started = time.monotonic()
    reply = case.call(headers={"Authorization": f"Bearer {place.keys['all']}"})
    seen[case.operation.label, reply.status_code] += 1
    assert time.monotonic() - started < SLOW_S
    assert reply.status_code < 500, (case.as_curl_command(), reply.text)
    if reply.status_code >= 400:
        assert reply.headers["content-type"] == ["application/problem+json"], reply.headers
        data = json.loads(reply.content)
        assert data["status"] == reply.status_code and data["detail"] and "Traceback" not in reply.text


def test_there_were_enough_of_them(api: OpenApiSchema) -> None:
    assert sum(seen.values()) >= LEAST, seen
    assert len({label for label, _ in seen}) == len(list(api.get_all_operations())) == OPERATIONS
    assert {200, 400, 404, 422} <= {status for _, status in seen}, seen
