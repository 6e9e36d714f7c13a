"""The access ladder: what is shown at each level, and names that are none."""

import pytest
import torch

from zooaudit.errors import ConfigError
from zooaudit.suspects.access import LADDER, Access

ANSWER = torch.tensor([[0.61, 0.27, 0.08, 0.04]])


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("probabilities", [0.61, 0.27, 0.08, 0.04]),
        ("top-2", [0.61, 0.27, 0, 0]),
        ("top-9", [0.61, 0.27, 0.08, 0.04]),
        ("rounded-1", [0.6, 0.3, 0.1, 0.0]),
        ("rounded-0", [1, 0, 0, 0]),
        ("label", [1, 0, 0, 0]),
    ],
)
def test_what_is_told(name: str, result: list[float]) -> None:
    assert Access.named(name).reduced(ANSWER).tolist() == [pytest.approx(result)]
    assert Access.named(name).name == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "top",
        "top-0",
        "top-x",
        "label-1",
        "rounded",
        "rounded--1",
        "rounded-8",
        "logits",
        "probabilities-2",
    ],
)
def test_unknown_access_levels_are_refused_with_what_there_is(name: str) -> None:
    with pytest.raises(ConfigError, match=r"expected|unknown"):
        Access.named(name)


def test_every_access_level_has_its_name_back_and_reducing_twice_changes_nothing() -> None:
    answers = torch.randn(3, 2, 5, 2, 10, generator=torch.Generator().manual_seed(1)).softmax(-1)
    for access in LADDER:
        assert Access.named(access.name) == access
        reduced = access.reduced(answers)
        assert reduced.shape == answers.shape and torch.equal(access.reduced(reduced), reduced)
    assert len(set(LADDER)) == len(LADDER)
