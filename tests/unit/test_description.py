"""One contract: what ``/openapi.json`` says, what HTTP expects of every route, and lists in pages."""

import json
import re
from dataclasses import fields
from typing import Any

import pytest
from fastapi.routing import APIRoute
from pydantic import BaseModel

from tests.support.service import Place, problem, submitted
from tests.support.strangers import Stranger
from zooaudit.errors import ConfigError
from zooaudit.serving.application import ROUTERS
from zooaudit.serving.audit_requests import MOST, NOT_OURS
from zooaudit.serving.suspects import KINDS, AddressSuspect, refuse_idle
from zooaudit.suspects.naming import Naming
from zooaudit.suspects.remote import Remote, remote_of
from zooaudit.suspects.wire import PROTOCOLS, Wire

CLASSES = ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def api(place: Place) -> dict[str, Any]:
    found: dict[str, Any] = place.ask("/openapi.json", "").json()
    return found


def operations(api: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, methods in api["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_reference_leads_somewhere(api: dict[str, Any]) -> None:
    for ref in set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(api))) | set(
        re.findall(r'"(#/components/[^"]+)"', json.dumps(api))
    ):
        found: Any = api
        for step in ref.removeprefix("#/").split("/"):
            found = found[step]
    assert "$defs" not in json.dumps(api)


def test_every_operation_has_a_key_a_tag_a_name_and_named_refusals(api: dict[str, Any]) -> None:
    tags, names = {t["name"] for t in api["tags"]}, [o["operationId"] for *_, o in operations(api)]
    assert len(set(names)) == len(names) > 10
    assert api["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for path, _, operation in operations(api):
        assert len(operation["tags"]) == 1 and set(operation["tags"]) <= tags, path
        refusals = {s: r for s, r in operation["responses"].items() if s >= "400"}
        assert all(r["$ref"].startswith("#/components/responses/") for r in refusals.values()), path
        assert {"422", "500", "503"} <= set(refusals) and ("404" in refusals or "{" not in path)
        assert operation["security"] == ([] if path in ("/health", "/ready") else operation["security"])
        assert ({"401", "403", "429"} <= set(refusals)) == bool(operation["security"])
        assert ("415" in refusals) == ("requestBody" in operation)
    for refusal in api["components"]["responses"].values():
        assert refusal["content"] == {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        }


def test_the_scope_that_an_operation_states_is_the_one_that_it_needs(
    api: dict[str, Any], place: Place
) -> None:
    for path, method, operation in operations(api):
        scopes = [scope for needed in operation["security"] for scope in needed["key"]]
        at = re.sub(r"\{\w+\}", place.id, path)
        for other in {"score", "read"}.difference(scopes) if scopes else ():
            problem(place.ask(at, other, method=method.upper()), 403, f"scope {' or '.join(scopes)}")
        for scope in scopes:
            assert (
                place.ask(at, scope, method=method.upper()).status_code != 403 or path == "/kits/{id_}/model"
            ), (path, scope)


def test_enums_are_named(api: dict[str, Any]) -> None:
    schemas = api["components"]["schemas"]
    assert schemas["Audit"]["properties"]["state"]["enum"] == [
        "queued",
        "running",
        "done",
        "failed",
        "cancelled",
    ]
    assert schemas["TwinVerdict"]["properties"]["decision"]["enum"] == ["stolen", "not shown", "cannot tell"]
    assert schemas["PaperVerdict"]["properties"]["decision"]["enum"] == ["piracy", "inconclusive"]
    suspect = schemas["Suspect"]["anyOf"][1]
    assert suspect["discriminator"]["propertyName"] == "protocol" and tuple(
        sorted(suspect["discriminator"]["mapping"])
    ) == tuple(sorted(PROTOCOLS))


SETTINGS = {f.name: f for owner in (Remote, Wire, Naming) for f in fields(owner)}
USUAL: dict[str, dict[str, Any]] = {"template": {"request": {"x": "$images"}}}


def test_suspects_are_described_by_the_settings_that_there_are() -> None:
    """A setting that is new to the parser is in the description too, and the other way
    round; with the same defaults and bounds."""
    own = set(SETTINGS) - {"wire", "naming", "signing", "stated", *NOT_OURS}
    assert {name for kind in KINDS.values() for name in kind.model_fields} == own
    assert set(AddressSuspect.model_fields) < own and "protocol" not in AddressSuspect.model_fields
    described: list[type[BaseModel]] = [AddressSuspect, *KINDS.values()]
    for kind in described:
        for name, field in kind.model_fields.items():
            if not field.is_required() and name not in ("classes", "columns", "form", "headers"):
                assert field.default == SETTINGS[name].default, (kind, name)
    for name, most in MOST.items():
        assert {m.le for m in AddressSuspect.model_fields[name].metadata if hasattr(m, "le")} == {most}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_setting_that_a_kind_has_no_use_for_is_refused(
    protocol: str, place: Place, stranger: Stranger
) -> None:
    used = set(KINDS[protocol].model_fields)
    own = {"url": stranger.url + "/ask", "protocol": protocol, **USUAL.get(protocol, {})}
    refuse_idle(remote_of(own, CLASSES), own)
    values = {
        "datatype": "FP32",
        "media": "image/png",
        "form_file": "f",
        "form": {"a": "b"},
        "form_many": True,
        "request": {"a": "$images"},
    }
    values |= {
        "layout": "nchw",
        "scale": 2.0,
        "offset": 1.0,
        "input": "i",
        "output": "o",
        "tensors": "json",
        "metadata": False,
        "answers": "x",
    }
    idle = sorted(set(values) - used)
    assert idle, "no kind uses all"
    for name in idle:
        with pytest.raises(ConfigError, match=f"by the protocol {protocol}, which does not use {name}"):
            refuse_idle(remote_of(own | {name: values[name]}, CLASSES), own | {name: values[name]})
        problem(submitted(place, own | {name: values[name]}), 422, f"does not use {name}")


def test_no_setting_has_a_default_that_a_generated_client_would_send(api: dict[str, Any]) -> None:
    """What is said of a suspect is held against what it tells of itself, and the layout's
    default is the protocol's."""
    schemas = api["components"]["schemas"]
    assert [
        (k, n)
        for k, s in schemas.items()
        if k.endswith("Suspect")
        for n, p in s.get("properties", {}).items()
        if "default" in p
    ] == []


def test_head_is_get_without_a_body(place: Place) -> None:
    for path in (
        "/",
        "/health",
        "/kits",
        f"/kits/{place.id}",
        f"/kits/{place.id}/queries",
        "/audits",
        "/openapi.json",
        "/console/files/app.js",
    ):
        got, head = place.ask(path, "all"), place.ask(path, "all", method="HEAD")
        assert (head.status_code, head.content) == (200, b""), path
        assert (
            head.headers["Content-Length"] == got.headers["Content-Length"]
            and head.headers["Content-Type"] == got.headers["Content-Type"]
        )
    assert (
        place.ask("/kits", "", method="HEAD").status_code,
        place.ask("/kits/none", "all", method="HEAD").status_code,
    ) == (401, 404)


def test_a_method_that_a_path_has_not_says_which_it_has(place: Place) -> None:
    own = [r for router in ROUTERS for r in router.routes if isinstance(r, APIRoute)]
    for path in {r.path_format for r in own}:
        has = {m for r in own if r.path_format == path for m in r.methods or ()}
        has |= {"HEAD"} if "GET" in has else set()
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} - has:
            refused = place.ask(re.sub(r"\{\w+\}", place.id, path), "all", method=method)
            result = problem(refused, 405, method)
            assert refused.headers["Allow"] == result["expected"] == ", ".join(sorted(has)), (method, path)
    assert problem(place.ask("/openapi.json", method="POST"), 405)["expected"] == "GET, HEAD"


def test_no_answer_is_kept_or_taken_for_something_else(place: Place, stranger: Stranger) -> None:
    for path in (
        "/kits",
        f"/kits/{place.id}",
        f"/kits/{place.id}/queries?format=json",
        "/audits",
        "/reports",
        "/health",
        "/openapi.json",
        "/elsewhere",
    ):
        headers = place.ask(path, "all").headers
        assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store"), path
    for refused in (place.ask("/kits", ""), place.ask("/kits", "all", method="PUT"), submitted(place, {})):
        assert (refused.headers["X-Content-Type-Options"], refused.headers["Cache-Control"]) == (
            "nosniff",
            "no-store",
        )
    assert place.ask("/", "").headers["Cache-Control"] == "no-cache", "the console says so itself"
