"""What the service lists and describes, and to whom it opens which route."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from fastapi.testclient import TestClient

from tests.support.service import CLASSES, GOOD, SCOPES, Place, as_json, problem
from zooaudit.serving import keys
from zooaudit.serving.application import make_app
from zooaudit.serving.bodies import ACCEPTED
from zooaudit.serving.keys import new_key
from zooaudit.serving.settings import Settings
from zooaudit.verdict.wording import checked


def test_kits_are_listed_and_described(place: Place) -> None:
    (summary,) = place.ask("/kits").json()["kits"]
    detail = place.ask(f"/kits/{place.id}").json()
    assert (
        summary.items() <= detail.items()
        and summary["id"] == place.id
        and summary["victim"] == place.kit.victim
    )
    test = place.kit.twin_test
    assert detail["classes"] == list(CLASSES) and detail["image_shape"] == [1, 4, 4]
    assert (detail["twins"], detail["references"], detail["families"]) == (
        19,
        {"trained": 16},
        {"natural": test.budget},
    )
    assert (detail["budget"], detail["looks"], detail["control_questions"]) == (
        test.budget,
        list(test.looks),
        test.control_questions,
    )
    assert (detail["smallest_p"], detail["procedure"], detail["accuses_nobody"]) == (
        1 / 20,
        "peers of the victim",
        "",
    )
    assert detail["checked"] == checked(test.exchangeability, test.hub()) and len(detail["checked"]) > 3
    assert [detail["paper"][k] for k in ("views", "points", "queries", "references")] == [6, 5, 60, 3]


@pytest.mark.parametrize("format_", ["parquet", "json", "zip"])
def test_questions_are_handed_out_but_no_training_images(format_: str, place: Place, tmp_path: Path) -> None:
    reply = place.ask(f"/kits/{place.id}/queries?format={format_}")
    assert reply.status_code == 200
    expected = place.kit.twin_test.questions()
    if format_ == "parquet":
        (tmp_path / "q.parquet").write_bytes(reply.content)
        found = np.stack(pq.read_table(tmp_path / "q.parquet")["image"].to_numpy()).reshape(expected.shape)
        assert np.array_equal(found, expected.numpy())
    elif format_ == "json":
        assert torch.equal(
            torch.tensor([q["image"] for q in reply.json()["queries"]]).view(expected.shape), expected
        )
    else:
        assert reply.content[:2] == b"PK"
    problem(
        place.ask(f"/kits/{place.id}/queries?method=paper"),
        403,
        "does not give out training images",
        "ZOOAUDIT_SERVE_QUERIES=1",
    )


def test_each_scope_opens_its_own_routes_only(place: Place) -> None:
    audit = json.dumps({"kit": place.id, "suspect": {"url": "http://nowhere.example/infer"}}).encode()
    routes: dict[str, list[tuple[str, bytes | None]]] = {
        "read": [
            ("/kits", None),
            (f"/kits/{place.id}", None),
            (f"/kits/{place.id}/queries", None),
            ("/reports", None),
        ],
        "score": [(f"/kits/{place.id}/score?suspect=s", as_json(GOOD))],
        "audit": [("/audits", None), ("/audits", audit), ("/audits/none", None)],
    }
    for scope, asked in routes.items():
        for path, body in asked:
            for key in SCOPES:
                reply = place.ask(path, key, body)
                if key == scope:
                    assert reply.status_code not in (401, 403), reply.content
                else:
                    problem(reply, 403, f"the key {key} may not do this", f"scope {scope}")
            for wrong in ("", "unknown"):
                refused = place.ask(path, wrong, body)
                problem(refused, 401, "Authorization: Bearer KEY")
                assert refused.headers["WWW-Authenticate"] == "Bearer"
            problem(place.ask(path, "old", body), 401, "the key old expired on 2020-01-01")


def test_health_and_the_description_are_open_to_all(place: Place) -> None:
    for path in ("/health", "/ready", "/openapi.json"):
        assert place.ask(path, "").status_code == 200
    problem(place.ask("/docs", ""), 404)


def test_a_key_has_so_many_requests_a_minute(place: Place) -> None:
    assert [place.ask("/kits", "slow").status_code for _ in range(2)] == [200, 200]
    refused = place.ask("/kits", "slow")
    problem(refused, 429, "the key slow has no requests left", "2 a minute")
    assert 1 <= int(refused.headers["Retry-After"]) <= 31


def test_who_asked_what_is_written_down_without_keys_or_bodies(place: Place) -> None:
    place.ask(f"/kits/{place.id}", "all")
    place.ask("/kits", "unknown")
    (log,) = (place.folder / "data").glob("access-*.jsonl")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert (lines[-2]["key"], lines[-2]["path"], lines[-2]["status"]) == ("all", f"/kits/{place.id}", 200)
    assert (lines[-1]["key"], lines[-1]["status"]) == ("", 401)
    assert not any(key in log.read_text() for key in place.keys.values())


def test_openapi_names_every_route_and_every_body(place: Place) -> None:
    api = place.ask("/openapi.json", "").json()
    routes = {
        (path.replace("{id_}", "{id}"), method)
        for path, methods in api["paths"].items()
        for method in methods
    }
    assert routes == {
        ("/health", "get"),
        ("/ready", "get"),
        ("/kits", "get"),
        ("/kits/{id}", "get"),
        ("/kits/{id}/queries", "get"),
        ("/kits/{id}/score", "post"),
        ("/audits", "get"),
        ("/audits", "post"),
        ("/audits/{id}", "get"),
        ("/audits/{id}", "delete"),
        ("/reports", "get"),
        ("/key", "get"),
        ("/verdicts", "get"),
        ("/verdicts/{id}", "get"),
        ("/verdicts/{id}/page", "get"),
        ("/verdicts/{id}/explanation", "get"),
        ("/verdicts/{id}/pack", "get"),
        ("/kits/{id}/model", "post"),
        ("/reports/{run}", "get"),
        ("/metrics", "get"),
    }
    score = api["paths"]["/kits/{id_}/score"]["post"]
    assert score["requestBody"]["content"].keys() == set(ACCEPTED)
    assert score["responses"].keys() == {
        "200",
        "400",
        "401",
        "403",
        "404",
        "408",
        "413",
        "415",
        "422",
        "429",
        "500",
        "503",
    }


def test_nothing_is_read_for_whoever_has_no_key(place: Place) -> None:
    huge = b"[" * 3_000_000
    problem(place.ask("/audits", "", huge), 401)
    problem(place.ask("/audits", "read", huge), 403)
    problem(place.ask("/audits", "audit", huge), 413, "at most")
    problem(place.ask("/audits", "audit", b"[" * 2_000), 400, "Invalid JSON")


def test_keys_that_cannot_be_read_are_said_where_it_is_watched(
    tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "FRESH_S", -1.0)
    key, entry = new_key("a", ("read",), 0, None)
    (tmp_path / "keys.toml").write_text(entry)
    with TestClient(
        make_app(Settings(str(place.folder / "store"), keys_file=tmp_path / "keys.toml"))
    ) as client:
        assert client.get("/ready").status_code == 200
        (tmp_path / "keys.toml").write_text("[[key]]\nname = ")
        problem(client.get("/ready"), 503, "keys cannot be read")
        assert client.get("/kits", headers={"Authorization": f"Bearer {key}"}).status_code == 200, (
            "the keys that were there stay"
        )
