"""The discriminant against Fisher's formula in full, and what it must not depend on."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from zooaudit.encoder.discriminant import Discriminant, features, fit_discriminant, left_out_parts, most_telling

from zooaudit.errors import NotEnoughModelsError

Q, K = 6, 4


def models(count: int, seed: int, towards: Tensor | None = None, by: float = 0.0) -> Tensor:
    """Answers of ``count`` models: one distribution a point with noise, pulled ``by`` so much to ``towards``."""
    generator = torch.Generator().manual_seed(seed)
    common = torch.randn(Q, K, generator=torch.Generator().manual_seed(99))
    own = common + torch.randn(count, Q, K, generator=generator)
    return (own + by * towards if towards is not None else own).softmax(-1)


SECRET = torch.randn(Q, K, generator=torch.Generator().manual_seed(7))


@pytest.fixture(scope="module")
def fitted() -> Discriminant:
    return fit_discriminant(models(6, 1, SECRET, 2.0), models(9, 2))


def test_it_is_fishers_discriminant_with_a_ridge(fitted: Discriminant) -> None:
    """Oracle: the whole covariance matrix, inverted."""
    copies, innocent = (features(x).flatten(1).numpy() for x in (models(6, 1, SECRET, 2.0), models(9, 2)))
    gap = copies.mean(0) - innocent.mean(0)
    spread = sum(np.outer(r - rows.mean(0), r - rows.mean(0)) for rows in (copies, innocent) for r in rows) / (6 + 9 - 2)
    direction = np.linalg.solve(spread + np.trace(spread) / 15 * np.eye(len(gap)), gap)
    np.testing.assert_allclose(fitted.weights.flatten().numpy(), direction / (direction @ gap), rtol=1e-9)


def test_means_are_zero_and_one_and_parts_add_up(fitted: Discriminant) -> None:
    copies, innocent = models(6, 1, SECRET, 2.0), models(9, 2)
    assert features(innocent).mean(0).allclose(fitted.centre)
    assert fitted.scores(innocent).mean().item() == pytest.approx(0, abs=1e-12)
    assert fitted.scores(copies).mean().item() == pytest.approx(1)
    assert fitted.parts(copies).shape == (6, Q)
    assert fitted.parts(copies[0]).allclose(fitted.parts(copies)[0])


def test_shares_are_what_each_query_adds_to_the_copies_mean(fitted: Discriminant) -> None:
    assert fitted.parts(models(6, 1, SECRET, 2.0)).mean(0).allclose(fitted.shares)
    assert fitted.shares.sum().item() == pytest.approx(1)


def test_models_never_seen_are_told_apart(fitted: Discriminant) -> None:
    assert fitted.scores(models(40, 3, SECRET, 2.0)).min() > fitted.scores(models(40, 4)).median()
    assert abs(fitted.scores(models(400, 4)).mean()) < 0.1


def test_what_innocent_look_alikes_share_counts_little() -> None:
    """Copies differ from homologous models by SECRET and by having been extracted; with look-alikes among the innocent the second goes."""
    extracted = torch.randn(Q, K, generator=torch.Generator().manual_seed(8))
    copies = models(6, 1, SECRET + extracted, 2.0)
    unaware = fit_discriminant(copies, models(12, 2))
    aware = fit_discriminant(copies, torch.cat([models(6, 2), models(6, 5, extracted, 2.0)]))
    fresh = models(50, 6, extracted, 2.0)
    assert aware.scores(fresh).mean() < 0.6 * unaware.scores(fresh).mean()


def test_fitted_without_a_model_its_score_is_not_drawn_to_the_others(fitted: Discriminant) -> None:
    copies, innocent = models(6, 1, SECRET, 2.0), models(9, 2)
    parts = left_out_parts(copies, innocent)
    slow = fit_discriminant(copies, torch.cat([innocent[:4], innocent[5:]])).parts(innocent[4])
    assert torch.allclose(parts[4], slow, atol=1e-10) and parts.shape == (9, Q)
    assert parts.sum(1).std() > fitted.scores(innocent).std()


def test_images_on_which_copies_have_their_own_label_are_the_most_telling() -> None:
    innocent = torch.eye(K)[torch.zeros(5, Q, dtype=torch.int64)] * 0.8 + 0.05
    copies = innocent.clone()
    copies[:, [2, 5]] = torch.eye(K)[1] * 0.8 + 0.05
    copies[:, 0] = torch.tensor([0.4, 0.3, 0.2, 0.1])  # less sure, same label
    assert set(most_telling(copies, innocent, 2).tolist()) == {2, 5}
    assert len(most_telling(copies, innocent, 99)) == Q


def test_models_that_all_answer_alike_score_nothing() -> None:
    same = torch.full((3, Q, K), 1 / K)
    assert fit_discriminant(same, same).scores(same).tolist() == [0, 0, 0]


def test_too_few_models_are_named() -> None:
    with pytest.raises(NotEnoughModelsError, match="1 and 3 learnt"):
        fit_discriminant(models(1, 1), models(3, 2))


def test_threads_do_not_change_a_bit(fitted: Discriminant) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        again = fit_discriminant(models(6, 1, SECRET, 2.0), models(9, 2))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(again.weights, fitted.weights)


@given(st.integers(2, 5), st.integers(3, 7), st.integers(1, 3), st.booleans())
def test_left_out_fits_are_those_of_the_others_whatever_shares_their_inner_products(stolen: int, free: int, ways: int, alike: bool) -> None:
    """Rows of one model, asked several ways, are left out together."""
    copies, innocent = models(stolen, 1, SECRET, 2.0), torch.cat([models(free, 2 + way) for way in range(ways)])
    if alike:
        copies, innocent = copies[:1].expand_as(copies), innocent[:1].expand_as(innocent)
    groups = [i for _ in range(ways) for i in range(free)]
    parts = left_out_parts(copies, innocent, groups=groups)
    for model in range(free):
        rows = [i for i, group in enumerate(groups) if group == model]
        others = [i for i, group in enumerate(groups) if group != model]
        slow = fit_discriminant(copies, innocent[others]).parts(innocent[rows])
        assert torch.allclose(parts[rows], slow, atol=1e-8)
