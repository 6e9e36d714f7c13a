"""The access ladder: what is told at each rung, and names that are none."""

import pytest
import torch

from zooaudit.errors import ConfigError
from zooaudit.suspects.access import LADDER, Access

ANSWER = torch.tensor([[0.61, 0.27, 0.08, 0.04]])


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("probabilities", [0.61, 0.27, 0.08, 0.04]),
        ("top-2", [0.61, 0.27, 0, 0]),
        ("top-9", [0.61, 0.27, 0.08, 0.04]),
        ("rounded-1", [0.6, 0.3, 0.1, 0.0]),
        ("rounded-0", [1, 0, 0, 0]),
        ("label", [1, 0, 0, 0]),
    ],
)
def test_what_is_told(name: str, told: list[float]) -> None:
    assert Access.named(name).told(ANSWER).tolist() == [pytest.approx(told)]
    assert Access.named(name).name == name


@pytest.mark.parametrize(
    "name", ["", "top", "top-0", "top-x", "label-1", "rounded", "rounded--1", "rounded-8", "logits", "probabilities-2"]
)
def test_unknown_rungs_are_refused_with_what_there_is(name: str) -> None:
    with pytest.raises(ConfigError, match=r"expected|unknown"):
        Access.named(name)


def test_every_rung_of_the_ladder_has_its_name_back_and_telling_twice_tells_no_more() -> None:
    answers = torch.randn(3, 2, 5, 2, 10, generator=torch.Generator().manual_seed(1)).softmax(-1)
    for rung in LADDER:
        assert Access.named(rung.name) == rung
        told = rung.told(answers)
        assert told.shape == answers.shape and torch.equal(rung.told(told), told)
    assert len(set(LADDER)) == len(LADDER)
