"""The statistic of the twin test, by hand and by its symmetry."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.support.makers import CHECKS, LOOKS, QUESTIONS, Affine, make_twin_test, near, peer
from tests.support.twin_tests import answers_of
from zooaudit.suspects.access import LADDER, Access
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.verdict.decision import Decision
from zooaudit.verdict.examined import FOREIGN, NATURAL
from zooaudit.verdict.statistic import Comparison, features, standardised
from zooaudit.verdict.twin_test import TwinTest


def test_the_statistic_by_hand() -> None:
    """Without references a cosine after the candidates' mean; with them, in the metric of
    their inverse second moments."""
    generator = np.random.default_rng(2)
    candidates, references, suspect = (
        generator.normal(size=(4, 6)),
        generator.normal(size=(3, 6)),
        generator.normal(size=6),
    )
    mean = candidates.mean(0)
    own, rest, others = candidates - mean, suspect - mean, references - mean
    plain = [float(c @ rest / np.linalg.norm(c) / np.linalg.norm(rest)) for c in own]
    np.testing.assert_allclose(Comparison(candidates, references[:0], 0, ()).of(suspect), plain)
    scale = 1 / np.sqrt((others**2).mean(0) + 0.3 * (others**2).mean())
    own, rest, others = own * scale, rest * scale, others * scale
    level = 0.1 * np.trace(others @ others.T) / 3
    metric = np.linalg.inv(np.eye(6) + others.T @ others / level)
    expected = [float(c @ metric @ rest / np.sqrt((c @ metric @ c) * (rest @ metric @ rest))) for c in own]
    np.testing.assert_allclose(Comparison(candidates, references, 3, tuple("abc")).of(suspect), expected)
    foretold = generator.normal(size=(4, 6))
    learnt = (foretold - foretold.mean(0)) * scale
    both = [c / np.linalg.norm(c) + d / np.linalg.norm(d) for c, d in zip(own, learnt, strict=True)]
    expected = [float(c @ metric @ rest / np.sqrt((c @ metric @ c) * (rest @ metric @ rest))) for c in both]
    np.testing.assert_allclose(
        Comparison(candidates, references, 3, tuple("abc"), foretold).of(suspect), expected
    )


def test_a_left_out_reference_takes_all_of_its_rows_along() -> None:
    generator = np.random.default_rng(3)
    candidates, rows, groups = (
        generator.normal(size=(5, 8)),
        generator.normal(size=(7, 8)),
        ("a", "b", "b", "a", "b", "b", ""),
    )
    found = Comparison(candidates, rows, 3, groups).left_out()
    scale = Comparison(candidates, rows, 3, groups).scale
    for r in range(3):
        kept = np.array(groups) != groups[r]
        own, rest, others = ((x - candidates.mean(0)) * scale for x in (candidates, rows[r], rows[kept]))
        level = 0.1 * np.trace(others @ others.T) / len(others)
        metric = np.linalg.inv(np.eye(8) + others.T @ others / level)
        np.testing.assert_allclose(
            found[r], [c @ metric @ rest / np.sqrt((c @ metric @ c) * (rest @ metric @ rest)) for c in own]
        )


def swapped(test: TwinTest, i: int) -> TwinTest:
    """Victim and twin i exchanged."""
    rows = list(range(len(test.candidates)))
    rows[0], rows[i] = i, 0
    assert test.behind is not None
    assert test.predicted is not None
    changed = {
        "answers": test.answers[rows],
        "behind": test.behind[:, rows],
        "predicted": test.predicted[rows],
    }
    return replace(test, candidates=tuple(test.candidates[r] for r in rows), **changed)


@settings(max_examples=25)
@given(
    st.sampled_from([*LADDER, Access("top", 2)]),
    st.integers(1, 7),
    st.sampled_from([3, 4, 6]),
    st.booleans(),
    st.integers(2000, 2100),
)
def test_swapping_victim_and_twin_swaps_their_statistics_and_no_other(
    access: Access, i: int, columns: int, mixed: bool, seed: int
) -> None:
    test = make_twin_test(twins=7, references=5)
    if mixed:
        families = tuple(FOREIGN if q >= CHECKS and q % 2 else NATURAL for q in range(QUESTIONS))
        test = replace(test, families=families)
    generator = torch.Generator().manual_seed(seed)
    suspect = torch.randn(QUESTIONS, columns, generator=generator).mul(2).softmax(1)
    for queries in LOOKS:
        before, after = (
            t.statistics(access.reduced(suspect), access, queries) for t in (test, swapped(test, i))
        )
        expected = before.copy()
        expected[[0, i]] = before[[i, 0]]
        np.testing.assert_allclose(after, expected, atol=1e-6)
        assert before.std() > 0.5, "a statistic that tells nothing proves nothing"


def test_the_victims_rank_is_uniform_over_innocents() -> None:
    """Each candidate in turn as the victim: over all, each place comes about alike."""
    test = make_twin_test(twins=9)
    first = np.zeros(10)
    for seed in range(2000, 2060):
        first[int(test.statistics(answers_of(test, peer(seed, 0.9)), Access(), test.budget).argmax())] += 1
    assert first.max() <= 20, first


def test_features_of_other_classes_need_no_common_columns() -> None:
    answers = torch.randn(30, 5, generator=torch.Generator().manual_seed(0)).softmax(1)
    assert np.allclose(
        features(answers, Access(), False), features(answers[:, [3, 1, 4, 0, 2]], Access(), False)
    )
    assert not np.allclose(features(answers, Access()), features(answers[:, [3, 1, 4, 0, 2]], Access()))


class Finer(torch.nn.Module):
    """A model with a class more: the last one split in two."""

    def __init__(self, model: Affine) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        p = self.model(x).softmax(1)
        return torch.cat([p[:, :3], p[:, 3:] * 0.6, p[:, 3:] * 0.4], 1)


def test_a_suspect_with_other_classes_is_compared_by_geometry(peers_test: TwinTest) -> None:
    assert (
        peers_test.judge(
            TorchBlackBox(Finer(near(0, 1, 0.05)), 5).ask(peers_test.questions())
        ).verdict.decision
        is Decision.STOLEN
    )
    assert (
        peers_test.judge(TorchBlackBox(Finer(peer(2003)), 5).ask(peers_test.questions())).verdict.decision
        is Decision.NOT_SHOWN
    )


def test_what_questions_weigh_adds_up_to_the_lead(peers_test: TwinTest) -> None:
    weighed = peers_test.weights(answers_of(peers_test, near(0, 3)), Access(), peers_test.budget)
    assert weighed.shape == (QUESTIONS,) and np.abs(weighed).sum() == pytest.approx(1) and weighed.sum() > 0.9
    np.testing.assert_allclose(
        standardised(np.array([[1.0, 2, 3], [5, 5, 5]])), [[-(1.5**0.5), 0, 1.5**0.5], [0, 0, 0]]
    )
