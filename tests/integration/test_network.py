"""Fashion-MNIST as a new user gets it, from outside."""

from pathlib import Path

import pytest

from zooaudit.data.resolve import resolve


@pytest.mark.network
def test_fashion_mnist_is_fetched_whole_and_cached(tmp_path: Path) -> None:
    said: list[str] = []
    dataset = resolve("fashion-mnist", cache=tmp_path, say=said.append)
    assert (len(dataset.train), len(dataset.test), dataset.num_classes) == (60_000, 10_000, 10)
    assert dataset.image_shape == (1, 28, 28) and dataset.classes[9] == "Ankle boot"
    assert dataset.train.labels.bincount().tolist() == [6_000] * 10
    assert [p.name for p in tmp_path.iterdir()] == ["fashion-mnist"]
    again: list[str] = []
    assert resolve("fashion-mnist", cache=tmp_path, say=again.append).digest == dataset.digest
    assert len(again) == 1 and "from cache" in again[0]
