"""Who trains on what: seeded index sets."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zooaudit.data.splits import random_part, seed_set
from zooaudit.errors import DataError

SEEDS = st.integers(0, 2**63 - 1)


@given(st.integers(4, 400), st.floats(0.3, 0.7), SEEDS)
def test_random_part_is_a_set_of_the_right_size(size: int, fraction: float, seed: int) -> None:
    part = random_part(size, fraction, seed)
    assert part.dtype == torch.int64
    assert len(part) == round(size * fraction)
    assert len(set(part.tolist())) == len(part)
    assert set(part.tolist()) <= set(range(size))
    assert torch.equal(part, random_part(size, fraction, seed))


@given(SEEDS)
def test_random_part_changes_with_the_seed(seed: int) -> None:
    assert not torch.equal(random_part(200, 0.5, seed), random_part(200, 0.5, (seed + 1) % 2**63))


def test_random_part_reaches_every_image_equally() -> None:
    counts = torch.zeros(20)
    for seed in range(400):
        counts[random_part(20, 0.5, seed)] += 1
    assert counts.min() > 150, counts  # 200 expected, standard deviation 10
    assert counts.max() < 250, counts


def test_random_part_is_shuffled() -> None:
    part = random_part(100, 0.5, 0).tolist()
    assert part != sorted(part)


@pytest.mark.parametrize(("size", "fraction", "count"), [(3, 0.1, 0), (10, 0.99, 10), (1, 0.5, 0)])
def test_random_part_refuses_none_and_all(size: int, fraction: float, count: int) -> None:
    with pytest.raises(
        DataError,
        match=rf"{fraction} of {size} training images is {count}; expected at least 1 and fewer than all",
    ):
        random_part(size, fraction, 0)


@given(st.integers(20, 300), st.floats(0.2, 0.8), SEEDS, SEEDS, st.data())
def test_seed_set_never_overlaps_what_is_taken(
    size: int, fraction: float, seed: int, other: int, data: st.DataObject
) -> None:
    taken = random_part(size, fraction, seed)
    count = data.draw(st.integers(1, size - len(taken)))
    seeds = seed_set(size, taken, count, other)
    assert len(set(seeds.tolist())) == count
    assert not set(seeds.tolist()) & set(taken.tolist())
    assert set(seeds.tolist()) <= set(range(size))
    assert torch.equal(seeds, seed_set(size, taken, count, other))


def test_seed_set_with_nothing_taken_draws_from_all() -> None:
    everything = seed_set(30, torch.empty(0, dtype=torch.int64), 30, 1)
    assert sorted(everything.tolist()) == list(range(30))


def test_seed_set_too_large_says_what_is_left() -> None:
    with pytest.raises(DataError, match=r"asks for 51 images .* leaves 50; lower seed_size or data_fraction"):
        seed_set(100, random_part(100, 0.5, 0), 51, 0)
