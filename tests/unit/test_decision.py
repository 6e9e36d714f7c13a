"""The three-way decision: what is stolen, what is not shown, what must not be judged at
all, and what several suspects take."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from zooaudit.errors import ConfigError
from zooaudit.verdict import wording
from zooaudit.verdict.decision import (
    Asked,
    Beyond,
    Decision,
    Standing,
    TwinVerdict,
    abstain_reason,
    cannot_tell,
    decide,
    too_few,
)
from zooaudit.verdict.ranking import NormalClaim, normal_claim, ranked
from zooaudit.verdict.several import corrected, one_of

ALL = Asked("probabilities", 1000, 1000)


def standing(
    own: float, twins: int = 19, beyond: Beyond | None = None, normal: NormalClaim | None = None
) -> Standing:
    """Twins spread evenly from -1 to 1."""
    rows = np.array([own, *np.linspace(-1, 1, twins)])
    return Standing(ranked(rows[None], 1), rows, ALL.queries, beyond, normal)


def verdict(own: float = 2.0, twins: int = 19, level: float = 0.05) -> TwinVerdict:
    return decide(standing(own, twins), level, ALL)


def test_a_misspelt_kind_of_p_value_is_refused() -> None:
    """Taken for ``normal``, it would pass by the test of normality."""
    with pytest.raises(ConfigError, match="p-value 'Normal'; expected one of rank, normal"):
        decide(standing(2.0, 19), 0.05, ALL, "Normal")


def test_stolen_is_first_of_enough() -> None:
    found = verdict(2.0)
    assert (found.decision, found.p_value, found.rank, found.twins, found.smallest_p) == (
        Decision.STOLEN,
        0.05,
        1,
        19,
        0.05,
    )
    assert "p 0.05 <= 0.05: the suspect has more of the victim than of any of its 19 twins" in found.reason
    second = verdict(0.95)
    assert (second.decision, second.p_value) == (
        Decision.NOT_SHOWN,
        0.1,
    ) and "more of 1 of 19 twins than of the victim" in second.reason
    assert (
        verdict(2.0, 99, 0.01).decision is Decision.STOLEN
        and verdict(0.99, 99, 0.01).decision is Decision.NOT_SHOWN
    )


def test_what_is_not_settled_accuses_nobody() -> None:
    rows = np.array([2.5, *np.linspace(-1, 1, 19)])
    found = decide(Standing(ranked(rows[None], 3), rows, 250, None, None), 0.05, Asked("label", 250, 1000))
    assert (
        found.decision is Decision.NOT_SHOWN
        and not found.settled
        and found.reason.endswith("not settled yet")
    )


def test_too_few_twins_say_what_can_be_done() -> None:
    assert too_few(19, 0.05) == "" and too_few(18, 0.01, "normal") == ""
    result = too_few(19, 0.01)
    assert "19 twins allow no p under 0.05; level 0.01 needs 99" in result
    assert "zooaudit kit add-twins" in result and "take level 0.05" in result and "--p-value normal" in result
    assert "no twins" in too_few(0, 0.05) and "--train-command" in too_few(0, 0.05, "normal")


def test_a_claim_by_normality_is_made_by_name_only() -> None:
    rows = np.random.default_rng(3).normal(size=19)
    claim = normal_claim([8.0, *rows])
    assert claim is not None and claim.p_value < 1e-5
    by_rank, by_normal = (decide(standing(8.0, normal=claim), 0.05, ALL, by) for by in ("rank", "normal"))
    assert by_rank.p_value == 0.05 and by_normal.p_value == claim.p_value
    assert decide(standing(8.0, normal=claim), 0.001, ALL, "normal").decision is Decision.STOLEN
    assert "by the normal distribution p" in by_normal.reason


@pytest.mark.parametrize("claim", [None, NormalClaim(1e-9, 0.01)])
def test_a_claim_by_normality_of_twins_that_are_not_normal_is_refused(claim: NormalClaim | None) -> None:
    found = decide(standing(8.0, normal=claim), 0.05, ALL, "normal")
    assert found.decision is Decision.CANNOT_TELL and found.p_value is None and "go by rank" in found.reason
    assert decide(standing(8.0, normal=claim), 0.05, ALL).decision is Decision.STOLEN


def test_a_victim_that_resembles_many_must_be_beyond_them_too() -> None:
    held = decide(standing(2.0, beyond=Beyond(2, 19)), 0.05, ALL)
    assert (
        held.decision is Decision.NOT_SHOWN
        and held.p_value == pytest.approx(3 / 20)
        and "2 of 19 references have as much" in held.reason
    )
    assert decide(standing(2.0, beyond=Beyond(0, 19)), 0.05, ALL).decision is Decision.STOLEN
    few = decide(standing(2.0, beyond=Beyond(0, 16)), 0.05, ALL)
    assert (
        few.decision is Decision.CANNOT_TELL
        and "16 of them allow no p under 0.059, level 0.05 needs 19" in few.reason
    )


@pytest.mark.parametrize("level", [0.0, -0.1, 0.5, 1.0, float("nan")])
def test_levels_that_are_none(level: float) -> None:
    with pytest.raises(ConfigError, match="share of innocent models"):
        verdict(level=level)


def test_hindrances() -> None:
    usual = torch.eye(4)[torch.arange(40) % 4]
    assert abstain_reason(usual) == "" and abstain_reason(usual[:0]) == ""
    assert "class 0 on 100% of 40 different images" in abstain_reason(
        torch.eye(4)[torch.zeros(40, dtype=torch.int64)]
    )


def test_several_suspects_are_held_to_more() -> None:
    """With 59 twins, three suspects: 1/60 each is what level .05 takes."""
    first, second, third = corrected([verdict(2.0, 59), verdict(0.99, 59), verdict(-2.0, 59)])
    assert (first.decision, second.decision, third.decision) == (
        Decision.STOLEN,
        Decision.NOT_SHOWN,
        Decision.NOT_SHOWN,
    )
    assert first.p_value == pytest.approx(0.05) and second.p_value == pytest.approx(2 * 2 / 60)
    assert "0.067 as one of 3 suspects (holm), > 0.05" in second.reason
    assert [v.decision for v in corrected([verdict(2.0, 59)] * 4)] == [Decision.CANNOT_TELL] * 4
    assert [v.decision for v in corrected([verdict(2.0)] * 3, "bh")] == [Decision.STOLEN] * 3
    alone = [verdict()]
    assert corrected(alone) == alone and corrected([*alone, *alone], "none") == [*alone, *alone]


def test_how_many_twins_several_suspects_take_is_said() -> None:
    judged = corrected([verdict(2.0), verdict(0.0), verdict(0.0)])[0]
    assert (
        judged.decision is Decision.CANNOT_TELL
        and "19 twins can single out none of 3 at level 0.05, 59 could" in judged.reason
    )
    assert corrected([verdict(2.0, 59), verdict(0.0, 59), verdict(0.0, 59)])[0].decision is Decision.STOLEN


def test_who_cannot_be_judged_counts_as_asked() -> None:
    unknown = cannot_tell("not judged: NaN", 39, 0.05, ALL)
    stolen, still = corrected([verdict(2.0, 39), unknown])
    assert stolen.decision is Decision.STOLEN and stolen.p_value == pytest.approx(2 / 40) and still == unknown
    assert corrected([verdict(2.0, 39), unknown, unknown])[0].decision is not Decision.STOLEN


def test_corrections_refuse_what_they_do_not_know() -> None:
    with pytest.raises(ConfigError, match="bonferroni"):
        corrected([verdict()], "bonferroni")
    with pytest.raises(ConfigError, match="different levels"):
        corrected([verdict(), replace(verdict(), level=0.01)])


@pytest.mark.parametrize(
    ("level", "cases"),
    [
        (0.05, "1 of 20"),
        (0.01, "1 of 100"),
        (0.2, "1 of 5"),
        (0.15, "3 of 20"),
        (0.025, "1 of 40"),
        (0.4, "2 of 5"),
        (1 / 30, "1 of 30"),
        (0.001, "1 of 1,000"),
        (0.0001, "1 of 10,000"),
        (0.01234567, "1 of 81"),
    ],
)
def test_a_level_is_said_in_cases_and_never_as_less_than_it_is(level: float, cases: str) -> None:
    assert wording.cases(level) == cases
    of, whole = (int(word.replace(",", "")) for word in cases.split(" of "))
    assert of / whole >= level - 1e-15


def test_every_verdict_says_its_level_as_a_frequency_and_a_weak_one_is_marked() -> None:
    strong, lax, spared = verdict(), verdict(level=0.2), verdict(-1.0, level=0.2)
    assert [v.decision for v in (strong, lax, spared)] == [
        Decision.STOLEN,
        Decision.STOLEN,
        Decision.NOT_SHOWN,
    ]
    assert [wording.headline(v) for v in (strong, lax, spared)] == [
        "stolen",
        "stolen (weak evidence)",
        "not shown",
    ]
    assert wording.frequency(strong) == "a model made without yours is called this in at most 1 of 20 cases"
    assert wording.frequency(lax) == "a model made without yours is called this in at most 1 of 5 cases"
    assert wording.frequency(spared) == "a model made without yours is called stolen in at most 1 of 5 cases"
    for found in (strong, lax, spared):
        assert wording.lines(found)[0].startswith(f"{wording.headline(found)}: ")
        assert wording.lines(found)[1] == f"  level {found.level:g}: {wording.frequency(found)}"
        result = wording.facts(found)
        assert (result["headline"], result["frequency"], result["weak"]) == (
            wording.headline(found),
            wording.frequency(found),
            found is lax,
        )


def test_a_verdict_is_rendered_in_one_way() -> None:
    lines = wording.lines(replace(verdict(), cautions=("accuracy: high",)))
    assert lines[0].startswith("stolen: p 0.05") and lines[-1] == "  caution: accuracy: high"
    assert any("asked 1000 of at most 1000 questions" in line for line in lines)
    result = wording.plain(verdict())
    assert result["decision"] == "stolen" and len(result["statistics"]) == 20 and result["settled"] is True


def test_one_of_several_that_are_judged_by_themselves_says_so() -> None:
    assert one_of(verdict(2.0), 1) == verdict(2.0)
    found = one_of(verdict(2.0), 14)
    assert found.decision is Decision.STOLEN and found.cautions == (
        (
            "judged by itself, as one of 14 suspects: were all innocent, up to 0.7 of them would be called"
            " stolen on average; corrected for their number (Holm), 19 twins can call none of them stolen:"
            " that takes 279"
        ),
    )
    assert one_of(verdict(2.0, 59), 3).cautions[0].endswith("called stolen on average"), "so many twins can"
    unknown = cannot_tell("not judged: NaN", 19, 0.05, ALL)
    assert one_of(unknown, 14) == unknown


def test_statistics_are_those_of_one_look_and_say_of_which() -> None:
    looks = np.array([[3.2, 0.0, -0.5, 1.0, -1.0], [0.5, 1.5, -0.2, 0.0, 0.2]])
    claim = NormalClaim(0.01, 0.5)
    by_rank, by_normal = (
        decide(Standing(ranked(looks, 2), looks[-1], 50, None, claim), 0.2, Asked("label", 100, 100), by)
        for by in ("rank", "normal")
    )
    assert by_rank.statistics == tuple(looks[0]) and by_rank.statistics_after == 50
    assert by_normal.statistics == tuple(looks[1]) and by_normal.statistics_after == 100
    said = wording.standing(by_rank)
    assert said.startswith(
        "after 50 questions the statistic of the victim is 3.20, of its twins -1.00 to 1.00"
    )
    assert "; after all 100, by a normal distribution" in said and "sooner" not in said


def test_twins_that_stood_out_sooner_are_said_where_the_numbers_do_not_show_them() -> None:
    looks = np.array([[0.0, 3.1, 0.2, -1.0], [3.3, 0.4, 0.1, -1.0]])
    found = decide(Standing(ranked(looks, 2), looks[-1], 100, None, None), 0.25, Asked("label", 100, 100))
    assert found.rank == 2 and found.statistics == tuple(looks[1])
    assert "; 1 of the twins stood out sooner" in wording.standing(found)
