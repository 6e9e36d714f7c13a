"""Augmentation against loops over pixels, and what its draws depend on."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from zooaudit.data.augment import Draws, augment, cut, moved

SIZES = st.integers(1, 6)
SHIFTS = st.integers(-8, 8)


def images(count: int, channels: int = 3, height: int = 5, width: int = 4, seed: int = 0) -> Tensor:
    """Without a black pixel, so that black ones are those that came in."""
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(seed)) + 0.1


def by_pixel(x: Tensor, mirrored: list[bool], shifts: list[tuple[int, int]]) -> Tensor:
    """Each pixel looked up where it came from: first mirrored, then moved."""
    out = torch.zeros_like(x)
    count, _, height, width = x.shape
    for n in range(count):
        for i in range(height):
            for j in range(width):
                row, column = i - shifts[n][0], j - shifts[n][1]
                if 0 <= row < height and 0 <= column < width:
                    out[n, :, i, j] = x[n, :, row, width - 1 - column if mirrored[n] else column]
    return out


@given(
    st.lists(st.tuples(st.booleans(), st.tuples(SHIFTS, SHIFTS)), min_size=1, max_size=5),
    SIZES,
    SIZES,
    st.sampled_from([1, 3]),
)
def test_as_pixel_by_pixel(
    drawn: list[tuple[bool, tuple[int, int]]], height: int, width: int, channels: int
) -> None:
    """Also by more than an image's size: all black."""
    x = images(len(drawn), channels, height, width)
    mirrored, shifts = [m for m, _ in drawn], [s for _, s in drawn]
    found = augment(x, Draws(torch.tensor(mirrored), torch.tensor(shifts)))
    assert found.shape == x.shape
    assert torch.equal(found, by_pixel(x, mirrored, shifts))


@given(st.lists(st.booleans(), min_size=1, max_size=5))
def test_mirroring_alone_twice_is_nothing(mirrored: list[bool]) -> None:
    x, drawn = images(len(mirrored)), torch.tensor(mirrored)
    once = augment(x, Draws(drawn, None))
    assert torch.equal(once, by_pixel(x, mirrored, [(0, 0)] * len(mirrored)))
    assert torch.equal(augment(once, Draws(drawn, None)), x)


@given(st.integers(1, 4), SHIFTS, SHIFTS)
def test_there_and_back_loses_what_went_over_the_edge_and_nothing_else(
    count: int, down: int, right: int
) -> None:
    x = images(count)
    shifts = torch.tensor([[down, right]] * count)
    back = moved(moved(x, shifts), -shifts)
    assert torch.equal(back[back > 0], x[back > 0])
    stayed = max(0, 5 - abs(down)) * max(0, 4 - abs(right))
    assert int((back > 0).sum()) == count * 3 * stayed


def test_what_comes_in_is_black_on_every_edge() -> None:
    x = torch.ones(4, 1, 3, 3)
    found = moved(x, torch.tensor([[1, 0], [-1, 0], [0, 1], [0, -1]]))
    for image, black in zip(
        found[:, 0], (lambda i: i[0], lambda i: i[-1], lambda i: i[:, 0], lambda i: i[:, -1]), strict=True
    ):
        assert black(image).tolist() == [0, 0, 0]
        assert image.sum() == 6


def test_a_shift_of_nothing_is_the_image() -> None:
    x = images(3)
    assert torch.equal(moved(x, torch.zeros(3, 2, dtype=torch.int64)), x)
    assert torch.equal(
        augment(x, Draws(torch.zeros(3, dtype=torch.bool), torch.zeros(3, 2, dtype=torch.int64))), x
    )
    assert augment(x, Draws(None, None)) is x, "off, it costs nothing"


def test_the_images_given_stay_as_they_are() -> None:
    x = images(4)
    before = x.clone()
    augment(
        x,
        Draws(
            torch.tensor([True] * 4), torch.tensor([[1, -2]] * 4), torch.tensor([[0.5, 0.5, 0.5, 0.5]] * 4)
        ),
    )
    assert torch.equal(x, before)


def test_moved_images_lie_as_the_nets_read_them() -> None:
    assert moved(images(4), torch.ones(4, 2, dtype=torch.int64)).is_contiguous(
        memory_format=torch.channels_last
    )


def test_no_images_is_no_error() -> None:
    drawn = Draws.make(0, True, 2, 0.5, torch.Generator())
    assert augment(images(0), drawn).shape == (0, 3, 5, 4)


@pytest.mark.parametrize("crop", [1.0, 0.5])
@pytest.mark.parametrize(("mirror", "shift"), [(False, 0), (True, 0), (False, 3), (True, 3)])
def test_what_is_off_draws_nothing(mirror: bool, shift: int, crop: float) -> None:
    generator = torch.Generator().manual_seed(5)
    before = generator.get_state()
    drawn = Draws.make(7, mirror, shift, crop, generator)
    assert (drawn.mirrored is not None, drawn.shifts is not None, drawn.pieces is not None) == (
        mirror,
        shift > 0,
        crop < 1,
    )
    assert torch.equal(before, generator.get_state()) == (not mirror and not shift and crop == 1)


@given(st.integers(0, 2**40), st.integers(1, 64))
def test_draws_follow_from_the_generator_alone(seed: int, count: int) -> None:
    once, again = (Draws.make(count, True, 4, 0.3, torch.Generator().manual_seed(seed)) for _ in range(2))
    torch.rand(1)  # the global generator has no say
    for a, b in zip(vars(once).values(), vars(again).values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("shift", [1, 4])
def test_every_shift_is_as_likely_and_half_are_mirrored(shift: int) -> None:
    count = 20_000
    drawn = Draws.make(count, True, shift, 1.0, torch.Generator().manual_seed(0))
    assert drawn.mirrored is not None and drawn.shifts is not None
    assert float(drawn.mirrored.float().mean()) == pytest.approx(0.5, abs=0.02)
    assert (int(drawn.shifts.min()), int(drawn.shifts.max())) == (-shift, shift)
    for column in drawn.shifts.T:
        shares = torch.bincount(column + shift) / count
        assert float((shares - 1 / (2 * shift + 1)).abs().max()) < 0.02
    assert abs(float(torch.corrcoef(drawn.shifts.T.float())[0, 1])) < 0.03, "down and right are drawn apart"


@given(st.floats(0.05, 0.99), st.integers(0, 2**40))
def test_pieces_lie_in_the_image_and_are_as_large_as_asked(least: float, seed: int) -> None:
    drawn = Draws.make(64, False, 0, least, torch.Generator().manual_seed(seed)).pieces
    assert drawn is not None
    centre, size = drawn[:, :2], drawn[:, 2:]
    assert float((centre - size / 2).min()) > -1e-6 and float((centre + size / 2).max()) < 1 + 1e-6
    shorter = size.amin(1) / size.amax(1)
    whole = size.amax(1) < 1
    assert float((size.prod(1) - least)[whole].min()) > -1e-6 if whole.any() else True
    assert float(shorter.min()) >= 0.75 - 1e-6


def test_a_piece_is_the_part_of_the_image_that_it_says() -> None:
    """The upper right quarter of an image that rises evenly both ways, at the middles of its pixels."""
    down, right = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    x = torch.stack([down, right])[None]
    found = cut(x, torch.tensor([[0.25, 0.75, 0.5, 0.5]]))
    middles = (torch.arange(8.0) + 0.5) / 2 - 0.5
    torch.testing.assert_close(found[0, 0], middles.clamp(min=0)[:, None].expand(8, 8))
    torch.testing.assert_close(found[0, 1], (middles + 4).clamp(max=7)[None].expand(8, 8))


def test_the_whole_image_as_a_piece_is_the_image() -> None:
    x = images(3)
    torch.testing.assert_close(cut(x, torch.tensor([[0.5, 0.5, 1.0, 1.0]] * 3)), x)
