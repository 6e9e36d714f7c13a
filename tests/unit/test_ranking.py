"""The victim's place among its twins: ranks by hand, a level that early stopping keeps,
corrections for many suspects."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from zooaudit.verdict.ranking import (
    STANDS_OUT,
    benjamini_hochberg,
    holm,
    normal_claim,
    ranked,
    smallest_p,
    suspects_at_once,
    twins_for,
)

p_values = st.lists(st.floats(0.001, 1), min_size=1, max_size=12)


def looks(*rows: list[float]) -> np.ndarray:
    return np.array(rows, dtype=float)


def test_first_second_and_last_by_hand() -> None:
    for own, rank in ((2.0, 1), (0.5, 2), (-3.0, 4)):
        found = ranked(looks([own, 1.0, 0.0, -1.0]), horizon=1)
        assert (found.rank, found.p_value, found.settled, found.look) == (rank, rank / 4, True, 0)


def test_ties_count_against_the_accusation() -> None:
    assert ranked(looks([1.0, 1.0, 0.0]), 1).rank == 2
    assert ranked(looks([0.0, 0.0, 0.0, 0.0]), 1).p_value == 1, "answers that say nothing accuse nobody"
    early = looks([STANDS_OUT, STANDS_OUT, 0.0], [9.0, 1.0, 0.0])
    assert ranked(early, 2).rank == 2, "both stood out at the first look, equally far"


def test_who_stands_out_sooner_comes_first_whatever_comes_later() -> None:
    found = ranked(looks([3.2, 0.0, 1.0], [0.1, 8.0, 1.0]), 2)
    assert (found.rank, found.look, found.settled) == (1, 0, True)
    assert found.statistics.tolist() == [3.2, 0.0, 1.0], "all at the look that places the victim"
    found = ranked(looks([0.0, 3.0, 1.0], [8.0, 0.0, 1.0]), 2)
    assert (found.rank, found.look) == (2, 1)


def test_a_place_is_settled_by_standing_out_or_by_the_last_look() -> None:
    assert not ranked(looks([2.9, 0.0, 0.0]), 3).settled
    assert not ranked(looks([2.9, 3.5, 0.0]), 3).settled, "a twin that stands out settles its own place alone"
    assert ranked(looks([3.0, 0.0, 0.0]), 3).settled
    assert ranked(looks([2.9, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]), 3).settled


def innocents(generator: np.random.Generator, runs: int, count: int, candidates: int) -> np.ndarray:
    """Looks ``[runs, looks, candidates]`` of suspects made without any candidate: running means,
    heavy-tailed, standardised."""
    steps = generator.standard_t(3, size=(runs, count, candidates))
    sums = np.cumsum(steps, axis=1)
    return (sums - sums.mean(-1, keepdims=True)) / sums.std(-1, keepdims=True)


def test_two_thousand_innocents_keep_the_level_and_p_is_uniform() -> None:
    runs, candidates = 2000, 20
    all_looks = innocents(np.random.default_rng(1), runs, 3, candidates)
    stopped, whole = [], []
    for one in all_looks:
        whole.append(ranked(one, 3))
        sofar = next(r for r in (ranked(one[:n], 3) for n in (1, 2, 3)) if r.settled)
        stopped.append(sofar)
    p = np.array([r.p_value for r in whole])
    counts = np.bincount((p * candidates).round().astype(int) - 1, minlength=candidates)
    assert len(counts) == candidates and stats.chisquare(counts).pvalue > 0.001, counts
    for level in (0.05, 0.1, 0.2):
        assert (p <= level + 1e-9).sum() <= level * runs + 3 * np.sqrt(level * runs)
    assert sum(r.look < 2 for r in stopped) > 20, "or stopping early is not tried"
    for early, late in zip(stopped, whole, strict=True):
        assert (
            early.rank == late.rank
            and early.look == late.look
            and np.array_equal(early.statistics, late.statistics)
        )


@given(st.integers(0, 10_000), st.integers(2, 12), st.integers(1, 4))
def test_asking_on_never_moves_a_settled_place(seed: int, candidates: int, count: int) -> None:
    one = 1.7 * innocents(np.random.default_rng(seed), 1, count, candidates)[0]
    for n in range(1, count + 1):
        early = ranked(one[:n], count)
        if early.settled:
            assert (early.rank, early.look) == (ranked(one, count).rank, ranked(one, count).look)


@given(st.integers(0, 10_000), st.integers(2, 12), st.integers(1, 4))
def test_over_all_candidates_no_level_is_exceeded(seed: int, candidates: int, count: int) -> None:
    """Exchangeable: each of them is the victim with equal chance. Then P(p <= a) <= a for
    every a, ties or not."""
    one = np.round(1.7 * innocents(np.random.default_rng(seed), 1, count, candidates)[0])
    p = np.array([ranked(np.roll(one, -i, axis=1), count).p_value for i in range(candidates)])
    for level in np.unique(p):
        assert (p <= level).mean() <= level + 1e-12


@pytest.mark.parametrize(
    ("level", "needed"), [(0.5, 1), (0.05, 19), (0.01, 99), (0.001, 999), (0.05 / 3, 59)]
)
def test_how_many_twins_a_level_needs(level: float, needed: int) -> None:
    assert twins_for(level) == needed
    assert smallest_p(needed) <= level < smallest_p(needed - 1)


@pytest.mark.parametrize(
    ("twins", "level", "most"),
    [(19, 0.05, 1), (18, 0.05, 0), (59, 0.05, 3), (58, 0.05, 2), (99, 0.01, 1), (0, 0.05, 0)],
)
def test_how_many_suspects_holm_allows(twins: int, level: float, most: int) -> None:
    assert suspects_at_once(twins, level) == most
    if most:
        assert holm([smallest_p(twins), *[1.0] * (most - 1)])[0] <= level + 1e-12
    assert holm([smallest_p(twins), *[1.0] * most])[0] > level


def test_the_normal_claim_is_a_t_test_of_one_against_many() -> None:
    twins = np.array([0.3, -1.0, 0.2, 0.9, -0.4])
    found = normal_claim([4.0, *twins])
    assert found is not None
    t = (4.0 - twins.mean()) / (twins.std(ddof=1) * np.sqrt(1 + 1 / 5))
    assert found.p_value == pytest.approx(stats.t.sf(t, 4)) and found.normality == pytest.approx(
        stats.shapiro(twins).pvalue
    )
    assert normal_claim([4.0, 1.0, 2.0]) is None and normal_claim([4.0, 1.0, 1.0, 1.0]) is None


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
