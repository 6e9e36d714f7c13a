"""Per-model p-values: exact ranks, honest limits, and corrections for many suspects."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zooaudit.verdict.conformal import benjamini_hochberg, holm, p_value, references_for, smallest_p

scores = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=12)
p_values = st.lists(st.floats(0.001, 1), min_size=1, max_size=12)


@given(scores)
def test_over_all_ranks_no_level_is_exceeded(pooled: list[float]) -> None:
    """Exchangeable: each of the n + 1 is the suspect with equal chance. Then P(p <= a) <= a for every a, ties or not."""
    p = np.array([p_value(s, pooled[:i] + pooled[i + 1 :]) for i, s in enumerate(pooled)])
    for level in np.unique(p):
        assert (p <= level).mean() <= level + 1e-12


def test_by_hand() -> None:
    assert p_value(0.9, [0.1, 0.2, 0.3]) == 0.25 == smallest_p(3)
    assert p_value(0.2, [0.1, 0.2, 0.3]) == 0.75
    assert p_value(0.5, []) == 1.0
    assert p_value(float("nan"), [0.1, 0.2]) == 1.0
    assert p_value(0.9, [0.1, float("nan")]) == pytest.approx(2 / 3)


@pytest.mark.parametrize(("level", "needed"), [(0.5, 1), (0.05, 19), (0.01, 99), (0.001, 999)])
def test_how_many_references_a_level_needs(level: float, needed: int) -> None:
    assert references_for(level) == needed
    assert smallest_p(needed) <= level < smallest_p(needed - 1)


@given(p_values)
def test_holm_as_its_steps(p: list[float]) -> None:
    """Oracle: step down, smallest first, until one is not rejected."""
    adjusted = holm(p)
    for level in (0.01, 0.05, 0.2):
        rejected = set()
        for step, i in enumerate(np.argsort(p, kind="stable")):
            if p[i] > level / (len(p) - step) + 1e-15:
                break
            rejected.add(int(i))
        assert rejected == set(np.flatnonzero(adjusted <= level + 1e-12).tolist())


@given(p_values)
def test_corrections_never_strengthen_a_claim(p: list[float]) -> None:
    assert (holm(p) >= np.array(p) - 1e-12).all() and (holm(p) <= 1).all()
    assert (benjamini_hochberg(p) >= np.array(p) - 1e-12).all()
    assert (benjamini_hochberg(p) <= holm(p) + 1e-12).all()


def test_nobody_suspected() -> None:
    assert len(holm([])) == len(benjamini_hochberg([])) == 0
