"""A victim behind a defence: a kit that knows of it compares suspects with what the defence shows, too."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.support.makers import make_twin_test, near, peer
from tests.support.twin_tests import answers_of
from zooaudit.config import TwinTestConfig
from zooaudit.errors import ConfigError
from zooaudit.suspects.access import Access
from zooaudit.verdict.decision import Decision
from zooaudit.verdict.stored import described, read, tensors_of
from zooaudit.verdict.twin_test import TwinTest, only
from zooaudit.zoo.attacks.defended import shown


def behind(test: TwinTest, answers: Tensor) -> Tensor:
    """What the defence shows instead of each model's ``answers``."""
    return torch.stack([shown(test.questions(), given, "mad", 1.0) for given in answers])


@pytest.fixture
def knowing() -> TwinTest:
    test = make_twin_test(references=0)
    return replace(test, defended=behind(test, test.answers))


def learnt_behind(test: TwinTest, of: int, copy: int = 0) -> Tensor:
    """Answers of a thief who learnt what the defence showed of ``peer(of)``."""
    (found,) = behind(test, answers_of(test, near(of, copy, 0.02))[None])
    return found


def rank(test: TwinTest, answers: Tensor) -> int:
    return test.judge(answers, access=Access()).verdict.rank or 0


def test_who_learnt_behind_the_defence_is_found(knowing: TwinTest) -> None:
    found = [knowing.judge(learnt_behind(knowing, 0, i)).verdict.decision for i in range(4)]
    assert found == [Decision.STOLEN] * 4


def test_by_a_kit_that_does_not_know_of_it_he_is_not() -> None:
    plain = make_twin_test(references=0)
    assert 1 not in [rank(plain, learnt_behind(plain, 0, i)) for i in range(4)]


def test_so_is_who_took_the_weights(knowing: TwinTest) -> None:
    assert rank(knowing, answers_of(knowing, near(0, 1))) == 1


def test_innocents_are_not(knowing: TwinTest) -> None:
    plain = [rank(knowing, answers_of(knowing, peer(s))) for s in range(2000, 2040)]
    theirs = [rank(knowing, learnt_behind(knowing, s)) for s in range(2000, 2040)]
    assert sum(r == 1 for r in plain) <= 6 and sum(r == 1 for r in theirs) <= 6


def test_candidates_are_treated_alike(knowing: TwinTest) -> None:
    """Exchanged, two exchange their numbers, and no others change."""
    answers, order = learnt_behind(knowing, 0), [3, 1, 2, 0, *range(4, 20)]
    before = knowing.statistics(answers, Access(), 120)
    after = knowing.ordered(order).statistics(answers, Access(), 120)
    assert after.tolist() == pytest.approx(before[order].tolist())


def test_a_kit_holds_it_and_one_without_is_as_before(knowing: TwinTest) -> None:
    again = read(tensors_of(knowing), described(knowing))
    assert again.defended is not None and torch.equal(again.defended, knowing.defended)
    plain = make_twin_test(references=0)
    assert "test.defended" not in tensors_of(plain)
    assert read(tensors_of(plain), described(plain)).defended is None


def test_of_one_family_it_is_cut_alike(knowing: TwinTest) -> None:
    families = ("natural",) * 60 + ("foreign",) * 60
    part = only(replace(knowing, families=families), "foreign")
    assert part.defended is not None and knowing.defended is not None
    assert torch.equal(part.defended, knowing.defended[:, 60:])


@pytest.mark.parametrize(
    "bad", [{"defence": "moat"}, {"defence": "mad", "defence_budget": 3.0}, {"defence_budget": 0.5}]
)
def test_what_is_no_defence_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="defence"):
        TwinTestConfig(**bad)
