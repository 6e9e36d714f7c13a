"""What the next innocent model of a family may score, where members of a family come from a few sources that lean together."""

import numpy as np
import pytest
from scipy import stats

from zooaudit.verdict.predictive import predict


def test_single_members_are_the_textbook_prediction_interval() -> None:
    x = np.array([1.0, 2.0, 4.0, 5.5])
    found = predict(x, ["a", "b", "c", "d"])
    assert found.mean == pytest.approx(x.mean()) and found.degrees == pytest.approx(3)
    assert found.scale == pytest.approx(x.std(ddof=1) * np.sqrt(1 + 1 / 4))
    assert found.p_value(6) == pytest.approx(stats.t.sf((6 - found.mean) / found.scale, 3))


def test_balanced_sources_by_hand() -> None:
    """Two of three sources: MSB = 3 * var of means, MSW pooled; variance MSB (1 + 1/a) / b + MSW (1 - 1/b)."""
    groups = np.array([[1.0, 2, 3], [4, 6, 5]])
    between, within = 3 * groups.mean(1).var(ddof=1), groups.var(1, ddof=1).mean()
    found = predict(groups.ravel(), ["a"] * 3 + ["b"] * 3)
    one, two = between * 1.5 / 3, within * 2 / 3
    assert found.scale == pytest.approx(np.sqrt(one + two))
    assert found.degrees == pytest.approx((one + two) ** 2 / (one**2 / 1 + two**2 / 4))


@pytest.mark.parametrize("between", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("sizes", [(4, 4, 4), (2, 6), (1, 1, 1, 1, 1, 1), (8, 2, 3, 5)])
def test_the_next_model_of_a_new_source_is_accused_no_oftener_than_the_level(between: float, sizes: tuple[int, ...]) -> None:
    generator = np.random.default_rng(7)
    names = [str(i) for i, n in enumerate(sizes) for _ in range(n)]
    accused = {0.05: 0, 0.01: 0}
    runs = 2000
    for _ in range(runs):
        means = generator.normal(size=len(sizes) + 1) * between
        scores = np.concatenate([m + generator.normal(size=n) for m, n in zip(means[1:], sizes, strict=True)])
        p = predict(scores, names).p_value(means[0] + generator.normal())
        for level in accused:
            accused[level] += p <= level
    for level, count in accused.items():
        slack = 1.2 * level if sizes != (2, 6) else 1.6 * level  # Satterthwaite is an approximation, worst with two uneven sources
        assert count / runs <= slack + 3 * np.sqrt(level / runs), (level, count)


def test_models_of_one_source_as_if_independent_would_accuse() -> None:
    """Why sources count: the plain interval over all models, against new sources."""
    generator, accused = np.random.default_rng(8), 0
    for _ in range(1000):
        means = generator.normal(size=4) * 2
        scores = np.concatenate([m + generator.normal(size=6) for m in means[1:]])
        accused += predict(scores, [str(i) for i in range(18)]).p_value(means[0] + generator.normal()) <= 0.05
    assert accused > 80


def test_what_cannot_be_predicted() -> None:
    for scores, names in (([], []), ([1.0], ["a"]), ([1.0, 2.0, 3.0], ["a", "a", "a"])):
        assert predict(scores, names).p_value(1e9) == 1
    alike = predict([2.0, 2.0], ["a", "b"])
    assert (alike.p_value(2.0), alike.p_value(2.1), alike.p_value(float("nan"))) == (1, 0, 1)
