"""Other methods' scores: by hand, against plain loops, and their order: nothing is more
like the victim than itself."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cosine, jensenshannon
from torch import Tensor, nn

from zooaudit.baselines.adversarial import pgd
from zooaudit.baselines.intersection import Iris
from zooaudit.baselines.mixed import cut_and_mixed
from zooaudit.baselines.scores import (
    decision_distance,
    jensen_shannon,
    matching_rate,
    raw_cosine,
    robustness_distance,
    sample_correlation,
)
from zooaudit.baselines.trajectory import FIRST, SHORTER, trajectories
from zooaudit.data.images import Dataset, to_unit

SCORES = (matching_rate, sample_correlation, jensen_shannon, decision_distance, raw_cosine)


def answers(seed: int, n: int = 6, k: int = 4) -> Tensor:
    return (3 * torch.randn(n, k, generator=torch.Generator().manual_seed(seed))).softmax(1)


@given(st.integers(0, 1000), st.integers(1001, 2000))
def test_nothing_is_more_like_the_victim_than_itself(first: int, second: int) -> None:
    victim, suspect = answers(first), answers(second)
    for score in SCORES:
        assert score(victim, victim) >= score(victim, suspect) - 1e-6, score.__name__
        assert score(victim, suspect) == pytest.approx(score(suspect, victim), abs=1e-6)


def test_matching_rate_by_hand() -> None:
    assert matching_rate(torch.eye(3), torch.eye(3)[[0, 1, 0]]) == pytest.approx(2 / 3)


def test_sample_correlation_as_plain_loops() -> None:
    v, s = answers(1), answers(2)
    differences = [abs(cosine(v[i], v[j]) - cosine(s[i], s[j])) for i in range(6) for j in range(6)]
    assert sample_correlation(v, s) == pytest.approx(-np.mean(differences), abs=1e-6)


def test_jensen_shannon_as_scipys_squared_distance() -> None:
    v, s = answers(1), answers(2)
    expected = np.mean([jensenshannon(a, b) ** 2 for a, b in zip(v.numpy(), s.numpy(), strict=True)])
    assert jensen_shannon(v, s) == pytest.approx(-expected, abs=1e-6)
    assert jensen_shannon(torch.eye(2), torch.eye(2).flip(0)) == pytest.approx(-math.log(2))


def test_decision_distance_as_plain_loops() -> None:
    v, s = answers(1), answers(2)
    vectors = [[cosine(a[i], a[i + 3]) for i in range(3)] for a in (v, s)]
    assert decision_distance(v, s) == pytest.approx(1 - cosine(*vectors), abs=1e-6)


def test_robustness_distance_by_hand() -> None:
    labels = torch.tensor([0, 1, 2])
    assert robustness_distance(torch.eye(3), torch.eye(3)[[0, 0, 0]], labels) == pytest.approx(-2 / 3)
    assert robustness_distance(torch.eye(3), torch.eye(3), labels) == 0


def test_pgd_stays_in_its_ball_and_costs_the_model_its_accuracy(learnt: nn.Module, digits: Dataset) -> None:
    images, labels = to_unit(digits.test.images[:64]), digits.test.labels[:64]
    moved = pgd(learnt, images, labels, 0.2)
    assert (moved - images).abs().max() <= 0.2 + 1e-6 and moved.min() >= 0 and moved.max() <= 1
    with torch.no_grad():
        before, after = ((learnt(x).argmax(1) == labels).float().mean() for x in (images, moved))
    assert after < before - 0.5
    assert torch.equal(pgd(learnt, images, labels, 0.2), moved)


def test_a_trajectory_is_the_way_to_another_class(learnt: nn.Module, digits: Dataset) -> None:
    images = to_unit(digits.test.images[:20])
    points = trajectories(learnt, images, seed=3, length=30).view(20, 30, *images.shape[1:])
    with torch.no_grad():
        before, after = learnt(images).argmax(1), learnt(points[:, -1]).argmax(1)
    assert float((before != after).float().mean()) > 0.8, "most arrive"
    assert float(points.min()) >= 0 and float(points.max()) <= 1
    lengths = (
        torch.cat([(points[:, :1] - images.unsqueeze(1)), points[:, 1:] - points[:, :-1]], 1)
        .abs()
        .flatten(2)
        .amax((0, 2))
    )
    assert lengths.tolist() == pytest.approx([FIRST * SHORTER**i for i in range(30)], abs=1e-5)
    assert torch.equal(points, trajectories(learnt, images, seed=3, length=30).view_as(points))


def test_points_where_all_classes_meet(learnt: nn.Module, digits: Dataset) -> None:
    """A margin of the target over the others, which lie close together; natural images are far from that."""
    images = to_unit(digits.test.images[:10])
    iris = Iris(samples=3, steps=300)
    points = iris.points(learnt, images, seed=1)
    assert points.shape == (30, *images.shape[1:]) and float(points.min()) >= 0 and float(points.max()) <= 1

    def spread(x: Tensor) -> Tensor:
        with torch.no_grad():
            logits = learnt(x).sort(1).values
        return logits[:, :-1].std(1)

    assert float(spread(points).mean()) < float(spread(images).mean()) / 2
    assert torch.equal(points, iris.points(learnt, images, seed=1))
    first = points.view(10, 3, -1)
    assert not torch.equal(first[:, 0], first[:, 1]), "samples of one fingerprint differ"


def test_a_quarter_of_a_mixed_image_is_the_other() -> None:
    images, others = torch.zeros(50, 3, 8, 6), torch.ones(50, 3, 8, 6)
    found = cut_and_mixed(images, others, 0)
    assert torch.equal(found.sum((2, 3)), torch.full((50, 3), 12.0)), "4 x 3 pixels of every channel"
    for image in found[:, 0]:
        rows, columns = image.any(1).nonzero().flatten(), image.any(0).nonzero().flatten()
        assert (
            (len(rows), len(columns)) == (4, 3) and rows[-1] - rows[0] == 3 and columns[-1] - columns[0] == 2
        )
    assert len({tuple(i.flatten().tolist()) for i in found[:, 0]}) > 10
