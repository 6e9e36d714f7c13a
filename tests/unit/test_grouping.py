"""Answers over many classes in groups: what is kept, what is compared, and that few classes
are left alone."""

import math
from collections.abc import Iterable
from dataclasses import replace

import pytest
import torch

from tests.support.makers import Affine
from zooaudit.data.images import to_unit
from zooaudit.reporting.explained import explained
from zooaudit.suspects.access import Access
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.verdict.class_order import POORER, other_order
from zooaudit.verdict.control import control
from zooaudit.verdict.decision import Decision
from zooaudit.verdict.examined import NATURAL, Candidate, Examined, Reference
from zooaudit.verdict.grouping import MOST, grouped, groups, kept, named_groups, rounded
from zooaudit.verdict.predicted import predicted
from zooaudit.verdict.statistic import features
from zooaudit.verdict.stored import described, read, tensors_of
from zooaudit.verdict.twin_test import TwinTest


@pytest.mark.parametrize("classes", [2, 10, MOST])
def test_few_classes_stay_as_they_are(classes: int) -> None:
    answers = torch.rand(3, 5, classes)
    assert grouped(answers) is answers and kept(answers) is answers
    assert groups(classes).tolist() == list(range(classes))


@pytest.mark.parametrize("classes", [MOST + 1, 200, 1000, 1001])
def test_groups_share_many_classes_evenly_and_keep_all_probability(classes: int) -> None:
    sizes = groups(classes).bincount(minlength=MOST)
    assert len(sizes) == MOST and sizes.min() >= classes // MOST and sizes.max() <= math.ceil(classes / MOST)
    answers = torch.randn(4, 6, classes).softmax(-1)
    found = grouped(answers)
    assert found.shape == (4, 6, MOST)
    for group in (0, 17, MOST - 1):
        assert torch.allclose(found[..., group], answers[..., groups(classes) == group].sum(-1))
    assert torch.allclose(found.sum(-1), torch.ones(4, 6), atol=1e-5)


def test_what_is_kept_fits_half_precision() -> None:
    found = kept(torch.randn(8, 1000).softmax(-1))
    assert found.dtype is torch.float32 and torch.equal(found.half().float(), found)


def test_features_of_a_suspect_are_those_of_its_groups() -> None:
    answers = torch.randn(6, 300).softmax(-1)
    assert features(answers, Access()).shape == (6 * MOST,)
    assert features(answers, Access()) == pytest.approx(features(grouped(answers), Access()))
    assert (features(answers, Access("top", 3)) > 0).sum() <= 3 * 6


def test_groups_have_names() -> None:
    names = [f"class {i}" for i in range(300)]
    found = named_groups(names)
    first = names[int((groups(300) == 5).nonzero()[0])]
    assert len(found) == MOST and found[5] == f"{first} or {int((groups(300) == 5).sum()) - 1} others"
    assert named_groups(["a", "b"]) == ("a", "b")


CLASSES, CHECKS, QUESTIONS = 200, 20, 120


def many(seed: int, own: float = 0.6) -> Affine:
    """A model of one task of many classes, with something of its own."""
    model, quirk = Affine(classes=CLASSES, seed=999), Affine(classes=CLASSES, seed=seed)
    with torch.no_grad():
        for weights, extra in zip(model.parameters(), quirk.parameters(), strict=True):
            weights.add_(own * extra)
    return model


@pytest.fixture(scope="module")
def test_() -> TwinTest:
    images = torch.randint(
        0, 256, (QUESTIONS, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(5)
    )
    labels = many(999, 0.0)(to_unit(images)).argmax(1)

    def asked(seeds: Iterable[int], own: float) -> torch.Tensor:
        return torch.stack([TorchBlackBox(many(s, own), CLASSES).ask(to_unit(images)) for s in seeds])

    own, others = kept(asked(range(20), 0.6)), kept(asked(range(1000, 1012), 0.8))
    foretold = rounded(predicted(own, others, torch.arange(QUESTIONS)), CLASSES)
    accuracy = (own.argmax(-1) == groups(CLASSES)[labels]).double().mean(-1).tolist()
    return TwinTest(
        images,
        labels,
        (NATURAL,) * QUESTIONS,
        CHECKS,
        (60, 120),
        0.05,
        tuple(Candidate(f"c{i}", a) for i, a in enumerate(accuracy)),
        own,
        tuple(Reference(f"r{i}", "trained") for i in range(12)),
        others,
        "peers",
        predicted=foretold,
        lessons=others,
        classes=CLASSES,
    )


def suspected(test: TwinTest, model: Affine, columns: int = CLASSES) -> Examined:
    with torch.no_grad():
        return test.judge(model(test.questions())[:, :columns].softmax(-1))


def test_a_copy_is_found_among_many_classes_and_innocents_are_not(test_: TwinTest) -> None:
    copy, noise = many(0), torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weights in copy.parameters():
            weights.add_(0.15 * torch.randn(weights.shape, generator=noise))
    assert suspected(test_, copy).verdict.decision is Decision.STOLEN
    assert (
        sum(suspected(test_, many(seed)).verdict.decision is Decision.STOLEN for seed in range(2000, 2020))
        <= 3
    )
    # Other classes: compared by geometry.
    assert suspected(test_, many(2000), columns=150).verdict.rank is not None


def test_a_kit_of_many_classes_judges_alike_after_it_was_kept(test_: TwinTest) -> None:
    tensors, meta = tensors_of(test_), described(test_)
    assert tensors["test.candidates"].dtype is torch.float16 and tensors["test.images"].dtype is torch.uint8
    again = read(tensors, meta)
    assert again.num_classes == CLASSES and torch.equal(again.answers, test_.answers)
    for seed in (0, 2000):
        assert suspected(again, many(seed)).verdict == suspected(test_, many(seed)).verdict


def test_no_order_of_classes_is_believed_that_fits_by_chance(test_: TwinTest) -> None:
    """Of 200 classes and 20 checks, nearly any answers can be put in order."""
    answers = torch.rand(QUESTIONS, CLASSES, generator=torch.Generator().manual_seed(1))
    assert other_order(test_, answers / answers.sum(1, keepdim=True)) == ()


def test_controls_are_right_where_the_group_is(test_: TwinTest) -> None:
    """Candidates and references are known by groups; a suspect by its classes."""
    right = torch.nn.functional.one_hot(groups(CLASSES)[test_.labels], MOST).float()
    able = replace(
        test_,
        answers=right.expand_as(test_.answers),
        reference_answers=right.expand_as(test_.reference_answers),
    )
    result = torch.nn.functional.one_hot(test_.labels, CLASSES).float()
    found = control(able, result)
    assert (found.right, found.asked, found.usual) == (CHECKS, CHECKS, 1 - POORER) and not found.poor
    assert control(able, result.roll(1, 1)).poor


def test_an_explanation_names_groups(test_: TwinTest) -> None:
    found = suspected(test_, many(0))
    result = explained(test_, found.answers, found.access, found.verdict, [f"k{i}" for i in range(CLASSES)])
    assert result.questions and all(
        " others" in said.label or said.label.startswith("k") for q in result.questions for said in q.suspect
    )
    assert all(
        0 < said.probability <= 1.001 for q in result.questions for said in (*q.victim, *q.suspect, *q.twins)
    )
