"""Shares and their bounds in studies on published models."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zooaudit.studies.rates import interval, leaning, luck, worst


@given(st.integers(0, 60), st.integers(1, 60))
def test_an_interval_holds_the_share(count: int, n: int) -> None:
    low, high = interval(min(count, n), n)
    assert low <= min(count, n) / n <= high
    assert interval(0, 0) == (0, 1)


def test_true_victims_are_as_lucky_as_any_candidate() -> None:
    counts = [np.array([9, 1, 0, 0, 0, 0, 0, 0, 0, 0]), np.array([0, 2, 8, 0, 0, 0, 0, 0, 0, 0])]
    assert (
        luck(counts, 0) == 1
        and luck(counts, 17) == pytest.approx(0.01, abs=0.005)
        and luck(counts, 18) < 0.001
    )
    assert luck(counts, 8) == pytest.approx(0.19, abs=0.02)


def test_the_worst_of_many_is_no_surprise() -> None:
    where, p = worst([(1, 20)] * 10 + [(3, 20)], 0.05)
    assert where == 10 and 0.3 < p < 0.7
    assert worst([(12, 20)], 0.05)[1] < 1e-6


def test_sources_that_lean_together_are_told_from_one_large_source() -> None:
    dice = np.random.default_rng(1)
    apart = np.eye(20)[dice.integers(0, 20, 30)]
    share, chance = leaning([apart, apart[:, ::-1]])
    assert share == max(apart.mean(0)) and chance > 0.05
    together = apart.copy()
    together[:12] = np.eye(20)[3]
    share, chance = leaning([apart, together])
    assert share >= 0.4 and chance < 0.001
