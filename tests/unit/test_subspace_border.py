"""UAP subspaces, border points, IPGuard and top-k answers against closed forms and slow oracles."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support.makers import Affine
from zooaudit.baselines.ipguard import IpGuard
from zooaudit.baselines.scores import matching_rate
from zooaudit.data.images import Dataset, to_unit
from zooaudit.errors import ConfigError, ModelError
from zooaudit.paper.border import border_points, confidence_gap, last_layer_border
from zooaudit.paper.subspace import inconsistency, profile, subspace
from zooaudit.suspects.access import top_k


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_subspace_is_orthonormal_and_spans_the_uaps() -> None:
    uaps = drawn(4, 20)
    basis = subspace(uaps)
    assert basis.shape == (4, 20)
    assert torch.allclose(basis @ basis.T, torch.eye(4, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(uaps.double() @ basis.T @ basis, uaps.double(), atol=1e-6)


def test_the_profile_is_the_mean_absolute_cosine() -> None:
    uaps, basis = drawn(3, 12), subspace(drawn(4, 12, seed=1))
    expected = [np.mean([abs(u @ w) / np.linalg.norm(u) for u in uaps.numpy()]) for w in basis.numpy()]
    assert np.allclose(profile(uaps, basis).numpy(), expected, atol=1e-6)


def test_a_model_is_consistent_with_itself_and_not_with_what_is_orthogonal() -> None:
    uaps = torch.zeros(2, 6)
    uaps[0, 0] = uaps[1, 1] = 1
    elsewhere = torch.zeros(2, 6)
    elsewhere[0, 3] = elsewhere[1, 4] = 1
    assert inconsistency(uaps, uaps) == pytest.approx(0, abs=1e-9)
    assert inconsistency(uaps, -5 * uaps.flip(0)) == pytest.approx(0, abs=1e-9), (
        "sign, length and order do not matter"
    )
    assert inconsistency(uaps, elsewhere) == pytest.approx(float(profile(uaps, subspace(uaps)).norm()))


def test_one_uap_is_no_subspace() -> None:
    with pytest.raises(ConfigError, match="at least two"):
        subspace(drawn(1, 9))


def test_border_points_lie_on_the_border_between_their_pair() -> None:
    model = Affine()
    first, second = torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(1)).split(20)
    points, apart = border_points(model, first, second)
    label, other = model(first).argmax(1), model(second).argmax(1)
    assert torch.equal(apart, label != other) and 0 < apart.sum() < 20
    assert torch.equal(model(points).argmax(1), label[apart]), "on the side of the first"
    z = model(points).topk(2, dim=1).values
    assert (z[:, 0] - z[:, 1]).max() < 1e-3
    along = ((points - first[apart]).flatten(1) * (second - first)[apart].flatten(1)).sum(1)
    squared = (second - first)[apart].flatten(1).square().sum(1)
    assert ((along / squared >= 0) & (along / squared <= 1)).all()


def test_the_confidence_gap_is_first_less_second() -> None:
    assert confidence_gap(torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.45, 0.45]])).tolist() == pytest.approx(
        [0.5, 0.0]
    )


def test_ipguard_meets_its_own_condition_or_says_nothing() -> None:
    model = Affine().requires_grad_(False)
    images = torch.rand(30, 1, 4, 4, generator=torch.Generator().manual_seed(2))
    label = model(images).argmax(1)
    method = IpGuard(0.01, steps=600, lr=0.005)
    points = method.points(model, images, seed=3)
    assert points.min() >= 0 and points.max() <= 1
    assert torch.equal(points, method.points(model, images, seed=3))
    two = model(points).topk(2, dim=1)
    # The target's logit has just passed its own, and no other is above.
    own_second = two.indices[:, 1] == label
    arrived = own_second & (two.values[:, 0] - two.values[:, 1] >= 0.01 - 1e-5)
    assert arrived.float().mean() > 0.5, "in an affine model in a box, many targets can be reached"
    assert (two.values[arrived, 0] - two.values[arrived, 1]).max() < 0.5, (
        "a point that has arrived stays, within a step"
    )


def test_ipguards_score_is_the_matching_rate() -> None:
    a, b = torch.eye(4), torch.eye(4)[[0, 1, 3, 2]]
    assert matching_rate(a, a) == 1 and matching_rate(a, b) == 0.5


@given(k=st.integers(0, 7), seed=st.integers(0, 50))
def test_top_k_keeps_the_likeliest_and_nothing_else(k: int, seed: int) -> None:
    answers = drawn(3, 2, 5, seed=seed).softmax(-1)
    before = answers.clone()
    kept = top_k(answers, k)
    assert torch.equal(answers, before)
    for row, result in zip(answers.flatten(0, 1).tolist(), kept.flatten(0, 1).tolist(), strict=True):
        likeliest = sorted(range(5), key=lambda i: -row[i])[: max(k, 1)]
        expected = [(1.0 if k == 0 else row[i]) if i in likeliest else 0.0 for i in range(5)]
        assert result == expected


def test_images_at_the_last_layers_border_are_found_again(learnt: torch.nn.Module, digits: Dataset) -> None:
    first, second = to_unit(digits.train.images[:30]), to_unit(digits.train.images[30:60])
    points, apart = last_layer_border(learnt, first, second)
    assert (
        torch.equal(apart, learnt(first).argmax(1) != learnt(second).argmax(1)) and 10 < int(apart.sum()) < 30
    )
    assert float(points.min()) >= 0 and float(points.max()) <= 1 and not points.requires_grad
    middle = ((first + second) / 2)[apart]
    found, before = (float(confidence_gap(learnt(x).softmax(1)).mean()) for x in (points, middle))
    assert found < 0.35 and found < before, (found, before)
    assert not learnt.hidden[1]._forward_pre_hooks and not list(learnt.modules())[-1]._forward_pre_hooks


def test_a_model_without_a_linear_layer_has_no_such_border() -> None:
    with pytest.raises(ModelError, match="no linear layer"):
        last_layer_border(torch.nn.Flatten(), torch.rand(2, 1, 2, 2), torch.rand(2, 1, 2, 2))


def turned(angle: float, seed: int, noise: float) -> torch.Tensor:
    """A full-rank set of UAPs around one direction, turned towards another by ``angle``, and noise."""
    angle_, axes = torch.tensor(angle), torch.eye(64)
    return torch.cos(angle_) * axes[0] + torch.sin(angle_) * axes[7] + noise * drawn(64, 64, seed=seed)


@pytest.mark.parametrize("built", [1.0, 2.0, 3.0])
def test_the_ratio_of_inconsistencies_is_as_built(built: float) -> None:
    victim, again = turned(0, 1, 0.01), turned(0, 2, 0.01)
    near, far = (inconsistency(victim, turned(angle, 3, 0.01), again) for angle in (0.4, 0.4 * built))
    assert far / near == pytest.approx(built, rel=0.1)


def test_a_victim_is_far_from_its_own_other_uaps_and_that_floor_can_be_taken_out() -> None:
    victim, again, third = (turned(0, seed, 0.05) for seed in (1, 2, 3))
    near, far = turned(0.1, 4, 0.05), turned(0.3, 5, 0.05)
    assert inconsistency(victim, again) > 0.7 * inconsistency(victim, near), "nearly all of it is floor"
    assert inconsistency(victim, far) / inconsistency(victim, near) < 1.5, "three times as far"
    assert inconsistency(victim, far, again) / inconsistency(victim, near, again) > 2.5
    assert inconsistency(victim, third, again) < 0.4 * inconsistency(victim, again)
