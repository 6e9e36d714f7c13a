"""Stopping early must not cost validity: 10,000 null runs with views that depend on each other, where the naive product fails."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zooaudit.verdict.sequential import Looks, e_process, stopping_look

LOOKS = np.array([5, 10, 20, 40])
REFERENCES, BUDGET, RUNS = 120, 40, 10_000


def innocents(count: int, generator: np.random.Generator) -> np.ndarray:
    """What each query adds, ``[count, BUDGET]``: every model leans one way on all of its queries."""
    return generator.normal(size=(count, 1)) * 0.5 + generator.normal(size=(count, BUDGET))


@pytest.fixture(scope="module")
def looks() -> Looks:
    return Looks.of(innocents(40, np.random.default_rng(1)), LOOKS)


def test_ten_thousand_innocents_are_accused_no_oftener_than_the_level(looks: Looks) -> None:
    generator = np.random.default_rng(2)
    stopped = {0.01: 0, 0.05: 0}
    for _ in range(RUNS):
        parts = looks.standardised(innocents(REFERENCES + 1, generator))
        evidence = e_process(parts[0], parts[1:])
        for level in stopped:
            stopped[level] += stopping_look(evidence, level) is not None
    assert stopped[0.01] <= 0.01 * RUNS and stopped[0.05] <= 0.05 * RUNS
    assert stopped[0.01] > 0, "a test that cannot accuse proves nothing"


def test_the_product_over_queries_accuses_innocents() -> None:
    """Why it is not done: likelihood ratios of independent queries, multiplied, against models whose queries lean together."""
    parts = innocents(2000, np.random.default_rng(3))
    product = np.exp(np.cumsum(0.5 * parts - 0.5**2 * (1 + 0.5**2) / 2, axis=1))
    assert (product.max(1) >= 100).mean() > 0.05


def test_copies_are_found_early(looks: Looks) -> None:
    generator = np.random.default_rng(4)
    references = looks.standardised(innocents(REFERENCES, generator))
    found = [stopping_look(e_process(looks.standardised(innocents(1, generator)[0] + 4), references), 0.01) for _ in range(100)]
    assert sum(f is not None for f in found) >= 95 and np.median([LOOKS[f] for f in found if f is not None]) < BUDGET


@given(st.integers(0, 10_000), st.integers(0, 8))
def test_evidence_only_grows_stays_under_its_limit_and_is_one_on_average(seed: int, references: int) -> None:
    """Exactly: over which of the exchangeable models is the suspect, the mean of E is 1."""
    scores = np.random.default_rng(seed).normal(scale=3, size=(references + 1, 4))
    all_e = [e_process(scores[i], np.delete(scores, i, 0)) for i in range(len(scores))]
    assert np.mean([e[-1] for e in all_e]) == pytest.approx(1)
    for i, e in enumerate(all_e):
        assert (np.diff(e) >= 0).all() and e[0] >= 0 and e[-1] <= references + 1
        early = e_process(scores[i, :2], np.delete(scores, i, 0))
        np.testing.assert_allclose(early, e[:2])


def test_by_hand_against_the_plain_formula() -> None:
    suspect, references = np.array([0.1, 0.3, 0.2]), np.array([[0.2, 0.1, 0.0], [0.0, 0.1, 0.4]])
    peaks = np.exp(8 * np.array([0.2, 0.4])).sum()
    expected = [3 * np.exp(8 * s) / (np.exp(8 * s) + peaks) for s in (0.1, 0.3, 0.3)]
    np.testing.assert_allclose(e_process(suspect, references), expected)


def test_looks_are_of_running_sums() -> None:
    looks = Looks.of(np.array([[1.0, 1, 1], [3, 1, 1]]), np.array([1, 3]))
    np.testing.assert_allclose(looks.mean, [2, 4])
    np.testing.assert_allclose(looks.standardised(np.array([2.0, 2, 2])), [0, 2 / 2**0.5])


def test_stopping() -> None:
    assert stopping_look(np.array([1.0, 19.9, 20, 25]), 0.05) == 2
    assert stopping_look(np.array([1.0, 19.9]), 0.05) is None
