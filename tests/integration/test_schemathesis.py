"""A minute of schemathesis: what the description gives rise to is answered as the
description says. The long run tries more."""

from itertools import count
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks
from schemathesis.specs.openapi.schemas import OpenApiSchema

from tests.support.service import Place, without_models
from zooaudit.serving.application import ROUTERS
from zooaudit.serving.description import documented

pytestmark = pytest.mark.fuzz

EXAMPLES = [25, pytest.param(500, marks=pytest.mark.long)]
OPERATIONS = sorted(
    f"{method} {route.path_format}" for route in documented(ROUTERS) for method in route.methods or ()
)
HEEDED = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.missing_required_header,
    checks.unsupported_method,
    checks.ignored_auth,
]
"""Not heeded: ``positive_data_acceptance``, since a description cannot say which hosts may be asked, nor how
long a kit's answers are; ``use_after_free`` and ``ensure_resource_availability``, since an audit that was
stopped is still there to be read."""


@pytest.fixture(scope="module")
def api(place: Place) -> OpenApiSchema:
    without_models(place)
    return schemathesis.openapi.from_asgi("/openapi.json", place.client.app)


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize(
    "mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["as described", "otherwise"]
)
@pytest.mark.parametrize("label", OPERATIONS)
def test_answers_are_what_the_description_says(
    label: str, mode: GenerationMode, examples: int, api: OpenApiSchema, place: Place
) -> None:
    operation = next(o for found in api.get_all_operations() if (o := found.ok()).label == label)
    flip = count()

    quiet = list(HealthCheck)

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=quiet,
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def each(case: schemathesis.Case[Any]) -> None:
        if mode is GenerationMode.POSITIVE and "id_" in case.path_parameters and next(flip) % 2:
            case.path_parameters["id_"] = place.id  # else most would end at a kit that is not there
        case.call_and_validate(headers={"Authorization": f"Bearer {place.keys['all']}"}, checks=HEEDED)

    try:
        each()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE, "only that nothing about it can be wrong"


def test_every_operation_is_tried(api: OpenApiSchema) -> None:
    assert (
        sorted(found.ok().label for found in api.get_all_operations()) == OPERATIONS and len(OPERATIONS) > 12
    )


def test_the_checks_would_find_something(place: Place) -> None:
    """A service that answers otherwise than its description says."""
    wrong = FastAPI()
    wrong.openapi = place.client.app.openapi  # type: ignore[attr-defined, method-assign]
    wrong.add_api_route("/kits", lambda: {"kits": [{"id": 5}]})
    operation = next(
        o
        for f in schemathesis.openapi.from_asgi("/openapi.json", wrong).get_all_operations()
        if (o := f.ok()).label == "GET /kits"
    )
    with pytest.raises(FailureGroup, match="schema"):
        operation.Case().call_and_validate(checks=HEEDED[:5])
