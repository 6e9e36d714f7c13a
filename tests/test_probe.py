"""The probe: a suspect is asked as long as it takes, and compared with nobody of its own kind."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.makers import CHECKS, STRANGERS, TELLING, make_probe, near, peer
from zooaudit.config import ProbeConfig
from zooaudit.data.images import Dataset, to_unit
from zooaudit.errors import AnswersError, ConfigError, DataError, NotEnoughModelsError
from zooaudit.fingerprint.access import LADDER, Access
from zooaudit.probing import order, pool, sizes, teaching
from zooaudit.suspects.blackbox import Recorded, TorchBlackBox
from zooaudit.verdict.calibrated import Call
from zooaudit.verdict.conformal import p_value
from zooaudit.verdict.predictive import predict
from zooaudit.verdict.probe import Answered, Examined, Probe


@pytest.fixture(scope="module")
def probe() -> Probe:
    return make_probe()


def box(model: torch.nn.Module) -> TorchBlackBox:
    return TorchBlackBox(model, 4)


def answers_of(probe: Probe, model: torch.nn.Module) -> Tensor:
    return box(model).ask(probe.questions())


def test_a_copy_is_called_stolen_long_before_the_budget(probe: Probe) -> None:
    suspect = box(near(0, 77))
    found = probe.examine(suspect)
    assert found.verdict.call is Call.STOLEN and found.verdict.p_value is not None and found.verdict.p_value <= 0.05
    assert found.queries == suspect.queries < found.budget == CHECKS + TELLING
    assert found.score > 0.5


@pytest.mark.parametrize("seed", [*range(200, 206), 104, 105])
def test_innocent_models_are_asked_everything_and_not_accused(probe: Probe, seed: int) -> None:
    for model in (peer(seed), near(seed, 0)):
        found = probe.examine(box(model))
        assert found.verdict.call is Call.NOT_SHOWN and found.queries == found.budget


def test_every_rung_of_the_ladder_tells_a_copy(probe: Probe) -> None:
    for access in LADDER:
        told = access.told(answers_of(probe, near(0, 78)))
        assert probe.examine(Recorded(told), access=access).verdict.call is Call.STOLEN, access.name
        assert probe.examine(Recorded(told)).access == (access if access.name != "top-3" else Access.seen(told))


def test_asking_everything_gives_no_larger_p(probe: Probe) -> None:
    early, whole = (probe.examine(box(near(0, 79)), early=early) for early in (True, False))
    assert whole.queries == whole.budget > early.queries
    assert whole.verdict.p_value <= early.verdict.p_value  # type: ignore[operator]
    assert torch.equal(whole.answers[: early.queries], early.answers)


def test_what_is_told_on_the_way(probe: Probe) -> None:
    seen: list[Examined] = []
    found = probe.examine(box(peer(201)), told=seen.append)
    assert [e.queries for e in seen] == probe.stops and seen[-1].verdict == found.verdict


def test_judging_answers_is_asking_to_the_bit(probe: Probe) -> None:
    found = probe.examine(box(near(0, 80)))
    again = probe.judge(found.answers)
    assert again.verdict == found.verdict and again.score == found.score


def test_by_hand(probe: Probe) -> None:
    """The oracle: peaks of running scores, rank among all, prediction for each family."""
    (witness,) = probe.at(Access())
    scale = witness.scale
    answers = answers_of(probe, peer(301))

    def peak(given: Tensor) -> float:
        parts = scale.discriminant.parts(given[CHECKS:]).numpy()
        running = [(parts[:q].sum() - m) / s for q, m, s in zip(scale.looks.queries, scale.looks.mean, scale.looks.deviation, strict=True)]
        return float(max(running))

    own, known = peak(answers), np.array([peak(a) for a in probe.references.answers])
    expected = p_value(own, known)
    for family in ("homologous", "look-alike"):
        ours = [i for i, m in enumerate(probe.references.models) if m.family == family]
        expected = max(expected, predict(known[ours], [probe.references.models[i].kin for i in ours]).p_value(own))
    assert probe.judge(answers).verdict.p_value == pytest.approx(expected, rel=1e-9)


def test_a_reference_is_not_compared_with_itself_nor_with_its_kin(probe: Probe) -> None:
    name = f"l{STRANGERS[0]}-1"
    answers = probe.references.answers[[m.id for m in probe.references.models].index(name)]
    assert probe.judge(answers).verdict.references == 24
    assert probe.judge(answers, apart=(name,)).verdict.references == 21
    assert probe.judge(answers, apart=("h30",)).verdict.references == 23


def test_who_does_not_do_the_task_is_not_judged(probe: Probe) -> None:
    always = torch.zeros(len(probe.images), 4)
    always[:, 2] = 1
    found = probe.examine(Recorded(always))
    assert found.verdict.call is Call.CANNOT_TELL and "degenerate" in found.verdict.reason
    assert found.queries == probe.stops[0], "no more is asked of it"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda a: a[:, :3],
        lambda a: a[: CHECKS + 5],
        lambda a: torch.cat([a, a[:1]]),
        lambda a: a * float("nan"),
        lambda a: a - 1,
        lambda a: a * 5,
    ],
    ids=["classes", "too few", "too many", "NaN", "negative", "too large"],
)
def test_answers_that_nobody_gives_are_refused(probe: Probe, spoil: object) -> None:
    with pytest.raises(AnswersError, match="expected"):
        probe.judge(spoil(answers_of(probe, peer(1))))  # type: ignore[operator]


def test_a_recording_that_ends_too_early_says_so(probe: Probe) -> None:
    with pytest.raises(AnswersError, match="30 rows"):
        probe.examine(Recorded(answers_of(probe, peer(1))[:30]))


def test_too_strong_a_claim_is_refused(probe: Probe) -> None:
    found = probe.examine(box(near(0, 81)), level=0.01)
    assert found.verdict.call is Call.CANNOT_TELL and "24 innocent references allow no p under 0.04" in found.verdict.reason


def test_copies_of_nothing_make_no_probe(probe: Probe) -> None:
    bare = replace(probe, copies=replace(probe.copies, models=(), answers=probe.copies.answers[:0]))
    with pytest.raises(NotEnoughModelsError):
        bare.examine(box(peer(1)))


def test_answers_are_not_read_as_more_than_they_tell(probe: Probe) -> None:
    """Labels read as probabilities: what an innocent model does not tell would be taken for what it answers."""
    labels = Access.named("label").told(answers_of(probe, peer(201)))
    with pytest.raises(AnswersError, match="looks like label; expected probabilities, as they are to be read"):
        probe.examine(Recorded(labels), access=Access())
    assert probe.examine(Recorded(labels), access=Access.named("label")).access.name == "label"
    whole = answers_of(probe, peer(201))
    assert probe.examine(Recorded(whole), access=Access.named("label")).verdict == probe.examine(Recorded(labels)).verdict


@pytest.mark.parametrize(
    ("claimed", "seen", "allowed"),
    [("top-3", "probabilities", True), ("top-1", "top-3", True), ("top-3", "top-1", False), ("rounded-2", "rounded-1", False),
     ("rounded-1", "rounded-2", True), ("rounded-1", "top-3", False), ("label", "rounded-1", True), ("probabilities", "label", False)],
)  # fmt: skip
def test_rungs_within_others(claimed: str, seen: str, allowed: bool) -> None:
    assert Access.named(claimed).within(Access.named(seen)) is allowed


@pytest.mark.parametrize("level", [0.0, -0.1, 0.5, 1.0, float("nan")])
def test_levels_that_are_none(probe: Probe, level: float) -> None:
    with pytest.raises(ConfigError, match="share of innocent models"):
        probe.examine(box(peer(1)), level=level)


def test_a_suspect_that_rounds_is_read_as_it_tells(probe: Probe) -> None:
    class Rounded(torch.nn.Module):
        def __init__(self, model: torch.nn.Module, access: Access) -> None:
            super().__init__()
            self.model, self.access = model, access

        def forward(self, x: Tensor) -> Tensor:
            return self.access.told(self.model(x).softmax(1))

    for access in LADDER:
        suspect = Rounded(near(0, 78), access)
        found = probe.examine(TorchBlackBox(suspect, 4, reading="told"), access=access)
        assert found.verdict.call is Call.STOLEN, access.name
        if access.name in ("top-1", "rounded-1"):
            with pytest.raises(AnswersError, match="by --access"):
                probe.examine(TorchBlackBox(suspect, 4, reading="guess"))
    with pytest.raises(AnswersError, match="is said to tell"):
        TorchBlackBox(near(0, 78), 4, reading="told").ask(probe.questions())


def test_access_is_seen_from_answers() -> None:
    answers = torch.randn(50, 10, generator=torch.Generator().manual_seed(1)).mul(3).softmax(1)
    for name in ("probabilities", "top-3", "top-1", "rounded-2", "rounded-1", "label"):
        assert Access.seen(Access.named(name).told(answers)).name == name


def test_checks_come_first_and_no_image_twice() -> None:
    asked = order(10, torch.tensor([3, 0, 7]), 4)
    assert asked.tolist() == [1, 2, 4, 5, 3, 0, 7]


def test_sizes_and_pool(digits: Dataset) -> None:
    assert sizes(ProbeConfig(), 5000) == (100, 400) and sizes(ProbeConfig(), 225) == (45, 180) and sizes(ProbeConfig(), 25) == (5, 20)
    images = pool(digits, 3)
    assert (
        len(images) == 225 and torch.equal(images.images, pool(digits, 3).images) and not torch.equal(images.images, pool(digits, 4).images)
    )
    few = replace(digits, test=digits.test.take(torch.arange(40)))
    with pytest.raises(DataError, match="half of the 40 test images is 20; a probe needs 25"):
        pool(few, 0)
    assert float(to_unit(images.images).max()) <= 1


@pytest.mark.parametrize(("strangers", "taught"), [(0, 0), (1, 0), (2, 0), (3, 0), (4, 1), (5, 2), (6, 3), (8, 4)])
def test_strangers_that_teach_are_few_enough_to_leave_three(strangers: int, taught: int) -> None:
    parents = [str(i) for i in range(strangers) for _ in range(2)]
    assert teaching(parents) == {str(i) for i in range(taught)}


@pytest.mark.parametrize("bad", [{"level": 0.5}, {"level": 0.0}, {"checks": 0}, {"queries": 0}])
def test_config_is_checked(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        ProbeConfig(**bad)  # type: ignore[arg-type]


def behind(answered: Answered, shift: float) -> Answered:
    """The same models as if an interface moved all their answers towards the first class."""
    moved = answered.answers.clone()
    moved[..., 0] += shift
    rows = tuple(replace(m, behind="shift") for m in answered.models)
    return Answered((*answered.models, *rows), torch.cat([answered.answers, moved / moved.sum(-1, keepdim=True)]))


def test_two_witnesses_must_agree(probe: Probe) -> None:
    """One learnt from models as they are, one behind an interface too: the verdict is of the one that holds less against the suspect."""
    both = replace(probe, copies=behind(probe.copies, 0.4), innocent=behind(probe.innocent, 0.4))
    assert len(both.at(Access())) == 2 and len(probe.at(Access())) == 1 and len(both.copies.plain) == len(probe.copies)
    for suspect in (*(near(0, i) for i in range(70, 80)), *(peer(i) for i in range(300, 310))):
        answers = answers_of(both, suspect)
        found = both.judge(answers)
        if found.verdict.call is Call.CANNOT_TELL:
            continue
        alone = [
            both._heard(i, answers, Access(), both.references.measured(w.scale, both.checks), 0.05, "")
            for i, w in enumerate(both.at(Access()))
        ]
        ps = [a.verdict.p_value for a in alone]
        assert (found.verdict.call is Call.STOLEN) == all(a.verdict.call is Call.STOLEN for a in alone)
        assert found.verdict.p_value in ps and (found.verdict.call is not Call.STOLEN or found.verdict.p_value == max(p for p in ps if p))
        assert both.score(answers) == min(a.score for a in alone)
        assert found.peak == alone[found.witness].peak
    assert both.judge(answers_of(both, near(0, 70))).verdict.call is Call.STOLEN
    assert both.innocent.groups == [*range(len(probe.innocent)), *range(len(probe.innocent))]
