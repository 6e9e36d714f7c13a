"""The service without Ray, in this process: every route, every refusal, audits of suspects behind an API."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
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
    Place,
    as_json,
    ended,
    problem,
    submitted,
)
from tests.support.strangers import Stranger
from zooaudit.errors import AnswersError
from zooaudit.kits.kit import answers_digest
from zooaudit.paper.fingerprint import ask
from zooaudit.scoring.answers import Job, score_all
from zooaudit.serving.bodies import ACCEPTED, ARROW, JSON, PARQUET, RAW
from zooaudit.suspects.access import top_k
from zooaudit.suspects.blackbox import TorchBlackBox, to_probabilities
from zooaudit.telemetry.metrics import SCORE_SECONDS, SCORES, SERVICE_AUDITS
from zooaudit.verdict.wording import facts as in_words
from zooaudit.verdict.wording import plain


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
    problem(place.post(b"{", JSON), 400, "cannot be read as JSON")
    problem(place.post(b"", JSON), 400, "cannot be read as JSON")
    problem(place.post(good, RAW), 422, "a multiple of 4")
    problem(place.post(good, ARROW), 400, "cannot be read as Arrow")
    problem(place.post(as_parquet(table(GOOD))[:-9], PARQUET), 400, "cannot be read as Parquet")
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
    problem(place.post(bomb(200_000_000)[: 2**20], PARQUET), 400, "cannot be read as Parquet")


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
