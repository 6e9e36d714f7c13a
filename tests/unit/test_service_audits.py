"""Audits that the service makes of suspects behind an API: asked for, watched, cancelled, refused."""

import io
import json
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
from fastapi.testclient import TestClient

from tests.support.kits import K
from tests.support.service import COPY, Place, ended, problem, submitted
from tests.support.strangers import Stranger
from zooaudit.kits.kit import FIRST, save_kit
from zooaudit.serving.application import make_app
from zooaudit.serving.auditor import Auditor
from zooaudit.serving.settings import Settings
from zooaudit.storage.opening import open_store
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.verdict.wording import plain


def test_an_audit_of_a_suspect_behind_an_api(place: Place, stranger: Stranger) -> None:
    stranger.flaky = 0.2
    reply = submitted(
        place, {"url": stranger.url + "/v2/models/m/infer", "batch": 8, "headers": {"X-Secret": "hush"}}
    )
    assert (
        reply.status_code == 202
        and reply.headers["Location"] == f"/audits/{reply.json()['id']}"
        and "hush" not in reply.text
    )
    result = ended(place, reply.json()["id"])
    expected = place.kit.twin_test.examine(TorchBlackBox(COPY, K))
    assert (
        result["state"] == "done"
        and result["result"]["decision"] == "stolen"
        and result["result"]["queries"] == expected.queries
    )
    assert (
        result["result"]["charged"] == result["progress"]["queries"] == expected.queries
        and result["by"] == "audit"
    )
    shown = plain(expected.verdict)
    assert {name: result["result"][name] for name in shown} == shown and len(shown["statistics"]) == 20
    assert {name: result["progress"][name] for name in ("rank", "twins", "p_value", "settled")} == {
        "rank": 1,
        "twins": 19,
        "p_value": 0.05,
        "settled": True,
    }
    assert (
        open_store(str(place.folder / "store"))
        .load("evidence", result["result"]["evidence"])
        .meta["verdict"]["decision"]
        == "stolen"
    )
    assert result["id"] in [a["id"] for a in place.ask("/audits", "audit").json()["audits"]]
    problem(place.ask(f"/audits/{result['id']}", "other"), 404, "no such audit")
    assert place.ask("/audits", "other").json()["audits"] == []
    assert place.ask(f"/audits/{result['id']}", "all").status_code == 200, "an admin sees everybody's"
    same = {"url": stranger.url + "/v2/models/m/infer", "batch": 8, "headers": {"X-Secret": "hush"}}
    again, before = submitted(place, same, level=0.3).json(), stranger.computed
    assert (
        ended(place, again["id"])["result"]["charged"] == expected.queries and stranger.computed == before
    ), "nothing is paid twice"
    stranger.flaky = 0.0


def test_an_audit_that_cannot_be_says_why(place: Place, stranger: Stranger) -> None:
    for suspect, says in (
        ({"url": "http://elsewhere.example/infer"}, "may not ask the host elsewhere.example:80"),
        ({"url": stranger.url + "/ask"}, "does not show its protocol"),
        ({"url": stranger.url + "/v2/models/m/infer", "key_env": "HOME"}, "key_env"),
        (
            {"url": stranger.url + "/v2/models/m/infer", "headers": {"Host": "inner"}},
            "which the service sets itself",
        ),
        (
            {"url": stranger.url + "/v2/models/m/infer", "headers": {"Accept-Encoding": "br"}},
            "which the service sets itself",
        ),
        ({"url": stranger.url.replace("http", "grpc") + "/m"}, "by http and https only, not by grpc"),
        (
            {"url": stranger.url + "/v2/models/m/infer", "largest_request": 2**30},
            "this service takes 32,000,000 at most",
        ),
        (
            {
                "url": stranger.url + "/v2/models/m/infer",
                "sign": "oauth",
                "oauth_url": "http://169.254.169.254/token",
                "oauth_id_env": "HOME",
                "oauth_secret_env": "HOME",
            },
            "the suspect has oauth_id_env, oauth_secret_env, oauth_url, sign, which are for the command line",
        ),
        (
            {"url": stranger.url + "/v2/models/m/infer", "sign": "aws", "aws_region": "a"},
            "aws_region, sign, which are for",
        ),
        ({}, "has no url"),
    ):
        problem(submitted(place, suspect), 422, says)
    problem(submitted(place, {"url": stranger.url + "/v2/models/m/infer"}, level=0.9), 422, "level")
    problem(submitted(place, {"url": stranger.url + "/v2/models/m/infer"}, access="top"), 422, "unknown")
    problem(
        submitted(place, {"url": stranger.url + "/v2/models/m/infer"}, queries=41),
        422,
        "41 questions; expected one of 40, 80, 120",
    )
    problem(submitted(place, {"url": stranger.url + "/v2/models/m/infer"}, p_value="guess"), 422, "p_value")
    problem(
        place.ask(
            "/audits",
            "audit",
            json.dumps({"kit": "0" * 16, "suspect": {"url": stranger.url + "/infer"}}).encode(),
        ),
        404,
    )
    problem(place.ask("/audits", "audit", b'{"kit": "a", "suspect": {}, "colour": 1}'), 422, "colour")
    failed = ended(
        place, submitted(place, {"url": "http://127.0.0.1:9/v2/models/m/infer", "retries": 1}).json()["id"]
    )
    assert failed["state"] == "failed" and "cannot be reached" in failed["error"]
    own = {
        "url": stranger.url + "/classify",
        "protocol": "template",
        "request": {"payload": {"pictures": "$pngs"}},
        "answers": "results[*].scores",
    }
    small = ended(place, submitted(place, own, budget=8).json()["id"])
    assert small["state"] == "failed" and "the budget is 8 queries" in small["error"]


def test_an_audit_asks_so_many_questions_at_most_and_shows_how_far_it_is(
    place: Place, stranger: Stranger
) -> None:
    test, url = place.kit.twin_test, stranger.url + "/v2/models/m/infer"
    short = ended(
        place,
        submitted(place, {"url": url, "batch": 40}, queries=test.looks[0], p_value="normal").json()["id"],
    )
    result = short["result"]
    assert (result["by"], result["queries"], result["budget"]) == ("normal", test.looks[0], test.looks[0])
    assert (short["progress"]["queries"], short["progress"]["budget"]) == (test.looks[0], test.looks[0])
    kept = open_store(str(place.folder / "store")).load("evidence", result["evidence"]).meta
    assert (
        kept["verdict"]["p_value"] == result["p_value"]
        and kept["verdict"]["statistics"] == result["statistics"]
    )


def test_twins_that_came_later_ask_nobody_again(place: Place, stranger: Stranger) -> None:
    suspect = {"url": stranger.url + "/v2/models/m/infer", "batch": 12}
    first = ended(place, submitted(place, suspect).json()["id"])["result"]
    grown = replace(place.kit, facts=place.kit.facts | {FIRST: place.id})
    later, before = (
        replace(place, id=save_kit(open_store(str(place.folder / "store")), grown).id),
        stranger.computed,
    )
    again = ended(place, submitted(later, suspect).json()["id"])["result"]
    assert later.id != place.id and again["queries"] == first["queries"] and stranger.computed == before
    questions = pq.read_table(io.BytesIO(place.ask(f"/kits/{later.id}/queries").content))
    assert questions.schema.metadata[b"kit"].decode() == place.id, (
        "answers to the old kit's questions serve the new one"
    )


def test_an_audit_that_can_accuse_nobody_asks_nobody(place: Place, stranger: Stranger) -> None:
    before = stranger.computed
    data = ended(
        place,
        submitted(place, {"url": stranger.url + "/v2/models/m/infer", "scale": 1.0000004}, level=0.01).json()[
            "id"
        ],
    )["result"]
    assert (
        data["decision"] == "cannot tell"
        and "level 0.01 needs 99" in data["reason"]
        and stranger.computed == before
    )
    assert data["charged"] == data["queries"] == 0


def test_an_audit_is_cancelled_or_goes_on_after_a_restart(
    place: Place, stranger: Stranger, tmp_path: Path
) -> None:
    settings = Settings(
        str(place.folder / "store"), data=tmp_path / "data", suspects=(stranger.url.removeprefix("http://"),)
    )
    stranger.slow_s, before = 0.1, stranger.computed
    slow = {"url": stranger.url + "/v1/models/m:predict", "batch": 4, "concurrency": 1}
    first = Auditor(settings)
    cancelled, going = (
        first.submit("me", {"kit": place.id, "suspect": slow | {"scale": scale}})["id"]
        for scale in (1.0, 1.0000001)
    )
    while stranger.computed < before + 8:
        time.sleep(0.02)
    assert (first.cancel(cancelled) or {})["state"] == "cancelled"
    first.close()
    stranger.slow_s = 0.0
    second = Auditor(settings)
    for _ in range(200):
        result = second.get(going) or {}
        if result["state"] == "done":
            break
        time.sleep(0.05)
    assert result["state"] == "done" and result["result"]["charged"] <= result["result"]["queries"] + 4, (
        "at most the request that was under way"
    )
    assert (second.get(cancelled) or {})["state"] == "cancelled"
    second.close()


def test_a_service_without_a_place_for_audits_asks_nobody(place: Place) -> None:
    with TestClient(make_app(Settings(str(place.folder / "store"))), base_url="http://localhost") as client:
        problem(
            client.post("/audits", json={"kit": place.id, "suspect": {"url": "http://a/infer"}}),
            403,
            "asks no suspects",
        )
        assert client.get("/kits").status_code == 200, "it is open to all"


def test_a_suspects_key_is_forgotten_when_the_audit_ends(place: Place, stranger: Stranger) -> None:
    made = submitted(
        place, {"url": stranger.url + "/v2/models/m/infer", "headers": {"X-Secret": "hush-hush"}}
    ).json()
    assert ended(place, made["id"])["state"] == "done"
    row = (
        sqlite3.connect(place.folder / "data" / "audits.sqlite")
        .execute("SELECT asked FROM audits WHERE id = ?", (made["id"],))
        .fetchone()
    )
    assert "hush" not in row[0] and (place.folder / "data").stat().st_mode & 0o077 == 0
