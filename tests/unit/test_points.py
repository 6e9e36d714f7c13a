"""Datapoints and views: K-means clusters, images drawn from them, and none twice."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from torch import Tensor, nn

from tests.support.oracles.views import datapoints
from zooaudit.config import FingerprintConfig
from zooaudit.data.images import Dataset, to_unit
from zooaudit.errors import ConfigError, DataError
from zooaudit.paper.datapoints import choose_points, representation


def features(count: int = 300, dimension: int = 6, seed: int = 0) -> Tensor:
    return torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed))


def blobs(sizes: list[int], seed: int = 0) -> Tensor:
    """Well separated clusters of given sizes."""
    generator = torch.Generator().manual_seed(seed)
    return torch.cat(
        [
            torch.randn(n, 4, generator=generator) * 0.1 + 20 * torch.eye(4)[i % 4] * (1 + i // 4)
            for i, n in enumerate(sizes)
        ]
    )


def test_the_first_view_is_the_datapoints_and_the_others_are_of_their_clusters() -> None:
    rows = features()
    chosen = choose_points(rows, FingerprintConfig(points=12, views=5), seed=3).numpy()
    labels = KMeans(12, n_init=1, random_state=3).fit(rows.numpy()).labels_
    assert (labels[chosen] == labels[chosen[0]]).all()
    assert {int(labels[i]): int(i) for i in chosen[0]} == dict(
        enumerate(datapoints(rows.numpy(), labels, 12))
    )


def test_views_are_drawn_and_not_sorted_by_distance() -> None:
    """A view's distance to the datapoint has nothing to do with its number."""
    rows = features(3000)
    chosen = choose_points(rows, FingerprintConfig(points=20, views=40), seed=0)
    distance = (rows[chosen[1:]] - rows[chosen[0]]).norm(dim=2).mean(1)
    number = torch.arange(len(distance), dtype=torch.float32)
    assert abs(float(torch.corrcoef(torch.stack([number, distance]))[0, 1])) < 0.5
    early, late = distance[:13].mean(), distance[-13:].mean()
    assert float(abs(early - late)) < 0.1 * float(distance.mean())


def test_a_small_cluster_gives_its_images_again_where_the_rule_says_so() -> None:
    sizes = [30, 30, 30, 4]
    chosen = choose_points(blobs(sizes), FingerprintConfig(points=4, views=40, small_clusters="repeat"), 0)
    cluster = torch.repeat_interleave(torch.arange(4), torch.tensor(sizes))
    for column in chosen.T:
        (mine,) = set(cluster[column].tolist())
        counts = torch.bincount(column, minlength=sum(sizes))[cluster == mine]
        assert counts.sum() == 40 and counts.max() - counts.min() <= 1, "each before any a second time"


@settings(max_examples=25)
@given(st.integers(2, 12), st.integers(2, 6), st.integers(0, 2**63 - 1))
def test_views_share_no_image_and_stay_in_their_cluster(points: int, views: int, seed: int) -> None:
    rows = features(seed=seed % 1000)
    config = FingerprintConfig(points=points, views=views)
    chosen = choose_points(rows, config, seed)
    assert chosen.shape == (views, points)
    assert chosen.dtype == torch.int64
    assert len(chosen.unique()) == views * points
    assert torch.equal(chosen, choose_points(rows, config, seed))
    assert len(rows[chosen[0]].unique(dim=0)) == points


def test_separate_clusters_give_one_point_each_to_every_view() -> None:
    sizes = [30, 20, 25, 22]
    chosen = choose_points(blobs(sizes), FingerprintConfig(points=4, views=10), seed=0)
    cluster = torch.repeat_interleave(torch.arange(4), torch.tensor(sizes))
    for view in chosen:
        assert sorted(cluster[view].tolist()) == [0, 1, 2, 3]
    for column in chosen.T:
        assert len(set(cluster[column].tolist())) == 1


def test_the_datapoint_is_nearest_to_its_centre() -> None:
    rows = blobs([30, 20])
    chosen = choose_points(rows, FingerprintConfig(points=2, views=3), seed=0)
    for start, end in ((0, 30), (30, 50)):
        distance = (rows[start:end] - rows[start:end].mean(0)).norm(dim=1)
        assert start + int(distance.argmin()) in chosen[0].tolist()


def test_other_seeds_choose_other_points() -> None:
    config = FingerprintConfig(points=12, views=3)
    assert not torch.equal(choose_points(features(), config, 0), choose_points(features(), config, 1))


@pytest.mark.parametrize(("points", "views", "needed"), [(100, 20, "2,000"), (7, 43, "301"), (301, 2, "602")])
def test_more_views_than_images_is_a_config_error(points: int, views: int, needed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        choose_points(features(300), FingerprintConfig(points=points, views=views), 0)
    message = str(caught.value)
    for text in (
        f"{points} datapoints x {views} views need {needed} images",
        "has 300",
        "lower FingerprintConfig.points or views",
    ):
        assert text in message, message


def test_exactly_enough_images_fit_if_clusters_are_even() -> None:
    chosen = choose_points(
        blobs([5, 5, 5, 5]), FingerprintConfig(points=4, views=5, small_clusters="error"), 0
    )
    assert sorted(chosen.flatten().tolist()) == list(range(20))


def test_a_small_cluster_is_an_error_where_the_rule_says_so() -> None:
    config = FingerprintConfig(points=4, views=10, small_clusters="error")
    with pytest.raises(DataError) as caught:
        choose_points(blobs([30, 30, 30, 4]), config, 0)
    for text in (
        "1 of 4 clusters have fewer than 10 members",
        "the smallest 4",
        "set small_clusters to recluster",
    ):
        assert text in str(caught.value), str(caught.value)


def test_a_small_cluster_is_set_aside_and_the_rest_clustered_again() -> None:
    rows = blobs([30, 30, 30, 4])
    chosen = choose_points(rows, FingerprintConfig(points=4, views=5), 0)
    assert chosen.shape == (5, 4)
    assert not set(chosen.flatten().tolist()) & set(range(90, 94)), "the outliers were set aside"
    assert len(chosen.unique()) == 20


def test_reclustering_that_does_not_help_stops_with_the_numbers() -> None:
    """Eleven tight pairs and triples: whatever is set aside, too few are left."""
    with pytest.raises(
        DataError, match=r"of 8 clusters have fewer than 5 members .* after \d+ rounds .*; lower N or views"
    ):
        choose_points(blobs([3, 2, 3, 2, 3, 2, 3, 30]), FingerprintConfig(points=8, views=5), 0)


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_duplicates_of_an_image_are_different_images() -> None:
    rows = torch.cat([features(20)] * 10)
    chosen = choose_points(rows, FingerprintConfig(points=5, views=6), 0)
    assert len(chosen.unique()) == 30


def test_representation_is_the_input_of_the_last_layer(learnt: nn.Module, digits: Dataset) -> None:
    images = digits.train.images[:600]  # more than one batch
    found = representation(learnt, images)
    assert found.shape == (600, 16)
    with torch.no_grad():
        logits = learnt.head(found)
        torch.testing.assert_close(logits, learnt(to_unit(images)), atol=1e-5, rtol=1e-5)
    assert not learnt._forward_hooks
    assert not learnt.head._forward_pre_hooks


def test_a_model_without_a_linear_layer_is_represented_by_its_outputs(digits: Dataset) -> None:
    class Convolutional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(1, 3, 8)

        def forward(self, x: Tensor) -> Tensor:
            return self.convolution(x).flatten(1)

    model = Convolutional().eval()
    with torch.no_grad():
        expected = model(to_unit(digits.train.images[:5]))
    assert torch.equal(representation(model, digits.train.images[:5]), expected)


def test_a_model_that_fails_leaves_no_hook_behind(digits: Dataset) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
    with pytest.raises(RuntimeError):
        representation(model, digits.train.images[:5])
    assert not model[1]._forward_pre_hooks


def test_clusters_of_a_trained_model_follow_the_classes(learnt: nn.Module, digits: Dataset) -> None:
    """What the views are for: a fingerprint's points cover the victim's classes."""
    chosen = choose_points(
        representation(learnt, digits.train.images), FingerprintConfig(points=20, views=8), 0
    )
    labels = digits.train.labels.numpy()[chosen.numpy()]
    same = (labels == labels[0]).mean()
    assert same > 0.6, same
    assert len(np.unique(labels[0])) >= 8
