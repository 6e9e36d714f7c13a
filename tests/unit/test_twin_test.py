"""The twin test: thieves are found and innocents are not, whatever they tell; candidates
are treated alike; what is off is found."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.support.makers import CHECKS, LOOKS, QUESTIONS, Affine, make_twin_test, near, peer
from zooaudit.auditing.twin_step import Pools, natural_images, order
from zooaudit.config import TwinTestConfig
from zooaudit.data.images import Dataset, to_unit
from zooaudit.errors import AnswersError, ConfigError, DataError
from zooaudit.suspects.access import LADDER, Access
from zooaudit.suspects.blackbox import Recorded, TorchBlackBox
from zooaudit.verdict import wording
from zooaudit.verdict.decision import Decision
from zooaudit.verdict.examined import FOREIGN, NATURAL, NO_CLASS, Candidate, Examined
from zooaudit.verdict.exchangeable import SAME, examined, spoken
from zooaudit.verdict.hub import hub_of
from zooaudit.verdict.statistic import Comparison, features, standardised
from zooaudit.verdict.twin_test import TwinTest


@pytest.fixture(scope="module")
def peers_test() -> TwinTest:
    return make_twin_test()


def box(model: torch.nn.Module) -> TorchBlackBox:
    return TorchBlackBox(model, 4)


def answers_of(test: TwinTest, model: torch.nn.Module) -> Tensor:
    return box(model).ask(test.questions())


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


# the statistic, by hand and by its symmetry


def test_the_statistic_by_hand() -> None:
    """Without references a cosine after the candidates' mean; with them, in the metric of
    their inverse second moments."""
    generator = np.random.default_rng(2)
    candidates, references, suspect = (
        generator.normal(size=(4, 6)),
        generator.normal(size=(3, 6)),
        generator.normal(size=6),
    )
    mean = candidates.mean(0)
    own, rest, others = candidates - mean, suspect - mean, references - mean
    plain = [float(c @ rest / np.linalg.norm(c) / np.linalg.norm(rest)) for c in own]
    np.testing.assert_allclose(Comparison(candidates, references[:0], 0, ()).of(suspect), plain)
    scale = 1 / np.sqrt((others**2).mean(0) + 0.3 * (others**2).mean())
    own, rest, others = own * scale, rest * scale, others * scale
    level = 0.1 * np.trace(others @ others.T) / 3
    metric = np.linalg.inv(np.eye(6) + others.T @ others / level)
    expected = [float(c @ metric @ rest / np.sqrt((c @ metric @ c) * (rest @ metric @ rest))) for c in own]
    np.testing.assert_allclose(Comparison(candidates, references, 3, tuple("abc")).of(suspect), expected)
    foretold = generator.normal(size=(4, 6))
    learnt = (foretold - foretold.mean(0)) * scale
    both = [c / np.linalg.norm(c) + d / np.linalg.norm(d) for c, d in zip(own, learnt, strict=True)]
    expected = [float(c @ metric @ rest / np.sqrt((c @ metric @ c) * (rest @ metric @ rest))) for c in both]
    np.testing.assert_allclose(
        Comparison(candidates, references, 3, tuple("abc"), foretold).of(suspect), expected
    )


def test_a_left_out_reference_takes_all_of_its_rows_along() -> None:
    generator = np.random.default_rng(3)
    candidates, rows, groups = (
        generator.normal(size=(5, 8)),
        generator.normal(size=(7, 8)),
        ("a", "b", "b", "a", "b", "b", ""),
    )
    found = Comparison(candidates, rows, 3, groups).left_out()
    scale = Comparison(candidates, rows, 3, groups).scale
    for r in range(3):
        kept = np.array(groups) != groups[r]
        own, rest, others = ((x - candidates.mean(0)) * scale for x in (candidates, rows[r], rows[kept]))
        level = 0.1 * np.trace(others @ others.T) / len(others)
        metric = np.linalg.inv(np.eye(8) + others.T @ others / level)
        np.testing.assert_allclose(
            found[r], [c @ metric @ rest / np.sqrt((c @ metric @ c) * (rest @ metric @ rest)) for c in own]
        )


def swapped(test: TwinTest, i: int) -> TwinTest:
    """Victim and twin i exchanged."""
    rows = list(range(len(test.candidates)))
    rows[0], rows[i] = i, 0
    assert test.behind is not None
    assert test.predicted is not None
    changed = {
        "answers": test.answers[rows],
        "behind": test.behind[:, rows],
        "predicted": test.predicted[rows],
    }
    return replace(test, candidates=tuple(test.candidates[r] for r in rows), **changed)


@settings(max_examples=25)
@given(
    st.sampled_from([*LADDER, Access("top", 2)]),
    st.integers(1, 7),
    st.sampled_from([3, 4, 6]),
    st.booleans(),
    st.integers(2000, 2100),
)
def test_swapping_victim_and_twin_swaps_their_statistics_and_no_other(
    access: Access, i: int, columns: int, mixed: bool, seed: int
) -> None:
    test = make_twin_test(twins=7, references=5)
    if mixed:
        families = tuple(FOREIGN if q >= CHECKS and q % 2 else NATURAL for q in range(QUESTIONS))
        test = replace(test, families=families)
    generator = torch.Generator().manual_seed(seed)
    suspect = torch.randn(QUESTIONS, columns, generator=generator).mul(2).softmax(1)
    for queries in LOOKS:
        before, after = (
            t.statistics(access.reduced(suspect), access, queries) for t in (test, swapped(test, i))
        )
        expected = before.copy()
        expected[[0, i]] = before[[i, 0]]
        np.testing.assert_allclose(after, expected, atol=1e-6)
        assert before.std() > 0.5, "a statistic that tells nothing proves nothing"


def test_the_victims_rank_is_uniform_over_innocents() -> None:
    """Each candidate in turn as the victim: over all, each place comes about alike."""
    test = make_twin_test(twins=9)
    first = np.zeros(10)
    for seed in range(2000, 2060):
        first[int(test.statistics(answers_of(test, peer(seed, 0.9)), Access(), test.budget).argmax())] += 1
    assert first.max() <= 20, first


def test_features_of_other_classes_need_no_common_columns() -> None:
    answers = torch.randn(30, 5, generator=torch.Generator().manual_seed(0)).softmax(1)
    assert np.allclose(
        features(answers, Access(), False), features(answers[:, [3, 1, 4, 0, 2]], Access(), False)
    )
    assert not np.allclose(features(answers, Access()), features(answers[:, [3, 1, 4, 0, 2]], Access()))


class Finer(torch.nn.Module):
    """A model with a class more: the last one split in two."""

    def __init__(self, model: Affine) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        p = self.model(x).softmax(1)
        return torch.cat([p[:, :3], p[:, 3:] * 0.6, p[:, 3:] * 0.4], 1)


def test_a_suspect_with_other_classes_is_compared_by_geometry(peers_test: TwinTest) -> None:
    assert (
        peers_test.judge(
            TorchBlackBox(Finer(near(0, 1, 0.05)), 5).ask(peers_test.questions())
        ).verdict.decision
        is Decision.STOLEN
    )
    assert (
        peers_test.judge(TorchBlackBox(Finer(peer(2003)), 5).ask(peers_test.questions())).verdict.decision
        is Decision.NOT_SHOWN
    )


def test_what_questions_weigh_adds_up_to_the_lead(peers_test: TwinTest) -> None:
    weighed = peers_test.weights(answers_of(peers_test, near(0, 3)), Access(), peers_test.budget)
    assert weighed.shape == (QUESTIONS,) and np.abs(weighed).sum() == pytest.approx(1) and weighed.sum() > 0.9
    np.testing.assert_allclose(
        standardised(np.array([[1.0, 2, 3], [5, 5, 5]])), [[-(1.5**0.5), 0, 1.5**0.5], [0, 0, 0]]
    )


# exchangeability and hubs


def checked(test: TwinTest) -> tuple[str, tuple[str, ...]]:
    return spoken(test.exchangeability)


def test_an_honest_kit_is_not_refused(peers_test: TwinTest) -> None:
    assert checked(peers_test)[0] == ""
    assert all(
        row["state"] != "refused" for row in wording.checked(peers_test.exchangeability, peers_test.hub())
    )


def with_answers(test: TwinTest, models: dict[int, Affine]) -> TwinTest:
    """Some candidates are other models."""
    answers = test.answers.clone()
    for i, model in models.items():
        answers[i] = answers_of(test, model)
    accuracy = (answers.argmax(-1) == test.labels).double().mean(-1).tolist()
    candidates = tuple(Candidate(c.id, a) for c, a in zip(test.candidates, accuracy, strict=True))
    return replace(test, answers=answers, candidates=candidates)


@pytest.mark.parametrize(
    ("one", "other", "says"), [(3, 5, "twins 3 and 5 are one"), (0, 4, "twin 4 is the victim")]
)
def test_twins_that_are_one_model_are_found(peers_test: TwinTest, one: int, other: int, says: str) -> None:
    answers = peers_test.answers.clone()
    answers[other] = answers[one] + SAME / 2
    refused, _ = checked(replace(peers_test, answers=answers))
    assert says in refused and "ignores its seed" in refused
    found = replace(peers_test, answers=answers).examine(box(near(0, 1)))
    assert found.verdict.decision is Decision.CANNOT_TELL and "not exchangeable" in found.verdict.reason


def test_twins_that_start_from_the_victims_weights_are_found(peers_test: TwinTest) -> None:
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(19, *peers_test.answers[0].shape, generator=generator) * 0.3
    near_it = torch.cat([peers_test.answers[:1], (peers_test.answers[:1].log() + noise).softmax(-1)])
    refused, _ = checked(replace(peers_test, answers=near_it))
    assert "mean distance to the other candidates" in refused and "start from the victim's weights" in refused


def test_a_victim_trained_on_other_data_is_found(peers_test: TwinTest) -> None:
    refused, _ = checked(with_answers(peers_test, {0: peer(0, 2.5)}))
    assert "was the victim trained on other data" in refused


def test_a_victim_distilled_from_somebody_elses_model_is_found(peers_test: TwinTest) -> None:
    """A frame: an innocent's model, softened, is called the victim."""
    refused, cautions = checked(
        with_answers(peers_test, {0: near(2005, 1, 0.05), **{i: peer(5000 + i, 0.25) for i in range(1, 20)}})
    )
    assert refused, cautions


def test_two_candidates_are_too_few_to_check(peers_test: TwinTest) -> None:
    assert make_twin_test(twins=1).exchangeability == ()
    assert examined(peers_test.answers[:3], [0.9, 0.9, 0.9], peers_test.reference_answers[:0])


def test_a_hub_is_found_and_must_be_exceeded(peers_test: TwinTest) -> None:
    quiet = np.random.default_rng(0).normal(size=(16, 20))
    assert not hub_of(quiet).is_one
    loud = quiet.copy()
    loud[:, 0] = np.linspace(2.0, 4.0, 16)
    hub = hub_of(loud)
    assert hub.is_one and hub.first > 8
    assert (hub.beyond(3.0).above, hub.beyond(5.0).above) == (8, 0) and hub.beyond(5.0).p_value == 1 / 17
    assert not hub_of(np.empty((0, 20))).is_one
    row = wording.checked(peers_test.exchangeability, hub)[-1]
    assert row["check"] == "resembles many models" and row["state"] == "caution"


def test_a_victim_that_references_were_made_of_is_a_hub_and_accuses_only_what_exceeds_them(
    peers_test: TwinTest,
) -> None:
    references = torch.stack([answers_of(peers_test, near(0, 100 + i, 0.6)) for i in range(16)])
    hubbed = replace(peers_test, reference_answers=references)
    assert hubbed.hub().is_one
    found = hubbed.judge(answers_of(peers_test, peer(2006)))
    assert found.verdict.decision is not Decision.STOLEN
    if found.verdict.rank is not None:
        assert found.verdict.beyond is not None and found.verdict.beyond.references == 16


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
    with pytest.raises(
        AnswersError, match="looks like label; expected probabilities, as they are to be read"
    ):
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
    with pytest.raises(AnswersError, match="is said to tell"):
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
    assert [int(c) for c in peers_test.other_order(moved)] == [1, 3, 0, 2]
    assert (
        peers_test.other_order(answers_of(peers_test, peer(0)))
        == ()
        == peers_test.other_order(torch.rand(QUESTIONS, 5))
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
