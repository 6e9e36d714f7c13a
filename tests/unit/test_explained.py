"""Why a suspect got its decision: worked examples, of which it is known which question
matters; and the page that shows it."""

import base64
import io
import json
import re
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.support.makers import LOOKS, QUESTIONS, make_twin_test, near, peer
from tests.support.reports import HOSTILE, Page, no_constant, words
from zooaudit import __version__
from zooaudit.data.images import to_unit
from zooaudit.reporting.explained import Explanation, explained, plain
from zooaudit.reporting.explained_page import DIGEST_OF_CSV, When, answered, render
from zooaudit.suspects.access import Access
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.verdict import wording
from zooaudit.verdict.decision import Decision
from zooaudit.verdict.several import corrected
from zooaudit.verdict.twin_test import TwinTest

CLASSES = ("cat", "dog", "elk", "fox")
TOLD = {"suspect": "theirs.onnx", "evidence": "9c01", "kit": "ab12", "victim": "mine"}


def asked(test: TwinTest, model: torch.nn.Module) -> Tensor:
    return TorchBlackBox(model, 4).ask(test.questions())


def why(test: TwinTest, answers: Tensor, access: Access | None = None, questions: int = 10) -> Explanation:
    found = test.judge(answers, access=access)
    return explained(test, answers, found.access, found.verdict, CLASSES, questions)


def nobody_but(test: TwinTest, rows: list[int]) -> Tensor:
    """Answers that have nothing of any candidate, what they have in common, but for these questions, where
    they are the victim's."""
    answers = test.answers.sqrt().mean(0).square()
    answers[rows] = test.answers[0, rows]
    return answers


@pytest.mark.parametrize("row", [3, 57, 119])
def test_the_one_question_with_the_victims_answer_has_all_the_weight(row: int) -> None:
    test = make_twin_test(references=0)
    found = why(test, nobody_but(test, [row]), Access())
    first, *others = found.questions
    assert (first.index, first.family, first.true_class) == (row, "natural", CLASSES[int(test.labels[row])])
    assert first.share == pytest.approx(1, abs=1e-3)
    assert max(abs(q.share) for q in others) < 1e-3
    assert found.leads
    for said, row_answers in ((first.victim, test.answers[0, row]), (first.suspect, test.answers[0, row])):
        best = int(row_answers.argmax())
        assert (said[0].label, said[0].probability) == (
            CLASSES[best],
            pytest.approx(float(row_answers[best])),
        )
    mean = test.answers[1:, row].mean(0)
    assert first.twins[0].probability == pytest.approx(float(mean.max())) and len(first.twins) == 2


def test_of_several_the_one_where_the_victim_is_farthest_from_its_twins_comes_first() -> None:
    test = make_twin_test(references=0)
    apart = (test.answers.sqrt()[0] - test.answers.sqrt().mean(0)).square().sum(-1)
    rows = apart.argsort(descending=True)[[0, 20, 60]].tolist()
    found = why(test, nobody_but(test, rows), Access(), questions=3)
    assert [q.index for q in found.questions] == rows
    assert (
        sum(q.share for q in found.questions) == pytest.approx(1, abs=1e-3)
        and min(q.share for q in found.questions) > 0
    )


def test_candidates_are_those_that_were_ranked_in_order() -> None:
    test = make_twin_test()
    found = why(test, asked(test, near(0, 1)))
    assert found.verdict.decision is Decision.STOLEN
    assert [c.statistic for c in found.candidates] == sorted(found.verdict.statistics, reverse=True)
    assert [c.id for c in found.candidates if c.victim] == ["victim"] == [found.candidates[0].id]
    assert {c.id: c.statistic for c in found.candidates} == dict(
        zip([c.id for c in test.candidates], found.verdict.statistics, strict=True)
    )
    assert found.decided_by == (
        "zooaudit.verdict.statistic:Comparison.of",
        "zooaudit.verdict.ranking:ranked",
        "zooaudit.verdict.decision:decide",
    )


@pytest.mark.parametrize("count", LOOKS)
def test_looks_are_those_that_were_taken(count: int) -> None:
    test = make_twin_test()
    answers = asked(test, peer(2003))[:count]
    found = why(test, answers)
    assert [look.queries for look in found.looks] == [n for n in LOOKS if n <= count]
    last = test.statistics(answers, Access(), count)
    assert found.looks[-1].victim == last[0]
    assert found.looks[-1].best == last[1:].max()
    assert found.looks[-1].best_twin == test.candidates[1 + int(last[1:].argmax())].id
    assert max(q.index for q in found.questions) < count
    assert any(f"the other {QUESTIONS - count} questions" in line for line in found.abstained) == (
        count < QUESTIONS
    )


def test_an_innocent_suspects_questions_are_not_called_a_lead() -> None:
    test = make_twin_test()
    behind = next(
        f
        for f in (why(test, asked(test, peer(s)), questions=QUESTIONS) for s in range(2000, 2020))
        if f.looks[-1].victim < 0
    )
    assert not behind.leads
    shares = [q.share for q in behind.questions]
    assert sum(shares) < 0 < max(shares) and sum(map(abs, shares)) == pytest.approx(1)
    assert sorted(shares, key=abs, reverse=True) == shares, (
        "what speaks against the victim is as much worth saying"
    )
    assert any(line.startswith("innocence:") for line in behind.abstained)


def test_what_could_not_be_judged_is_explained_by_its_reason_alone() -> None:
    test = make_twin_test(twins=0)
    found = why(test, asked(test, near(0, 1)))
    assert found.verdict.decision is Decision.CANNOT_TELL
    assert (found.candidates, found.looks, found.questions) == ((), (), ())
    assert found.decided_by == ("zooaudit.verdict.decision:cannot_tell",)
    assert found.abstained == (f"any decision: {found.verdict.reason}",)
    page = words(Page(render(test, found, TOLD)).text)
    assert (
        "theirs.onnx: cannot tell" in page
        and found.verdict.reason in page
        and "<img" not in render(test, found, TOLD)
    )


def test_no_question_weighs_by_itself_where_classes_differ() -> None:
    test = make_twin_test()
    answers = asked(test, peer(2000))
    found = why(test, torch.cat([answers * 0.9, torch.full((len(answers), 1), 0.1)], 1))
    assert found.candidates and not found.questions
    assert any("the suspect has 5 classes, the victim 4" in line for line in found.abstained)


def test_of_a_suspect_that_tells_labels_only_labels_are_shown() -> None:
    test = make_twin_test()
    found = why(test, Access("label").reduced(asked(test, near(0, 2))))
    assert found.verdict.access == "label"
    question = found.questions[0]
    assert [s.probability for s in question.suspect] == [1.0]
    assert question.victim[0].probability == pytest.approx(float(test.answers[0, question.index].max()))
    assert len(question.victim) == 2 and question.victim[0].probability < 1


def test_a_suspect_among_several_was_decided_by_the_correction_too() -> None:
    test = make_twin_test()
    found = test.judge(asked(test, near(0, 1)))
    verdict = corrected([found.verdict, found.verdict])[0]
    explanation = explained(test, found.answers, found.access, verdict, CLASSES, together=2)
    assert verdict.decision is Decision.CANNOT_TELL
    assert explanation.decided_by[-1] == "zooaudit.verdict.several:corrected"
    assert explanation.abstained[0] == f"the decision: {verdict.reason}"


def test_the_normal_claim_is_named_where_the_rank_ends() -> None:
    test = make_twin_test()
    found = why(test, asked(test, near(0, 1)))
    assert found.verdict.normal is not None
    assert any(
        "a p-value under 0.05, the least that a rank among 20 gives" in line for line in found.abstained
    )


def test_json_is_strict_and_has_all_of_it() -> None:
    test = make_twin_test()
    found = why(test, asked(test, near(0, 1)))
    data = json.loads(json.dumps(plain(found), allow_nan=False), parse_constant=no_constant)
    assert data["verdict"]["decision"] == "stolen"
    assert len(data["candidates"]) == 20 and len(data["questions"]) == 10
    assert set(data) == {"verdict", "candidates", "looks", "leads", "questions", "decided_by", "abstained"}


# The page


def test_the_page_has_the_images_of_the_questions_and_asks_the_network_for_nothing() -> None:
    test = make_twin_test()
    found = why(test, asked(test, near(0, 1)), questions=4)
    html = render(test, found, TOLD)
    page = Page(html)
    shown = [a["src"] or "" for a in page.all("img")]
    for uri, question in zip(shown, found.questions, strict=True):
        pixels = np.asarray(
            Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,"))))
        )
        assert np.array_equal(pixels, test.images[question.index, 0].numpy())
        assert np.array_equal(pixels, (to_unit(test.images[question.index, 0]) * 255).round().byte().numpy())
    assert not re.search(r"https?:|url\(|@import|<script", html)
    assert all(a.get("alt") for a in page.all("img"))
    assert all((a["href"] or "")[1:] in {b["id"] for _, b in page.tags if "id" in b} for a in page.all("a"))
    (strip,) = [a for a in page.all("svg") if a.get("role") == "img"]
    assert "stolen, rank 1 of 20" in (strip["aria-label"] or "")
    assert len(page.all("circle")) == 19 + 1  # of the legend


def page_of(
    told: dict[str, str | None],
    when: When = (),
    model: torch.nn.Module | None = None,
    level: float | None = None,
) -> str:
    test = make_twin_test()
    found = test.judge(asked(test, model or near(0, 1)), level)
    return words(
        Page(
            render(test, explained(test, found.answers, found.access, found.verdict, CLASSES), told, when)
        ).text
    )


def test_the_page_identifies_the_verdict_and_says_how_to_check_it() -> None:
    """It is sent to somebody who has nothing else."""
    result = TOLD | {"kit_sha256": "a" * 64, "answers_sha256": "b" * 64}
    text = page_of(
        result, [("Verdict given", datetime(2026, 1, 2, 5, 4, 6, tzinfo=timezone(timedelta(hours=2))))]
    )
    assert (
        text.startswith(" theirs.onnx: stolen (level .05)") or "theirs.onnx: stolen (level .05)" in text[:60]
    )
    assert "Verdict given2026-01-02 03:04:06 UTC" in text
    assert re.search(r"This page was made20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC", text)
    assert "Evidence9c01" in text and f"Kit, SHA-256{'a' * 64}" in text
    assert f"Answers, SHA-256{'b' * 64} of the answers as little-endian float32, row by row" in text
    assert "It does not say who took it, or how." in text and f"Made by zooaudit {__version__}." in text
    assert "the pack of evidence 9c01." in text and "zooaudit evidence verify PACK.zip" in text
    assert words(DIGEST_OF_CSV) in text and "accuse nobody" not in text


def test_the_page_says_what_the_kits_own_checks_found(monkeypatch: pytest.MonkeyPatch) -> None:
    test = make_twin_test()
    off = [row for row in wording.checked(test.exchangeability, test.hub()) if row["state"] == "caution"]
    made = len(wording.checked(test.exchangeability, test.hub()))
    text = page_of(TOLD)
    assert f"Kit's checks of the victim{made} made, " in text
    assert all(row["text"] in text for row in off) and ("nothing found off" in text) == (not off)
    odd = {"check": "accuracy", "state": "refused", "p_value": 0.0, "text": "accuracy: odd"}
    monkeypatch.setattr(wording, "checked", lambda *_: [odd, {**odd, "state": "ok"}])
    assert "Kit's checks of the victim2 made, refused: accuracy: odd" in page_of(TOLD)
    assert "Kit's checks of the victimnone: it has too few twins" in words(
        Page(render(lone(), why(lone(), asked(lone(), near(0, 1))), TOLD)).text
    )


def lone() -> TwinTest:
    return make_twin_test(twins=0)


def test_a_page_says_what_a_trial_recipe_is_for_and_who_took_it_of_nobody() -> None:
    text = page_of(
        TOLD | {"trial": "Made by the trial recipe digits: accuse nobody by it."}, model=peer(2000)
    )
    assert "Made by the trial recipe digits: accuse nobody by it." in text and "who took it" not in text


def test_times_of_an_apis_answers_are_on_the_page() -> None:
    when = answered({"first": "2026-01-02T03:04:05+00:00", "last": "2026-01-02T03:09:05+00:00"})
    text = page_of(TOLD, when)
    assert "First answer2026-01-02 03:04:05 UTC" in text and "Last answer2026-01-02 03:09:05 UTC" in text
    assert answered({}) == answered({"first": None, "last": None}) == []


def test_of_a_services_score_the_verdict_is_named() -> None:
    text = page_of(TOLD | {"evidence": "", "verdict": "77aa"})
    assert "Verdict, as the service keeps it77aa" in text and "the pack of verdict 77aa." in text


def test_hostile_names_are_text() -> None:
    test = make_twin_test()
    found = test.judge(asked(test, near(0, 1)))
    hostile = explained(test, found.answers, found.access, found.verdict, (HOSTILE,) * 4)
    html = render(test, hostile, dict.fromkeys(TOLD, HOSTILE))
    assert "<script" not in html
    assert HOSTILE in Page(html).text
