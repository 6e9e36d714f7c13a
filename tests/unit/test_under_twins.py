"""Where the paper's measures put the victim among its twins."""

import pytest
import torch

from zooaudit.studies.under_twins import rank_p, raw


@pytest.mark.parametrize(
    ("scores", "p"),
    [
        ([3.0, 1.0, 2.0], 1 / 3),
        ([1.0, 2.0, 3.0], 1.0),
        ([2.0, 1.0, 3.0, 0.0], 0.5),
        ([1.0, 1.0, 0.0], 2 / 3),
        ([0.0] * 20, 1.0),
    ],
)
def test_the_victim_is_first_in_the_list_and_ties_count_against_an_accusation(
    scores: list[float], p: float
) -> None:
    assert rank_p(scores) == pytest.approx(p)


def test_raw_fingerprints_are_compared_view_by_view() -> None:
    one, other = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    views = torch.stack([one, other]).view(2, 2, 1, 2)
    assert raw(views, views) == pytest.approx(1.0)
    assert raw(views, views.flip(0)) == pytest.approx(0.0)
