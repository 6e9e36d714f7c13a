"""The twin test: thieves are found and innocents are not, whatever they tell; candidates
are treated alike; what is off is found."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.support.makers import LOOKS, QUESTIONS, make_twin_test, near, peer
from tests.support.twin_tests import answers_of, box
from zooaudit.auditing.twin_questions import Pools, natural_images, order
from zooaudit.config import TwinTestConfig
from zooaudit.data.images import Dataset, to_unit
from zooaudit.errors import AnswersError, ConfigError, DataError
from zooaudit.suspects.access import LADDER, Access
from zooaudit.suspects.blackbox import Recorded, TorchBlackBox
from zooaudit.verdict.class_order import other_order
from zooaudit.verdict.decision import Decision
from zooaudit.verdict.examined import FOREIGN, NATURAL, NO_CLASS, Examined
from zooaudit.verdict.twin_test import TwinTest


def test_a_copy_is_called_stolen_before_the_budget(peers_test: TwinTest) -> None:
    suspect = box(near(0, 77))
    found = peers_test.examine(suspect)
    assert (
        found.verdict.decision is Decision.STOLEN
        and found.verdict.p_value == found.verdict.smallest_p == 0.05
    )
    assert found.queries == suspect.queries == found.verdict.queries == LOOKS[0] < peers_test.budget
    whole = peers_test.examine(box(near(0, 77)), early=False)
    assert whole.queries == peers_test.budget and (whole.verdict.decision, whole.verdict.rank) == (
        found.verdict.decision,
        found.verdict.rank,
    )


def test_few_innocents_are_accused_and_all_that_stood_out_for_no_one_are_asked_everything(
    peers_test: TwinTest,
) -> None:
    found = [peers_test.examine(box(peer(2000 + i))) for i in range(40)]
    assert sum(e.verdict.decision is Decision.STOLEN for e in found) <= 6, (
        "expected 2; 7 come about with chance .003"
    )
    assert all(e.queries == peers_test.budget for e in found if e.verdict.decision is Decision.NOT_SHOWN)


def test_a_copy_is_found_at_every_access_level(peers_test: TwinTest) -> None:
    for access in LADDER:
        reduced = access.reduced(answers_of(peers_test, near(0, 78, 0.05)))
        assert peers_test.examine(Recorded(reduced), access=access).verdict.decision is Decision.STOLEN, (
            access.name
        )


def test_judging_answers_is_asking_to_the_bit(peers_test: TwinTest) -> None:
    seen: list[Examined] = []
    found = peers_test.examine(box(near(2001, 0)), on_look=seen.append)
    assert peers_test.judge(found.answers).verdict == found.verdict == seen[-1].verdict
    assert [e.queries for e in seen] == list(LOOKS)


def test_the_horizon_is_one_of_the_looks(peers_test: TwinTest) -> None:
    found = peers_test.examine(box(peer(2002)), horizon=LOOKS[1])
    assert found.queries == LOOKS[1] and found.verdict.budget == LOOKS[1] and found.verdict.settled
    with pytest.raises(ConfigError, match="50 questions; expected one of 40, 80, 120"):
        peers_test.examine(box(peer(2002)), horizon=50)


# what nobody answers


@pytest.mark.parametrize(
    "spoil",
    [
        lambda a: a[:, :1],
        lambda a: a[: LOOKS[0] - 1],
        lambda a: torch.cat([a, a[:1]]),
        lambda a: a * float("nan"),
        lambda a: a - 1,
        lambda a: a * 5,
    ],
    ids=["one class", "too few", "too many", "NaN", "negative", "too large"],
)
def test_answers_that_nobody_gives_are_refused(peers_test: TwinTest, spoil: object) -> None:
    with pytest.raises(AnswersError, match="expected"):
        peers_test.judge(spoil(answers_of(peers_test, peer(1))))


def test_who_gives_one_label_to_everything_is_not_judged(peers_test: TwinTest) -> None:
    always = torch.zeros(QUESTIONS, 4)
    always[:, 2] = 1
    found = peers_test.examine(Recorded(always))
    assert found.verdict.decision is Decision.CANNOT_TELL and "degenerate" in found.verdict.reason
    assert found.queries == LOOKS[0], "no more is asked of it"


def test_too_strong_a_claim_is_refused(peers_test: TwinTest) -> None:
    found = peers_test.examine(box(near(0, 81)), level=0.01)
    assert (
        found.verdict.decision is Decision.CANNOT_TELL
        and "19 twins allow no p under 0.05" in found.verdict.reason
    )
    nobody = make_twin_test(twins=0).examine(box(near(0, 81)))
    assert nobody.verdict.decision is Decision.CANNOT_TELL and "no twins" in nobody.verdict.reason


def test_answers_are_not_read_as_more_than_they_tell(peers_test: TwinTest) -> None:
    """Labels read as probabilities: what an innocent model does not tell would be taken for
    what it answers."""
    labels = Access.named("label").reduced(answers_of(peers_test, peer(2001)))
    with pytest.raises(AnswersError, match="looks like label; expected probabilities, as stated"):
        peers_test.examine(Recorded(labels), access=Access())
    assert peers_test.examine(Recorded(labels)).access.name == "label"
    whole = answers_of(peers_test, peer(2001))
    by_label = peers_test.examine(Recorded(whole), access=Access.named("label")).verdict
    assert by_label == peers_test.examine(Recorded(labels), access=Access.named("label")).verdict


@pytest.mark.parametrize(
    ("claimed", "seen", "allowed"),
    [
        ("top-3", "probabilities", True),
        ("top-1", "top-3", True),
        ("top-3", "top-1", False),
        ("rounded-2", "rounded-1", False),
        ("rounded-1", "rounded-2", True),
        ("rounded-1", "top-3", False),
        ("label", "rounded-1", True),
        ("probabilities", "label", False),
    ],
)
def test_access_levels_within_others(claimed: str, seen: str, allowed: bool) -> None:
    assert Access.named(claimed).within(Access.named(seen)) is allowed


def test_a_suspect_that_rounds_is_read_as_it_tells(peers_test: TwinTest) -> None:
    class Rounded(torch.nn.Module):
        def __init__(self, model: torch.nn.Module, access: Access) -> None:
            super().__init__()
            self.model, self.access = model, access

        def forward(self, x: Tensor) -> Tensor:
            return self.access.reduced(self.model(x).softmax(1))

    for access in LADDER:
        suspect = Rounded(near(0, 78, 0.05), access)
        found = peers_test.examine(TorchBlackBox(suspect, 4, reading="stated"), access=access)
        assert found.verdict.decision is Decision.STOLEN, access.name
        if access.name in ("top-1", "rounded-1"):
            with pytest.raises(AnswersError, match="by --access"):
                peers_test.examine(TorchBlackBox(suspect, 4, reading="guess"))
    with pytest.raises(AnswersError, match="is stated to give"):
        TorchBlackBox(near(0, 78), 4, reading="stated").ask(peers_test.questions())


def test_access_is_seen_from_answers() -> None:
    answers = torch.randn(50, 10, generator=torch.Generator().manual_seed(1)).mul(3).softmax(1)
    for name in ("probabilities", "top-3", "top-1", "rounded-2", "rounded-1", "label"):
        assert Access.seen(Access.named(name).reduced(answers)).name == name


def test_a_recording_that_ends_too_early_says_so(peers_test: TwinTest) -> None:
    with pytest.raises(AnswersError, match="30 rows"):
        peers_test.examine(Recorded(answers_of(peers_test, peer(1))[:30]))


def test_another_order_of_classes_is_found(peers_test: TwinTest) -> None:
    moved = answers_of(peers_test, peer(0))[:, [2, 0, 3, 1]]
    assert [int(c) for c in other_order(peers_test, moved)] == [1, 3, 0, 2]
    assert (
        other_order(peers_test, answers_of(peers_test, peer(0)))
        == ()
        == other_order(peers_test, torch.rand(QUESTIONS, 5))
    )


# which questions are asked


def test_checks_come_first_families_are_mixed_and_no_image_comes_twice() -> None:
    families = (NATURAL,) * 20 + (FOREIGN,) * 10
    labels = torch.tensor([1] * 20 + [NO_CLASS] * 10)
    of = Pools(torch.zeros(30, 1, 1, 1, dtype=torch.uint8), labels, families)
    config = TwinTestConfig(control_questions=4, looks=(10, 16), natural=1, foreign=1)
    asked, checks, looks = order(config, of, torch.arange(30.0))
    rows = asked.tolist()
    assert checks == 4 and looks == (10, 16) and rows[:4] == [0, 1, 2, 3] and len(set(rows)) == 16
    assert [families[i] for i in rows[:10]].count(FOREIGN) == 5 and rows[4] == 29, "most telling first"


def test_natural_questions_are_in_random_order_and_there_must_be_some(digits: Dataset) -> None:
    images = natural_images(digits, 3, 3000)
    assert len(images) == 225 and torch.equal(images.images, natural_images(digits, 3, 3000).images)
    assert not torch.equal(images.images, natural_images(digits, 4, 3000).images)
    few = replace(digits, test=digits.test.take(torch.arange(40)))
    with pytest.raises(DataError, match="half of the 40 test images is 20; a verdict needs 25"):
        natural_images(few, 0, 3000)
    assert float(to_unit(images.images).max()) <= 1


@pytest.mark.parametrize(
    "bad",
    [
        {"level": 0.5},
        {"level": 0.0},
        {"control_questions": 0},
        {"looks": ()},
        {"looks": (3, 2)},
        {"pool": 3},
        {"natural": 0},
    ],
)
def test_config_is_checked(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        TwinTestConfig(**bad)
