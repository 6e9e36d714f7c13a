"""The service without Ray, in this process: every route, every refusal, audits of suspects behind an API."""

import io
import json
import math
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from fastapi.testclient import TestClient
from torch import Tensor

from tests.support.bodies import as_arrow, as_parquet, bomb, table
from tests.support.collecting import Notebook
from tests.support.collecting import key as counted
from tests.support.kits import K
from tests.support.makers import Affine, make_twin_test
from tests.support.service import (
    CLASSES,
    COPY,
    GOOD,
    INNOCENT,
    SCOPES,
    Place,
    as_json,
    ended,
    problem,
    submitted,
)
from tests.support.strangers import Stranger, serving
from zooaudit.cli.main import main
from zooaudit.errors import AnswersError
from zooaudit.kits.kit import FIRST, answers_digest, save_kit
from zooaudit.paper.fingerprint import ask
from zooaudit.scoring.answers import Job, score_all
from zooaudit.serving import keys
from zooaudit.serving.application import make_app
from zooaudit.serving.audit_records import OPEN
from zooaudit.serving.auditor import Auditor
from zooaudit.serving.bodies import ACCEPTED, ARROW, JSON, PARQUET, RAW
from zooaudit.serving.keys import new_key
from zooaudit.serving.settings import Settings
from zooaudit.storage.opening import open_store
from zooaudit.suspects.access import top_k
from zooaudit.suspects.blackbox import TorchBlackBox, to_probabilities
from zooaudit.telemetry.metrics import SCORE_SECONDS, SCORES, SERVICE_AUDITS
from zooaudit.verdict.wording import checked, plain
from zooaudit.verdict.wording import facts as in_words


class Finer(torch.nn.Module):
    """A copy that tells one of the kit's classes as two."""

    def forward(self, x: Tensor) -> Tensor:
        logits = COPY(x)
        return torch.cat([logits[:, :1] + math.log(0.75), logits[:, :1] + math.log(0.25), logits[:, 1:]], 1)


@pytest.mark.parametrize("kind", ACCEPTED)
@pytest.mark.parametrize("model", [COPY, INNOCENT])
def test_a_verdict_is_the_twin_tests_to_the_bit(model: Affine, kind: str, place: Place) -> None:
    test = place.kit.twin_test
    answers = TorchBlackBox(model, K).ask(test.questions())
    expected = test.judge(answers).verdict
    reply = place.score(answers, kind, suspect="theirs")
    assert reply.status_code == 200, reply.content
    data = reply.json()
    found = data["twins"]
    assert {name: found[name] for name in plain(expected)} == plain(expected)
    assert found == in_words(expected) | {"hint": ""}
    assert (data["answers_sha256"], data["suspect"], data["kit"], data["paper"]) == (
        answers_digest(answers),
        "theirs",
        place.id,
        None,
    )
    assert (found["decision"] == "stolen") == (model is COPY) and len(found["statistics"]) == 20


def test_fewer_answers_another_level_and_a_described_interface(place: Place) -> None:
    test = place.kit.twin_test
    answers = TorchBlackBox(COPY, K).ask(test.questions())
    early = place.score(answers[: test.looks[0]]).json()["twins"]
    assert (early["queries"], early["budget"]) == (test.looks[0], test.budget)
    strict = place.score(answers, level=0.01).json()["twins"]
    assert (
        strict["decision"] == "cannot tell"
        and "allow no p under" in strict["reason"]
        and strict["statistics"] == []
    )
    labels = place.post(
        json.dumps({"labels": [CLASSES[i] for i in answers.argmax(1)]}).encode(), JSON, access="label"
    ).json()["twins"]
    expected = test.judge(torch.nn.functional.one_hot(answers.argmax(1), K).float()).verdict
    assert labels["access"] == "label" and labels["p_value"] == expected.p_value
    rounded = place.score(torch.round(answers, decimals=1), access="rounded-1").json()["twins"]
    assert rounded["access"] == "rounded-1"


def test_so_many_questions_at_most_and_a_p_value_by_name(place: Place) -> None:
    test = place.kit.twin_test
    first, second = test.looks[:2]
    answers = TorchBlackBox(INNOCENT, K).ask(test.questions())
    whole, short = (place.score(answers[:first], **more).json()["twins"] for more in ({}, {"queries": first}))
    assert not whole["settled"] and short["settled"] and short["budget"] == first
    assert short["p_value"] == test.judge(answers[:first], horizon=first).verdict.p_value
    problem(place.score(answers[:second], queries=first), 422, f"{second} rows", f"1 to {first}")
    problem(
        place.score(answers, queries=first + 1),
        422,
        f"{first + 1} questions; expected one of {first}, {second}",
    )
    by_rank, by_normal = (
        place.score(answers, level=0.01, p_value=by).json()["twins"] for by in ("rank", "normal")
    )
    assert (by_rank["by"], by_normal["by"]) == ("rank", "normal") and by_rank["p_value"] is None
    assert by_normal["p_value"] == test.judge(answers, 0.01, by="normal").verdict.p_value
    problem(place.score(answers, p_value="guess"), 422, "rank", "normal")


@pytest.mark.parametrize("kind", ACCEPTED)
def test_a_suspect_with_classes_of_its_own_is_judged_by_how_alike_its_answers_are(
    kind: str, place: Place
) -> None:
    test = place.kit.twin_test
    answers = TorchBlackBox(COPY, K).ask(test.questions())
    finer = torch.cat([answers[:, :1] * 0.75, answers[:, :1] * 0.25, answers[:, 1:]], 1)
    data = place.score(finer, kind, suspect_classes=K + 1).json()["twins"]
    expected = test.judge(finer).verdict
    assert data["decision"] == "stolen" and {name: data[name] for name in plain(expected)} == plain(expected)
    problem(place.score(finer, kind), 422, "expected")
    problem(place.score(answers, kind, suspect_classes=K + 1), 422, "expected")
    problem(place.score(finer, kind, suspect_classes=1), 422, "suspect_classes")
    problem(
        place.score(finer, kind, method="paper", suspect_classes=K + 1),
        422,
        "the paper's test",
        f"the kit's {K}",
    )
    assert place.score(answers, kind, suspect_classes=K).json()["twins"]["decision"] == "stolen"


def test_another_order_of_classes_is_pointed_out(place: Place) -> None:
    answers = TorchBlackBox(COPY, K).ask(place.kit.twin_test.questions())
    data = place.score(answers.flip(1)).json()["twins"]
    assert data["decision"] != "stolen" and data["hint"].endswith("[3, 2, 1, 0]")


@pytest.mark.parametrize("kind", ACCEPTED)
def test_the_papers_test_is_the_kits_to_the_bit(kind: str, place: Place) -> None:
    answers = ask(TorchBlackBox(INNOCENT, K), place.kit.questions())
    scores, verdict = place.kit.score_answers("theirs", answers)
    data = place.score(answers.flatten(0, 2), kind, method="paper", suspect="theirs").json()
    assert (
        data["paper"]["p_value"] == verdict.p_value
        and data["paper"]["similarities"] == scores.tolist()
        and data["twins"] is None
    )
    assert "look-alikes" in data["paper"]["caution"]


def test_scores_that_are_computed_together_are_those_of_each_alone(place: Place) -> None:
    kit, other = place.kit, replace(place.kit, seed=10)
    jobs = []
    for i in range(9):
        whole = ask(TorchBlackBox(Affine(seed=i), K), kit.questions()).flatten(0, 2)
        jobs.append(Job(other if i % 3 == 0 else kit, f"s{i}", "paper", whole if i != 4 else whole[1:]))
        jobs.append(
            Job(
                kit,
                f"s{i}",
                "twins",
                TorchBlackBox(Affine(seed=i), K).ask(kit.twin_test.questions())[: None if i != 5 else 3],
            )
        )
    together, alone = score_all(jobs), [score_all([job])[0] for job in jobs]
    assert [str(t) for t in together] == [str(a) for a in alone]
    assert sum(isinstance(t, Exception) for t in together) == 2


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
        "does not hand out training images",
        "ZOOAUDIT_SERVE_QUERIES=1",
    )


def with_value(value: float) -> Tensor:
    answers = TorchBlackBox(COPY, K).ask(make_twin_test().questions())
    answers[2, 3] = value
    return answers


BAD_ANSWERS = {
    "too few": (GOOD[:5], ("the shape (5, 4)", "[40 to 120, 4]")),
    "too many": (torch.cat([GOOD, GOOD]), ("rows", "one a question")),
    "too few classes": (GOOD[:, :3].contiguous(), ()),
    "NaN": (with_value(float("nan")), ("NaN or infinite values in 1 of", "finite")),
    "negative": (with_value(-0.5), ("negative values in 1 of", "softmax")),
    "sum is not 1": (with_value(7.0), ("do not sum to 1 in 1 of", "within 0.001 of 1")),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
@pytest.mark.parametrize("kind", ACCEPTED)
def test_bad_answers_are_a_422_with_what_was_found_and_expected(kind: str, name: str, place: Place) -> None:
    answers, says = BAD_ANSWERS[name]
    found = problem(place.score(answers, kind), 422, *says)
    assert found["found"] and found["expected"]


def test_bad_requests_each_have_a_status_of_their_own(place: Place) -> None:
    good, unknown = as_json(GOOD), "0" * 16
    problem(place.ask(f"/kits/{unknown}"), 404, "no such kit", "GET /kits")
    problem(place.ask(f"/kits/{unknown}/score?suspect=s", "score", good), 404, "no such kit")
    problem(place.ask("/kits/..%2f..%2fmodel"), 404)
    problem(place.ask("/elsewhere"), 404, "Not Found")
    problem(place.ask("/kits", body=b"{}"), 405)
    problem(place.ask(f"/kits/{place.id}/score", "score", good), 422, "suspect", "required")
    problem(place.post(good, JSON, suspect="s" * 501), 422, "500 characters")
    problem(place.post(good, JSON, level=0.7), 422, "level")
    problem(place.post(good, JSON, access="top"), 422, "access 'top' is unknown", "top-3")
    problem(place.post(good, JSON, method="both"), 422, "twins", "paper")
    problem(place.post(b"{", JSON), 400, "no JSON that can be read")
    problem(place.post(b"", JSON), 400, "no JSON that can be read")
    problem(place.post(good, RAW), 422, "a multiple of 4")
    problem(place.post(good, ARROW), 400, "no Arrow that can be read")
    problem(place.post(as_parquet(table(GOOD))[:-9], PARQUET), 400, "no Parquet that can be read")
    problem(place.post(as_arrow(table(GOOD), compression="lz4"), ARROW), 422, "compressed buffers")
    problem(
        place.post(good, JSON, suspect=place.kit.reference_ids[0], method="paper"),
        422,
        "one of the kit's references",
    )
    problem(place.post(good, "application/x-python-pickle"), 415, "application/x-python-pickle", JSON, RAW)
    problem(place.post(b" " * 300_000, JSON), 413, "more than", "at most")
    problem(
        place.ask(f"/kits/{place.id}/score?suspect=s", "score", good, **{"Content-Encoding": "gzip"}),
        415,
        "gzip",
        "no Content-Encoding",
    )
    problem(place.post(good, JSON, method="paper"), 422, "rows")


def test_a_bomb_is_refused(place: Place) -> None:
    problem(place.post(bomb(200_000_000)[: 2**20], PARQUET), 400, "no Parquet that can be read")


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


def test_an_audit_of_a_suspect_with_classes_of_its_own(
    place: Place, stranger: Stranger, tmp_path: Path
) -> None:
    url = stranger.url + "/v2/models/m/infer"
    result = ended(place, submitted(place, {"url": url, "batch": 9}, suspect_classes=K + 1).json()["id"])
    assert (
        result["state"] == "failed"
        and f"{K} numbers" in result["error"]
        and f"expected {K + 1}" in result["error"]
    )
    problem(submitted(place, {"url": url}, suspect_classes=1), 422, "suspect_classes")
    with serving(Stranger(Finer(), (*CLASSES, "slipper"))) as finer:
        auditor = Auditor(
            Settings(
                str(place.folder / "store"), data=tmp_path, suspects=(finer.url.removeprefix("http://"),)
            )
        )
        suspect = {"url": finer.url + "/v2/models/m/infer"}
        id_ = auditor.submit("me", {"kit": place.id, "suspect": suspect, "suspect_classes": K + 1})["id"]
        while (result := auditor.get(id_) or {})["state"] in OPEN:
            time.sleep(0.02)
        auditor.close()
    assert result["state"] == "done" and result["result"]["decision"] == "stolen", result


def test_evidence_says_how_a_suspect_was_asked(
    place: Place,
    stranger: Stranger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store(str(place.folder / "store"))
    url = stranger.url + "/v2/models/m/infer"
    kept = ended(place, submitted(place, {"url": url, "scale": 1.0000005}).json()["id"])["result"]["evidence"]
    rows = ["metadata: input 'pixels' FP32 [-1, 1, 4, 4]", "pixels go as FP32, times 1, plus 0, layout nchw"]
    assert store.load("evidence", kept).meta["contract"] == {"said": {}, "seen": rows}
    for _ in range(2):  # the second asks nobody anything
        assert (
            main(
                [
                    "score",
                    "--store",
                    str(place.folder / "store"),
                    "--kit",
                    place.id,
                    "--suspect",
                    url,
                    "--json",
                ]
            )
            == 0
        )
        found = store.load("evidence", json.loads(capsys.readouterr().out)["evidence"]).meta
        assert found["contract"] == {"said": {}, "seen": rows}
    (tmp_path / "theirs.toml").write_text(f'url = "{stranger.url}/v1/models/m:predict"')
    assert (
        main(
            [
                "score",
                "--store",
                str(place.folder / "store"),
                "--kit",
                place.id,
                "--suspect",
                "theirs.toml",
                "--json",
            ]
        )
        == 0
    )
    assert "contract" not in store.load("evidence", json.loads(capsys.readouterr().out)["evidence"]).meta


@pytest.fixture
def odd(stranger: Stranger) -> Iterator[Stranger]:
    """The stranger, as it was again afterwards."""
    model = stranger.model
    yield stranger
    stranger.model, stranger.order = model, ()


def test_an_audit_of_a_suspect_in_another_order_says_what_score_says(
    place: Place,
    odd: Stranger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    odd.order, before = (3, 2, 1, 0), odd.computed
    url = odd.url + "/v2/models/m/infer"
    data = ended(place, submitted(place, {"url": url, "scale": 1.0000002}).json()["id"])["result"]
    assert (
        main(["score", "--store", str(place.folder / "store"), "--kit", place.id, "--suspect", url, "--json"])
        == 0
    )
    said = json.loads(capsys.readouterr().out)
    assert data["decision"] == said["decision"] == "cannot tell" and data["evidence"] is None
    assert (data["reason"], data["hint"]) == (said["reason"], said["hint"]) and data["hint"].endswith(
        "columns = [3, 2, 1, 0]"
    )
    checks = place.kit.twin_test.control_questions
    assert data["charged"] == data["queries"] == checks and odd.computed == before + 2 * checks
    asked = submitted(place, {"url": url, "scale": 1.0000002}, ask_everything=True).json()["id"]
    data = ended(place, asked)["result"]
    assert (
        data["decision"] != "stolen"
        and data["hint"] == said["hint"]
        and data["queries"] == place.kit.twin_test.budget
    )
    mended = {"url": url, "scale": 1.0000002, "columns": [3, 2, 1, 0]}
    assert ended(place, submitted(place, mended).json()["id"])["result"]["decision"] == "stolen"


def test_an_audit_of_a_suspect_that_knows_nothing_ends_early(place: Place, odd: Stranger) -> None:
    odd.model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, K))
    torch.nn.init.zeros_(odd.model[1].weight)
    reply = ended(
        place, submitted(place, {"url": odd.url + "/v2/models/m/infer", "scale": 1.0000003}).json()["id"]
    )
    result, checks = reply["result"], place.kit.twin_test.control_questions
    assert reply["state"] == "done" and result["decision"] == "cannot tell" and result["charged"] == checks
    assert (
        "control images, no better than by chance" in result["reason"]
        and "ask_everything" in result["reason"]
    )
    assert (result["p_value"], result["statistics"], result["standing"], result["evidence"]) == (
        None,
        [],
        "",
        None,
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


@pytest.mark.parametrize(
    "suspect",
    [
        {"headers": 5},
        {"headers": [1]},
        {"headers": {"X": 5}},
        {"columns": [1, "a", 2, 3]},
        {"classes": [["a"], "b", "c", "d"]},
        {"url": "http://[::1/infer"},
        {"url": "http://127.0.0.1:9/\ud800/infer"},
        {"patience_s": 5000.0},
        {"rate": 1e-6},
    ],
)
def test_settings_of_another_kind_are_refused_and_not_entered(suspect: dict[str, Any], place: Place) -> None:
    before = place.ask("/audits", "audit").json()
    refused = submitted(place, {"url": "http://127.0.0.1:9/v2/models/m/infer"} | suspect)
    problem(refused, 400 if "JSON" in refused.text else 422)
    assert place.ask("/audits", "audit").json() == before


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


SCALED = {"percentages": 100.0, "bytes": 255.0}


@pytest.mark.parametrize("name", SCALED)
def test_percentages_are_not_taken_for_logits(name: str, place: Place, tmp_path: Path) -> None:
    """Read as logits they become labels with a little noise, and innocent models are called
    stolen ten times as often."""
    rows = (TorchBlackBox(INNOCENT, K).ask(place.kit.twin_test.questions()) * SCALED[name]).round()
    with pytest.raises(AnswersError, match="rows that all sum to about"):
        to_probabilities(rows, len(rows), K, "s", "guess")
    problem(place.score(rows), 422, "do not sum to 1")


def test_answers_that_tell_less_after_the_checks_are_read_as_what_they_tell(place: Place) -> None:
    test = place.kit.twin_test
    whole = TorchBlackBox(INNOCENT, K).ask(test.questions())
    mixed = torch.cat([whole[: test.control_questions], top_k(whole[test.control_questions :], 0)])
    assert place.score(mixed).json()["twins"]["access"] == "label"
    problem(place.score(mixed, access="probabilities"), 422, "what looks like label")
    assert place.score(whole, access="top-1000000").json()["twins"]["access"] == "probabilities"


def test_what_the_service_does_is_counted(place: Place, stranger: Stranger, notebook: Notebook) -> None:
    assert place.score(TorchBlackBox(COPY, K).ask(place.kit.twin_test.questions())).status_code == 200
    assert place.post(b"", RAW).status_code == 422
    assert notebook.times[counted(SCORES, method="twins", decision="stolen")] == 1, (
        "what is refused is not a verdict"
    )
    assert notebook.times[counted(SCORE_SECONDS, method="twins")] == 1
    answers = ask(TorchBlackBox(COPY, K), place.kit.questions()).flatten(0, 2)
    decision = place.score(answers, method="paper").json()["paper"]["decision"]
    assert notebook.times[counted(SCORES, method="paper", decision=decision)] == 1
    ended(place, submitted(place, {"url": stranger.url + "/v2/models/m/infer"}).json()["id"])
    deadline = time.monotonic() + 10
    while not notebook.times[counted(SERVICE_AUDITS, state="done")] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert notebook.times[counted(SERVICE_AUDITS, state="done")] == 1
