"""What a caller sends is heeded or refused, never passed over: a misspelt level would give
a verdict at another level."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from tests.support.service import CLASSES, COPY, GOOD, Place, as_json, body_of, ended, problem
from tests.support.strangers import Stranger
from zooaudit.paper.fingerprint import ask
from zooaudit.serving.bodies import JSON, RAW
from zooaudit.suspects.blackbox import TorchBlackBox


def routes(place: Place) -> list[tuple[str, str]]:
    """Every path and method that the API's description has, with names that are there."""
    data = place.ask("/openapi.json", "").json()["paths"]
    return [
        (method.upper(), re.sub(r"\{\w+\}", place.id, path))
        for path, methods in data.items()
        for method in methods
    ]


def test_an_unknown_query_parameter_is_refused_by_every_route(place: Place) -> None:
    asked = routes(place)
    assert len(asked) > 10
    for method, path in asked:
        problem(
            place.ask(f"{path}?levle=0.01", "all", method=method),
            422,
            "query parameter 'levle' is unknown",
            "levle",
        )


@pytest.mark.parametrize(
    "header", ["Idempotency_Key", "X-Idempotency-Key", "IdempotencyKey", "Zooaudit-Level", "X-Zooaudit-Level"]
)
def test_a_header_that_is_meant_for_the_service_is_refused_by_every_route_that_does_not_read_it(
    header: str, place: Place
) -> None:
    for method, path in routes(place):
        problem(
            place.ask(path, "all", method=method, **{header: "1"}),
            422,
            f"header '{header.lower()}' is unknown",
        )
    assert (
        place.ask("/kits", "all", **{"X-Request-Id": "1", "X-Forwarded-For": "1.2.3.4"}).status_code == 200
    ), "a proxy's are not ours"


def test_a_misspelt_level_gives_no_verdict(place: Place) -> None:
    problem(place.score(GOOD, levle=0.01), 422, "did you mean level?", "levle", "access, level, method")
    problem(
        place.ask(f"/kits/{place.id}/score?suspect=s&level=0.01&level=0.2", "score", as_json(GOOD)),
        422,
        "level is given twice",
    )
    problem(
        place.ask(f"/kits/{place.id}/score?suspect=s&Level=0.01", "score", as_json(GOOD)),
        422,
        "did you mean level?",
    )
    problem(place.score(GOOD, level=""), 422, "level")
    problem(place.score(GOOD, access=""), 422, "access")


def test_a_setting_that_the_papers_test_does_not_read_is_refused(place: Place) -> None:
    answers = ask(TorchBlackBox(COPY, len(CLASSES)), place.kit.questions()).flatten(0, 2)
    for name, value in (("level", 0.01), ("access", "label"), ("queries", 40), ("p_value", "normal")):
        problem(place.score(answers, method="paper", **{name: value}), 422, "the paper's test", name)
    data = place.score(answers, method="paper").json()
    assert data["paper"]["level"] == place.kit.verdict.level


@pytest.mark.parametrize(
    "more", [{"levle": 0.01}, {"Answers": [[1]]}, {"": 1}, {"level": 0.01, "access": "label"}]
)
def test_other_fields_beside_answers_are_refused(more: dict[str, Any], place: Place) -> None:
    for given in ({"answers": GOOD.tolist()}, {"labels": [0] * len(GOOD)}):
        said = problem(
            place.post(json.dumps(given | more).encode(), JSON), 422, "other fields than answers or labels"
        )
        assert all(name in said["found"] for name in more)


def test_a_field_that_is_there_twice_is_refused(place: Place) -> None:
    answers = json.dumps(GOOD.tolist())
    problem(place.post(f'{{"answers": {answers}, "answers": {answers}}}'.encode(), JSON), 422, "given twice")
    twice = (
        f'{{"kit": "{place.id}", "level": 0.05, "level": 0.4, "suspect": {{"url":'
        ' "http://127.0.0.1:9/v2/models/m/infer"}}'
    )
    problem(place.ask("/audits", "audit", twice.encode()), 422, "the field level is given twice")
    twice = (
        f'{{"kit": "{place.id}", "suspect": {{"url": "http://127.0.0.1:9/v2/models/m/infer", "batch": 1,'
        ' "batch": 2}}'
    )
    problem(place.ask("/audits", "audit", twice.encode()), 422, "the field batch is given twice")


def test_every_answer_says_its_level(place: Place, stranger: Stranger) -> None:
    test = place.kit.twin_test
    assert place.score(GOOD).json()["twins"]["level"] == test.level
    assert place.score(GOOD, level=0.2).json()["twins"]["level"] == 0.2
    assert place.post(body_of(torch.eye(4)[GOOD.argmax(1)], RAW), RAW).json()["twins"]["level"] == test.level
    for given, expected in (({}, test.level), ({"level": 0.2}, 0.2)):
        made = asking(place, stranger, batch=13, **given)
        assert made.json()["level"] == expected
        done = ended(place, made.json()["id"])
        assert done["level"] == done["result"]["level"] == expected
        assert place.ask("/audits", "audit").json()["audits"][0]["level"] == expected


def asking(
    place: Place, stranger: Stranger, key: str = "audit", once: str = "", batch: int = 12, **more: Any
) -> Any:
    body = {"kit": place.id, "suspect": {"url": stranger.url + "/v2/models/m/infer", "batch": batch}, **more}
    return place.ask("/audits", key, json.dumps(body).encode(), **({"Idempotency-Key": once} if once else {}))


def ids(place: Place) -> list[str]:
    return [a["id"] for a in place.ask("/audits", "all").json()["audits"]]


def test_a_double_click_makes_one_audit(place: Place, stranger: Stranger) -> None:
    before = len(ids(place))
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: asking(place, stranger, once="double"), range(8)))
    assert {r.status_code for r in replies} == {202} and len({r.json()["id"] for r in replies}) == 1
    assert len(ids(place)) == before + 1
    assert sorted(r.headers.get("Idempotency-Replayed", "") for r in replies) == ["", *["true"] * 7]
    done = ended(place, replies[0].json()["id"])
    again = asking(place, stranger, once="double")
    assert again.json() == done and again.headers["Location"] == f"/audits/{done['id']}", (
        "what came of it, once it has ended"
    )


def test_the_key_is_of_one_caller_and_of_one_body(place: Place, stranger: Stranger) -> None:
    first = asking(place, stranger, once="mine").json()
    before = len(ids(place))
    problem(asking(place, stranger, once="mine", level=0.2), 409, first["id"], "another body")
    assert len(ids(place)) == before
    other = asking(place, stranger, "other", once="mine")
    assert other.status_code == 202 and other.json()["id"] != first["id"], (
        "another caller's key is another key"
    )
    spaced = json.dumps(
        {"suspect": {"batch": 12, "url": stranger.url + "/v2/models/m/infer"}, "kit": place.id}, indent=4
    ).encode()
    assert place.ask("/audits", "audit", spaced, **{"Idempotency-Key": "mine"}).json()["id"] == first["id"], (
        "the same, written otherwise"
    )
    assert asking(place, stranger).json()["id"] != asking(place, stranger).json()["id"], (
        "without a key each is a request of its own"
    )
    for id_ in ids(place):
        place.ask(f"/audits/{id_}", "all", method="DELETE")


def test_the_key_holds_for_a_day(place: Place, stranger: Stranger, monkeypatch: pytest.MonkeyPatch) -> None:
    first = asking(place, stranger, once="old").json()["id"]
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 24 * 3600 - 60)
    assert asking(place, stranger, once="old").json()["id"] == first
    monkeypatch.setattr(time, "time", lambda: now + 24 * 3600 + 60)
    assert asking(place, stranger, once="old").json()["id"] != first
    monkeypatch.undo()
    for id_ in ids(place):
        place.ask(f"/audits/{id_}", "all", method="DELETE")


@pytest.mark.parametrize("key", ["", "a b", "k" * 256, "clé"])
def test_a_key_that_is_none_is_refused(key: str, place: Place, stranger: Stranger) -> None:
    before = ids(place)
    body = json.dumps({"kit": place.id, "suspect": {"url": stranger.url + "/v2/models/m/infer"}}).encode()
    headers = {
        "Authorization": f"Bearer {place.keys['audit']}".encode(),
        "Content-Type": JSON.encode(),
        "Idempotency-Key": key.encode("latin-1"),
    }
    problem(place.client.request("POST", "/audits", content=body, headers=headers), 422, "Idempotency-Key")
    assert ids(place) == before
