"""Why a suspect got its call: worked examples, of which it is known which question matters; and the page that shows it."""

import base64
import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.makers import LOOKS, QUESTIONS, make_twin_test, near, peer
from tests.reports import HOSTILE, Page, no_constant, words
from zooaudit.data.images import to_unit
from zooaudit.reporting.explained import Explanation, explained, plain
from zooaudit.reporting.explained_page import render
from zooaudit.suspects.access import Access
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.verdict.decision import Call
from zooaudit.verdict.many import corrected
from zooaudit.verdict.twin_test import TwinTest

CLASSES = ("cat", "dog", "elk", "fox")
TOLD = {"suspect": "theirs.onnx", "evidence": "9c01", "kit": "ab12", "victim": "mine"}


def asked(test: TwinTest, model: torch.nn.Module) -> Tensor:
    return TorchBlackBox(model, 4).ask(test.questions())


def why(test: TwinTest, answers: Tensor, access: Access | None = None, questions: int = 10) -> Explanation:
    found = test.judge(answers, access=access)
    return explained(test, answers, found.access, found.verdict, CLASSES, questions)


def nobody_but(test: TwinTest, rows: list[int]) -> Tensor:
    """Answers that have nothing of any candidate, what they have in common, but for these questions, where they are the victim's."""
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
        assert (said[0].label, said[0].probability) == (CLASSES[best], pytest.approx(float(row_answers[best])))
    mean = test.answers[1:, row].mean(0)
    assert first.twins[0].probability == pytest.approx(float(mean.max())) and len(first.twins) == 2


def test_of_several_the_one_where_the_victim_is_farthest_from_its_twins_comes_first() -> None:
    test = make_twin_test(references=0)
    apart = (test.answers.sqrt()[0] - test.answers.sqrt().mean(0)).square().sum(-1)
    rows = apart.argsort(descending=True)[[0, 20, 60]].tolist()
    found = why(test, nobody_but(test, rows), Access(), questions=3)
    assert [q.index for q in found.questions] == rows
    assert sum(q.share for q in found.questions) == pytest.approx(1, abs=1e-3)


def test_candidates_are_those_that_were_ranked_in_order() -> None:
    test = make_twin_test()
    found = why(test, asked(test, near(0, 1)))
    assert found.verdict.call is Call.STOLEN
    assert [c.statistic for c in found.candidates] == sorted(found.verdict.statistics, reverse=True)
    assert [c.id for c in found.candidates if c.victim] == ["victim"] == [found.candidates[0].id]
    assert {c.id: c.statistic for c in found.candidates} == dict(
        zip([c.id for c in test.candidates], found.verdict.statistics, strict=True)
    )
    assert found.decided_by == ("zooaudit.verdict.statistic:Comparison.of", "zooaudit.verdict.decision:decide")


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
    assert any(f"the other {QUESTIONS - count} questions" in line for line in found.abstained) == (count < QUESTIONS)


def test_an_innocent_suspects_questions_are_not_called_a_lead() -> None:
    test = make_twin_test()
    behind = next(f for f in (why(test, asked(test, peer(s)), questions=QUESTIONS) for s in range(2000, 2020)) if f.looks[-1].victim < 0)
    assert not behind.leads
    assert sum(q.share for q in behind.questions) == pytest.approx(-1)
    assert any(line.startswith("innocence:") for line in behind.abstained)


def test_what_could_not_be_judged_is_explained_by_its_reason_alone() -> None:
    test = make_twin_test(twins=0)
    found = why(test, asked(test, near(0, 1)))
    assert found.verdict.call is Call.CANNOT_TELL
    assert (found.candidates, found.looks, found.questions) == ((), (), ())
    assert found.decided_by == ("zooaudit.verdict.decision:cannot_tell",)
    assert found.abstained == (f"any call: {found.verdict.reason}",)
    page = words(Page(render(test, found, TOLD)).text)
    assert "theirs.onnx: cannot tell" in page and found.verdict.reason in page and "<img" not in render(test, found, TOLD)


def test_no_question_weighs_by_itself_where_classes_differ() -> None:
    test = make_twin_test()
    answers = asked(test, peer(2000))
    found = why(test, torch.cat([answers * 0.9, torch.full((len(answers), 1), 0.1)], 1))
    assert found.candidates and not found.questions
    assert any("the suspect has 5 classes, the victim 4" in line for line in found.abstained)


def test_of_a_suspect_that_tells_labels_only_labels_are_shown() -> None:
    test = make_twin_test()
    found = why(test, Access("label").told(asked(test, near(0, 2))))
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
    assert verdict.call is Call.CANNOT_TELL
    assert explanation.decided_by[-1] == "zooaudit.verdict.many:corrected"
    assert explanation.abstained[0] == f"the call: {verdict.reason}"


def test_the_normal_claim_is_named_where_the_rank_ends() -> None:
    test = make_twin_test()
    found = why(test, asked(test, near(0, 1)))
    assert found.verdict.normal is not None
    assert any("a p-value under 0.05, the least that a rank among 20 gives" in line for line in found.abstained)


def test_json_is_strict_and_has_all_of_it() -> None:
    test = make_twin_test()
    found = why(test, asked(test, near(0, 1)))
    told = json.loads(json.dumps(plain(found), allow_nan=False), parse_constant=no_constant)
    assert told["verdict"]["call"] == "stolen"
    assert len(told["candidates"]) == 20 and len(told["questions"]) == 10
    assert set(told) == {"verdict", "candidates", "looks", "leads", "questions", "decided_by", "abstained"}


# The page


def test_the_page_has_the_images_of_the_questions_and_asks_the_network_for_nothing() -> None:
    test = make_twin_test()
    found = why(test, asked(test, near(0, 1)), questions=4)
    html = render(test, found, TOLD)
    page = Page(html)
    shown = [a["src"] or "" for a in page.all("img")]
    for uri, question in zip(shown, found.questions, strict=True):
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,")))))
        assert np.array_equal(pixels, test.images[question.index, 0].numpy())
        assert np.array_equal(pixels, (to_unit(test.images[question.index, 0]) * 255).round().byte().numpy())
    assert not re.search(r"https?:|url\(|@import|<script", html)
    assert all(a.get("alt") for a in page.all("img"))
    assert all((a["href"] or "")[1:] in {b["id"] for _, b in page.tags if "id" in b} for a in page.all("a"))
    (strip,) = [a for a in page.all("svg") if a.get("role") == "img"]
    assert "stolen, rank 1 of 20" in (strip["aria-label"] or "")
    assert len(page.all("circle")) == 19 + 1  # of the legend


def test_hostile_names_are_text() -> None:
    test = make_twin_test()
    found = test.judge(asked(test, near(0, 1)))
    hostile = explained(test, found.answers, found.access, found.verdict, (HOSTILE,) * 4)
    html = render(test, hostile, dict.fromkeys(TOLD, HOSTILE))
    assert "<script" not in html
    assert HOSTILE in Page(html).text
