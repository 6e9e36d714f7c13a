"""What the report says of the twin test, on suspects whose truth is known."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.calls import audited
from tests.support.makers import CHECKS, QUESTIONS, make_twin_test, near, peer
from zooaudit.config import ModifyConfig
from zooaudit.errors import ConfigError
from zooaudit.reporting import decisions
from zooaudit.reporting.findings import Outcome, way
from zooaudit.reporting.strips import Scale, strip
from zooaudit.verdict.decision import Decision
from zooaudit.verdict.examined import FOREIGN, LOG, NATURAL
from zooaudit.verdict.twin_test import TwinTest, only
from zooaudit.zoo.spec import ModelSpec, Role

LOGGED = (NATURAL,) * CHECKS + (LOG, NATURAL) * ((QUESTIONS - CHECKS) // 2)


def test_calls_are_counted_by_role_and_by_way(peer_specs: list[ModelSpec]) -> None:
    audit = audited(peer_specs, make_twin_test())
    thieves = decisions.called(audit, Role.PIRACY)
    assert (thieves.total, thieves.stolen, thieves.cannot_tell) == (3, 2, 0)
    assert thieves.queries == 40
    innocent = decisions.called(audit, Role.HOMOLOGOUS)
    assert (innocent.total, innocent.stolen, innocent.queries) == (2, 0, None)
    assert innocent.low == 0 and innocent.high == pytest.approx(1 - 0.025 ** (1 / 2))  # Clopper and Pearson's
    counted = {(c.role, c.way): (c.stolen, c.total) for c in decisions.by_way(audit)}
    assert counted == {
        (Role.PIRACY, "fine-tune, 1 epoch"): (1, 1),
        (Role.PIRACY, "prune, 50% of the weights"): (1, 1),
        (Role.PIRACY, "cloudleak, soft labels"): (0, 1),
        (Role.HOMOLOGOUS, "trained"): (0, 2),
        (Role.LOOK_ALIKE, "cloudleak, soft labels"): (0, 1),
    }


@pytest.mark.parametrize(
    ("kind", "strength", "expected"),
    [
        ("fine-tune", 20, "fine-tune, 20 epochs"),
        ("prune-channels", 0.3, "prune-channels, 30% of the channels"),
        ("int8", 8, "int8"),
        ("adversarial", 2, "adversarial, 2 iterations"),
    ],
)
def test_a_modification_is_said_with_its_strength(
    kind: Any, strength: float, expected: str, peer_specs: list[ModelSpec]
) -> None:
    assert way(replace(peer_specs[0], modification=ModifyConfig(kind, strength))) == expected


def test_nobody_is_known_nothing_of(peer_specs: list[ModelSpec]) -> None:
    audit = audited(peer_specs, make_twin_test())
    audit.suspects = audit.suspects[:3]
    nobody = decisions.called(audit, Role.LOOK_ALIKE)
    assert (nobody.total, nobody.low, nobody.high) == (0, 0.0, 1.0)


def test_wrong_calls_come_first_and_then_by_rank(peer_specs: list[ModelSpec]) -> None:
    # The first innocent is a thief's.
    models = [near(0, 1), near(0, 2), peer(2000), near(0, 3), peer(2001), peer(2002)]
    rows = decisions.call_rows(audited(peer_specs, make_twin_test(), models))
    assert [r.outcome for r in rows[:2]] == [Outcome.ACCUSED, Outcome.MISSED]
    assert rows[0].suspect.spec is peer_specs[3] and rows[1].suspect.spec is peer_specs[2]
    spared = [r.suspect.examined.verdict.rank or 0 for r in rows if r.outcome is Outcome.SPARED]
    assert spared == sorted(spared) and len(spared) == 2


def test_the_picture_has_every_twin_and_fills_who_is_called_stolen(peer_specs: list[ModelSpec]) -> None:
    audit = audited(peer_specs, make_twin_test())
    found = decisions.picture(audit)
    assert found.itself is not None and found.itself.filled
    assert list(found.families) == [Role.PIRACY, Role.HOMOLOGOUS, Role.LOOK_ALIKE]
    for rows in found.families.values():
        for row in rows:
            verdict = row.suspect.examined.verdict
            assert row.strip is not None and len(row.strip.twins) == 19
            assert row.strip.filled == (verdict.decision is Decision.STOLEN)
            ahead = sum(t >= row.strip.victim for t in row.strip.twins) + 1
            assert ahead == verdict.rank  # all are placed by the same look here
            assert f"rank {verdict.rank} of 20" in row.strip.alt
    everywhere = [
        x
        for rows in found.families.values()
        for r in rows
        if r.strip
        for x in (r.strip.victim, *r.strip.twins)
    ]
    assert min(everywhere) >= 4 and max(everywhere) <= 96


def test_suspects_are_drawn_though_nothing_can_be_told_of_the_victim_itself(
    peer_specs: list[ModelSpec],
) -> None:
    audit = audited(peer_specs, make_twin_test())
    audit.itself = replace(audit.itself, verdict=make_twin_test(twins=0).judge(audit.itself.answers).verdict)
    found = decisions.picture(audit)
    assert found.itself is None and found.anything


def test_more_suspects_than_fit_are_counted(
    peer_specs: list[ModelSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decisions, "MOST_STRIPS", 2)
    found = decisions.picture(audited(peer_specs, make_twin_test()))
    assert (len(found.families[Role.PIRACY]), found.hidden[Role.PIRACY], found.hidden[Role.HOMOLOGOUS]) == (
        2,
        1,
        0,
    )
    assert found.families[Role.PIRACY][0].outcome is Outcome.MISSED


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        (make_twin_test(twins=0), "the kit has no twins"),
        (make_twin_test(twins=9), "9 twins allow no p under 0.1"),
        (make_twin_test(), ""),
    ],
)
def test_a_kit_that_accuses_nobody_says_why(
    test: TwinTest, expected: str, peer_specs: list[ModelSpec]
) -> None:
    why = decisions.accuses_nobody(test)
    assert why.startswith(expected) and bool(why) == bool(expected)
    audit = audited(peer_specs, test)
    judged = [s.examined.verdict for s in audit.suspects]
    assert all(v.decision is Decision.CANNOT_TELL and v.reason == why for v in judged) == bool(expected)
    picture = decisions.picture(audit)
    assert (picture.itself is None) == bool(expected) and picture.anything != bool(expected)
    assert all((r.strip is None) == bool(expected) for rows in picture.families.values() for r in rows)


def test_twins_that_are_one_model_are_named_before_anybody_is_accused() -> None:
    test = make_twin_test()
    answers = test.answers.clone()
    answers[3] = answers[2]
    same = replace(test, answers=answers)
    assert "twins 2 and 3 are one" in decisions.accuses_nobody(same)
    row = next(r for r in decisions.checks(same) if r["check"] == "same model")
    assert row["state"] == "refused" and row["strip"] is None


def test_each_check_is_drawn_with_its_numbers() -> None:
    test = make_twin_test()
    rows = decisions.checks(test)
    assert [r["check"] for r in rows] == [*(c.name for c in test.exchangeability), "resembles many models"]
    accuracies = [c.accuracy for c in test.candidates]
    drawn = rows[0]["strip"]
    assert drawn.victim == Scale.over(accuracies).at(accuracies[0])
    assert drawn.twins == tuple(Scale.over(accuracies).at(a) for a in accuracies[1:])
    for check in test.exchangeability:
        assert check.numbers[0] == check.victim
        assert (min(check.numbers[1:]), max(check.numbers[1:])) == (check.low, check.high)
    assert len(test.hub().means) == 20
    assert test.hub().means[0] == pytest.approx(test.hub().statistics.mean())


def test_without_twins_nothing_is_checked() -> None:
    assert decisions.checks(make_twin_test(twins=0)) == []


def test_cautions_of_every_verdict_are_said_once(peer_specs: list[ModelSpec]) -> None:
    audit = audited(peer_specs, make_twin_test())
    for i, s in enumerate([*audit.suspects, audit]):
        name = "itself" if s is audit else "examined"
        found = getattr(s, name)
        setattr(
            s,
            name,
            replace(
                found,
                verdict=replace(found.verdict, cautions=("of the kit", *(["its own"] if i == 0 else []))),
            ),
        )
    assert decisions.shared_cautions(audit) == ("of the kit",)
    assert sorted(r.cautions for r in decisions.call_rows(audit)) == [()] * 5 + [("its own",)]


# A family of questions by itself


def test_a_family_alone_keeps_its_questions_in_order() -> None:
    test = make_twin_test(families=LOGGED)
    alone = only(test, LOG)
    rows = [i for i, f in enumerate(LOGGED) if f == LOG]
    assert torch.equal(alone.images, test.images[rows]) and torch.equal(alone.answers, test.answers[:, rows])
    assert torch.equal(alone.reference_answers, test.reference_answers[:, rows])
    assert alone.families == (LOG,) * len(rows)
    assert alone.looks == tuple(sum(i < look for i in rows) for look in test.looks)
    assert only(test, NATURAL).control_questions == CHECKS
    with pytest.raises(
        ConfigError, match="no question is of the family 'foreign'; expected one of natural, log"
    ):
        only(test, FOREIGN)


def test_what_the_query_log_tells_alone_needs_the_log(peer_specs: list[ModelSpec]) -> None:
    assert decisions.log_alone(audited(peer_specs, make_twin_test())) == []


def test_what_the_query_log_tells_alone(peer_specs: list[ModelSpec]) -> None:
    audit = audited(peer_specs, make_twin_test(families=LOGGED))
    found = {a.role: (a.first, a.total) for a in decisions.log_alone(audit)}
    assert found[Role.PIRACY][1] == 3 and found[Role.PIRACY][0] >= 2
    assert found[Role.HOMOLOGOUS] == (0, 2)
    # of the log's images alone: answers to all others do not change it
    for suspect in audit.suspects:
        answers = suspect.examined.answers.clone()
        answers[[i for i in range(len(answers)) if LOGGED[i] != LOG]] = 0.25
        suspect.examined = replace(suspect.examined, answers=answers)
    assert {a.role: (a.first, a.total) for a in decisions.log_alone(audit)} == found


# Where marks go


def test_places_keep_order_and_ticks_are_whole() -> None:
    scale = Scale.over([-2.3, 4.1, 0.5])
    assert scale.at(-2.3) == 4 and scale.at(4.1) == 96
    assert scale.at(0.9) == pytest.approx(50)
    assert [label for _, label in scale.ticks] == [
        "\N{MINUS SIGN}2",
        "\N{MINUS SIGN}1",
        "0",
        "1",
        "2",
        "3",
        "4",
    ]
    assert len(Scale.over(np.linspace(-500, 700, 9)).ticks) <= 8


def test_numbers_that_are_all_alike_lie_in_the_middle() -> None:
    drawn = strip([3.0, 3.0], Scale.over([3.0, 3.0]), "itself", False, "")
    assert (drawn.victim, drawn.twins, drawn.zero) == (50, (50,), None)
