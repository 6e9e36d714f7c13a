"""Stopping early must not cost validity: 10,000 null runs with views that depend on each other, where the naive product fails."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zooaudit.verdict.conformal import p_value
from zooaudit.verdict.sequential import Looks, e_process, first_at, looks_at, peaks

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
    by_rank, by_e = {0.01: 0, 0.05: 0}, {0.01: 0, 0.05: 0}
    for _ in range(RUNS):
        running = looks.standardised(innocents(REFERENCES + 1, generator))
        known = peaks(running[1:])[:, -1]
        p, evidence = np.array([p_value(x, known) for x in peaks(running[0])]), e_process(running[0], known)
        for level in by_rank:
            by_rank[level] += first_at(p <= level) is not None
            by_e[level] += first_at(evidence >= 1 / level) is not None
    for level in by_rank:
        chance = 3 * np.sqrt(level * RUNS)  # of a count whose expectation is the level's
        assert by_e[level] <= by_rank[level] <= level * RUNS + chance
        assert by_rank[level] > 0.5 * level * RUNS, "a test that cannot accuse proves nothing"


def test_the_product_over_queries_accuses_innocents() -> None:
    """Why it is not done: likelihood ratios of independent queries, multiplied, against models whose queries lean together."""
    parts = innocents(2000, np.random.default_rng(3))
    product = np.exp(np.cumsum(0.5 * parts - 0.5**2 * (1 + 0.5**2) / 2, axis=1))
    assert (product.max(1) >= 100).mean() > 0.05


def test_copies_are_found_early(looks: Looks) -> None:
    generator = np.random.default_rng(4)
    known = peaks(looks.standardised(innocents(REFERENCES, generator)))[:, -1]
    copies = [looks.standardised(innocents(1, generator)[0] + 4) for _ in range(100)]
    by_rank = [first_at(np.array([p_value(x, known) for x in peaks(c)]) <= 0.01) for c in copies]
    by_e = [first_at(e_process(c, known) >= 100) for c in copies]
    for found in (by_rank, by_e):
        assert sum(f is not None for f in found) >= 95 and np.median([LOOKS[f] for f in found if f is not None]) < BUDGET


@given(st.integers(0, 10_000), st.integers(0, 8))
def test_evidence_only_grows_stays_under_its_limit_and_is_one_on_average(seed: int, references: int) -> None:
    """Exactly: over which of the exchangeable models is the suspect, the mean of E is 1."""
    scores = np.random.default_rng(seed).normal(scale=3, size=(references + 1, 4))
    final = scores.max(1)
    all_e = [e_process(scores[i], np.delete(final, i)) for i in range(len(scores))]
    assert np.mean([e[-1] for e in all_e]) == pytest.approx(1)
    for i, e in enumerate(all_e):
        assert (np.diff(e) >= 0).all() and e[0] >= 0 and e[-1] <= references + 1
        early = e_process(scores[i, :2], np.delete(final, i))
        np.testing.assert_allclose(early, e[:2])


def test_by_hand_against_the_plain_formula() -> None:
    suspect, references = np.array([0.1, 0.3, 0.2]), np.array([0.2, 0.4])
    wealth = np.exp(8 * references).sum()
    expected = [3 * np.exp(8 * s) / (np.exp(8 * s) + wealth) for s in (0.1, 0.3, 0.3)]
    np.testing.assert_allclose(e_process(suspect, references), expected)


def test_looks_are_of_running_sums() -> None:
    looks = Looks.of(np.array([[1.0, 1, 1], [3, 1, 1]]), np.array([1, 3]))
    np.testing.assert_allclose(looks.mean, [2, 4])
    np.testing.assert_allclose(looks.standardised(np.array([2.0, 2, 2])), [0, 2 / 2**0.5])
    np.testing.assert_allclose(looks.standardised(np.array([2.0, 2])), [0])  # asking stopped before the second look


def test_stopping() -> None:
    assert first_at(np.array([False, False, True, True])) == 2
    assert first_at(np.array([False, False])) is None


@pytest.mark.parametrize("budget", [1, 5, 20, 21, 400, 4000])
def test_looks_end_at_the_budget(budget: int) -> None:
    counts = looks_at(budget)
    assert counts[-1] == budget and (np.diff(counts) > 0).all() and counts[0] <= max(20, budget / 4)
