"""The decision and its measures against textbook formulas."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from tests.support.oracles import welch
from zooaudit.config import VerdictConfig
from zooaudit.errors import NotEnoughModelsError
from zooaudit.paper.t_test import PaperDecision, decide, mean_p_value, t_tests
from zooaudit.verdict.distances import auc, roc

SCORES = st.lists(st.floats(0, 1).map(lambda x: round(x, 2)), min_size=1, max_size=15)
SIMILARITIES = st.lists(st.floats(0, 1, width=32), min_size=8, max_size=12)
CONFIG = VerdictConfig(fingerprints=8, repeats=10)


def t_test_p(sample: np.ndarray, reference: np.ndarray) -> float:
    return float(t_tests(sample[None], reference[None])[0])


@given(SCORES, SCORES)
def test_auc_is_sklearns(positives: list[float], negatives: list[float]) -> None:
    found = auc(positives, negatives)
    truth = [1] * len(positives) + [0] * len(negatives)
    assert found == pytest.approx(roc_auc_score(truth, positives + negatives))
    assert found is not None
    assert 0 <= found <= 1


@given(SCORES, SCORES)
def test_auc_of_the_sides_swapped_is_the_rest(positives: list[float], negatives: list[float]) -> None:
    a, b = auc(positives, negatives), auc(negatives, positives)
    assert a is not None
    assert b is not None
    assert a == pytest.approx(1 - b)


@given(SCORES, SCORES)
def test_auc_sees_order_alone(positives: list[float], negatives: list[float]) -> None:
    assert auc(positives, negatives) == auc(
        [math.exp(3 * p) for p in positives], [math.exp(3 * n) for n in negatives]
    )


def test_auc_of_nothing_is_nothing() -> None:
    assert auc([], [0.5]) is None
    assert auc([0.5], []) is None
    assert auc([0.9], [0.1]) == 1
    assert auc([0.5], [0.5]) == 0.5


@given(SCORES, SCORES)
def test_roc_is_sklearns(positives: list[float], negatives: list[float]) -> None:
    false, true = roc(positives, negatives)
    truth = [1] * len(positives) + [0] * len(negatives)
    expected_false, expected_true, _ = roc_curve(truth, positives + negatives, drop_intermediate=False)
    np.testing.assert_allclose(false, expected_false)
    np.testing.assert_allclose(true, expected_true)
    assert np.trapezoid(true, false) == pytest.approx(auc(positives, negatives))


@given(SIMILARITIES, SIMILARITIES)
def test_p_is_welchs_by_hand(sample: list[float], reference: list[float]) -> None:
    assume(np.std(sample) > 1e-3 and np.std(reference) > 1e-3)
    p = t_test_p(np.array(sample), np.array(reference))
    assert p == pytest.approx(welch.p_greater(sample, reference), rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("sample", "reference", "expected"),
    [(0.9, 0.1, 0.0), (0.1, 0.9, 1.0), (0.1, 0.1, 1.0), (0.3, 0.3, 1.0), (1.0, 1.0, 1.0)],
)
def test_samples_without_spread_compare_by_their_means(
    sample: float, reference: float, expected: float, kind: type
) -> None:
    """0.1 and 0.3 are not exact in binary, so that the mean of twenty of them is off by a rounding."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert t_test_p(np.full(20, sample, kind), np.full(20, reference, kind)) == expected


@given(
    SIMILARITIES,
    st.lists(SIMILARITIES.map(lambda row: (row * 2)[:12]), min_size=1, max_size=4),
    st.integers(0, 2**31),
)
@pytest.mark.filterwarnings("ignore:Precision loss")
def test_mean_p_is_a_probability_that_falls_as_the_suspect_rises(
    suspect: list[float], references: list[list[float]], seed: int
) -> None:
    low, others = np.array(suspect), np.array(references)
    p = mean_p_value(low, others, CONFIG, seed)
    assert 0 <= p <= 1
    assert p == mean_p_value(low, others, CONFIG, seed)
    raised = mean_p_value(low + 0.25, others, CONFIG, seed)
    assert raised <= p + 1e-9, "one-sided: more similarity can only speak more for piracy"
    assert mean_p_value(low, others + 0.25, CONFIG, seed) >= p - 1e-9


def test_mean_p_is_the_mean_of_the_repeats() -> None:
    generator = np.random.default_rng(5)
    suspect, references = generator.random(8), generator.random((1, 8))
    # All views are drawn each time, so every repeat is the same test.
    config = VerdictConfig(fingerprints=8, repeats=4)
    assert mean_p_value(suspect, references, config, 0) == pytest.approx(
        welch.p_greater(suspect.tolist(), references[0].tolist())
    )


def test_draws_are_without_replacement() -> None:
    """All but one view say 0: drawn with replacement, 20 of 20 would sometimes miss it, and
    p would vary with the seed."""
    suspect = np.zeros(20)
    suspect[3] = 1
    references = np.random.default_rng(0).random((1, 20))
    assert len({mean_p_value(suspect, references, VerdictConfig(), seed) for seed in range(5)}) <= 3
    values = [mean_p_value(suspect, references, VerdictConfig(), seed) for seed in range(5)]
    assert max(values) - min(values) < 1e-9


def test_thirty_repeats_of_twenty_fingerprints() -> None:
    assert (VerdictConfig().fingerprints, VerdictConfig().repeats, VerdictConfig().level) == (20, 30, 0.05)


def rows(means: list[float], views: int = 12, seed: int = 0) -> np.ndarray:
    spread = np.random.default_rng(seed).normal(0, 0.02, (len(means), views))
    return np.clip(np.array(means)[:, None] + spread, 0, 1)


def test_a_suspect_far_above_the_references_is_piracy() -> None:
    verdict = decide(rows([0.95])[0], rows([0.2, 0.3, 0.25]), CONFIG, 0)
    assert verdict.decision is PaperDecision.PIRACY
    assert verdict.p_value < 1e-6
    assert verdict.similarity == pytest.approx(0.95, abs=0.02)
    assert (verdict.reference_models, verdict.reference_above) == (3, 0)
    assert verdict.reason.startswith("mean p ")
    assert "< 0.05" in verdict.reason
    assert "0 of 3 homologous references as high" in verdict.reason


@pytest.mark.parametrize("mean", [0.1, 0.25])
def test_a_suspect_among_the_references_is_not_accused(mean: float) -> None:
    verdict = decide(rows([mean])[0], rows([0.2, 0.3, 0.25]), CONFIG, 0)
    assert verdict.decision is PaperDecision.INCONCLUSIVE
    assert verdict.p_value > 0.05
    assert verdict.reference_above >= 1
    assert ">= 0.05" in verdict.reason


def test_level_is_the_border() -> None:
    suspect, references = rows([0.3], seed=1)[0], rows([0.2, 0.31, 0.33])
    p = mean_p_value(suspect, references, CONFIG, 0)
    assert 0.01 < p < 0.49
    for level, decision in ((p * 1.01, PaperDecision.PIRACY), (p * 0.99, PaperDecision.INCONCLUSIVE)):
        config = VerdictConfig(fingerprints=8, repeats=10, level=level)
        assert decide(suspect, references, config, 0).decision is decision


def test_references_as_high_as_the_suspect_count_as_above() -> None:
    suspect = np.array([0.25, 0.75] * 6)  # exact in binary, and so are their means
    references = np.array([suspect, suspect + 0.125, suspect - 0.125])
    assert decide(suspect, references, CONFIG, 0).reference_above == 2


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_references_are_no_ground_for_a_verdict(count: int) -> None:
    with pytest.raises(
        NotEnoughModelsError,
        match=rf"needs 3 homologous reference models, {count} learnt; .* raise suspects_per_cell",
    ):
        decide(rows([0.9])[0], rows([0.2] * count).reshape(count, 12), CONFIG, 0)


@given(st.lists(st.tuples(SIMILARITIES, SIMILARITIES), min_size=1, max_size=4))
def test_many_t_tests_are_each_by_itself(pairs: list[tuple[list[float], list[float]]]) -> None:
    samples, references = (np.array([side[:8] for side in sides]) for sides in zip(*pairs, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.array_equal(
            t_tests(samples, references), [t_test_p(*pair) for pair in zip(samples, references, strict=True)]
        )
