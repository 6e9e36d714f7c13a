"""How well scores tell thieves from innocents: against scikit-learn, at the edges, and how
far it would vary with other models."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from zooaudit.errors import ModelError
from zooaudit.studies.roc import FPRS, Measured, Scored, measured


def of(
    stolen: list[float], innocent: list[float], draws: int = 0, models: list[str] | None = None
) -> Measured:
    scores, truth = np.array([*stolen, *innocent]), np.array([True] * len(stolen) + [False] * len(innocent))
    found = measured(Scored(scores, truth, models or [str(i) for i in range(len(scores))]), draws)
    assert found is not None
    return found


some = st.lists(st.integers(0, 12), min_size=1, max_size=60)


@given(some, some)
def test_rates_are_scikit_learns(stolen: list[int], innocent: list[int]) -> None:
    truth, scores = [1] * len(stolen) + [0] * len(innocent), [*stolen, *innocent]
    found = of([float(s) for s in stolen], [float(s) for s in innocent])
    false, true, _ = roc_curve(truth, scores, drop_intermediate=False)
    assert found.auc.value == pytest.approx(roc_auc_score(truth, scores))
    for rate in FPRS:
        assert found.tpr[rate].value == pytest.approx(true[false <= rate + 1e-9][-1])


def test_a_rate_below_one_in_n_allows_no_innocent() -> None:
    """99 innocents: 1 % allows none; with 100 it allows one."""
    stolen, rest = [5.0, 3.0, 3.0, 0.5], [4.0, *np.linspace(0, 2, 98)]
    assert of(stolen, rest).tpr[0.01].value == 0.25
    assert of(stolen, [*rest, 0.1]).tpr[0.01].value == 0.75
    assert of(stolen, rest).tpr[0.05].value == 0.75


def test_an_innocent_with_the_same_score_is_over_the_threshold_too() -> None:
    assert of([1.0, 1.0], [1.0, 0.0]).tpr[0.05].value == 0
    assert of([1.0, 1.0], [1.0, 0.0]).auc.value == 0.75
    assert of([0.0], [0.0]).auc.value == 0.5


def test_one_side_alone_has_no_rates() -> None:
    for truth in ([True, True], [False, False]):
        assert measured(Scored(np.array([1.0, 2.0]), np.array(truth), ["a", "b"])) is None


def test_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ModelError, match="the score of b is not a finite number, nor are 1 others"):
        Scored(np.array([1.0, np.nan, np.inf]), np.array([True, False, False]), ["a", "b", "c"])


def test_intervals_hold_the_value_and_narrow_with_more_models() -> None:
    dice = np.random.default_rng(1)
    few, many = ([dice.normal(1, 1, n).tolist(), dice.normal(0, 1, n).tolist()] for n in (10, 400))
    narrow, wide = of(*many, draws=500), of(*few, draws=500)
    for found in (narrow, wide):
        assert found.auc.low < found.auc.value < found.auc.high
    assert narrow.auc.high - narrow.auc.low < 0.1 < wide.auc.high - wide.auc.low
    z = (narrow.auc.high - narrow.auc.low) / 3.92
    assert z == pytest.approx(0.0152, rel=0.3), (
        "Hanley and McNeil's standard error of an AUC of .76 with 400 on each side"
    )


def test_a_model_in_many_pairs_counts_as_one() -> None:
    """The same scores say less if they are all of two models."""
    stolen, innocent = [1.0, 3.0] * 20, [0.0, 2.0] * 20
    apart = of(stolen, innocent, draws=300)
    together = of(stolen, innocent, draws=300, models=["t1", "t2"] * 20 + ["i1", "i2"] * 20)
    assert apart.auc.value == together.auc.value == 0.75
    assert together.auc.low < 0.3 < 0.6 < apart.auc.low


def test_a_share_is_shown_with_its_interval() -> None:
    assert str(of([1.0], [0.0], draws=10).auc) == "1.00 [1.00, 1.00]"
