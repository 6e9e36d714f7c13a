"""Whether a victim and its twins can be exchanged, and hubs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.support.makers import Affine, make_twin_test, near, peer
from tests.support.twin_tests import answers_of, box
from zooaudit.verdict import wording
from zooaudit.verdict.decision import Decision
from zooaudit.verdict.examined import Candidate
from zooaudit.verdict.exchangeable import SAME, examined, spoken
from zooaudit.verdict.hub import hub_of
from zooaudit.verdict.twin_test import TwinTest


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
