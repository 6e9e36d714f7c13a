"""The three-way verdict: what is stolen, what is not shown, and what must not be judged at all."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zooaudit.errors import ConfigError
from zooaudit.verdict.calibrated import Calibrated, Call, call, hindrances
from zooaudit.verdict.many import corrected
from zooaudit.verdict.references import References

SPREAD = np.linspace(-1, 1, 99)


def references(peaks: np.ndarray = SPREAD, family: str = "homologous", sources: int = 0) -> References:
    """One source each, or so many."""
    n = len(peaks)
    return References(np.asarray(peaks, dtype=float), (family,) * n, tuple(str(i % sources if sources else i) for i in range(n)))


def both(one: References, other: References) -> References:
    return References(np.concatenate([one.peaks, other.peaks]), one.families + other.families, one.kin + other.kin)


def test_stolen_needs_a_rank_above_all_that_the_level_allows() -> None:
    assert call(5.0, references(), 0.01).call is Call.STOLEN
    assert call(5.0, references(), 0.01).p_value == pytest.approx(0.01)
    as_high = references(np.append(SPREAD[:-1], 9.0))
    assert call(5.0, as_high, 0.01).call is Call.NOT_SHOWN, "as high as one reference: p .02 by rank"
    assert "1 of 99 homologous references" in call(5.0, as_high, 0.01).reason


def test_nobody_is_stolen_who_is_nearer_to_the_innocent() -> None:
    judged = call(5.0, references(), 0.01, score=0.49)
    assert judged.call is Call.NOT_SHOWN and judged.p_value == pytest.approx(0.01)
    assert "nearer to innocent models than to known copies, though p 0.01 <= 0.01" in judged.reason
    assert call(5.0, references(), 0.01, score=0.5).call is Call.STOLEN
    assert corrected([judged, judged])[0].call is Call.NOT_SHOWN


def test_a_rank_above_all_is_not_enough_among_a_family_that_could_reach_it() -> None:
    """Three look-alikes that spread widely, of three strangers: the next may well score 2, though none of 99 + 3 did."""
    alike = references(np.array([0.5, 1.2, 1.9]), "look-alike")
    judged = call(2.1, both(references(), alike), 0.01)
    assert judged.call is Call.NOT_SHOWN and judged.p_value is not None and judged.p_value > 0.05
    (of_alike,) = [f for f in judged.families if f.family == "look-alike"]
    assert (of_alike.above, of_alike.models, of_alike.sources) == (0, 3, 3) and of_alike.p_value == judged.p_value
    assert call(30.0, both(references(), alike), 0.01).call is Call.STOLEN, "beyond what that family can be thought to reach"


def test_ten_look_alikes_of_one_stranger_cannot_stand_for_strangers() -> None:
    alike = references(np.linspace(0.4, 0.6, 10), "look-alike", sources=1)
    judged = call(30.0, both(references(), alike), 0.05)
    assert judged.call is Call.CANNOT_TELL and "look-alike references come from 1 source;" in judged.reason


def test_a_required_family_that_is_missing_accuses_nobody() -> None:
    judged = call(30.0, references(), 0.05, required=("homologous", "look-alike"))
    assert judged.call is Call.CANNOT_TELL and "look-alike references come from 0 sources" in judged.reason


def test_a_stronger_claim_than_the_references_allow_is_refused() -> None:
    refused = call(1e9, references(SPREAD[:98]), 0.01)
    assert refused.call is Call.CANNOT_TELL and refused.p_value is None
    assert "98 innocent references allow no p under 0.01; level 0.01 needs 99" in refused.reason
    assert call(1e9, references(np.empty(0)), 0.05).call is Call.CANNOT_TELL
    assert call(float("nan"), references(), 0.01).call is Call.CANNOT_TELL


@given(st.lists(st.integers(0, 40).map(float), min_size=20, max_size=60), st.sampled_from([0.05, 0.1, 0.3]))
def test_whichever_innocent_model_is_suspected_few_are_accused(scores: list[float], level: float) -> None:
    pooled = references(np.array(scores))
    others = [pooled.take([j for j in range(len(pooled)) if j != i]) for i in range(len(pooled))]
    accused = sum(call(s, rest, level).call is Call.STOLEN for s, rest in zip(scores, others, strict=True))
    assert accused <= level * len(pooled) + 1e-9


@given(st.floats(-3, 3), st.floats(0, 3))
def test_p_never_rises_with_the_score(score: float, more: float) -> None:
    known = both(references(SPREAD[::5]), references(np.array([0.1, 0.3, 0.2, 0.5]), "look-alike", sources=2))
    assert known.p_value(score + more) <= known.p_value(score)


def test_what_cannot_be_judged_is_not_whatever_its_score() -> None:
    judged = call(1e9, references(), 0.01, "degenerate answers")
    assert judged.call is Call.CANNOT_TELL and judged.reason == "degenerate answers" and judged.p_value is None


def test_hindrances() -> None:
    usual = torch.eye(4)[torch.arange(40) % 4]
    assert hindrances(usual, 0.9, np.array([0.85, 0.95])) == ""
    assert hindrances(usual, 0.81, np.array([0.85, 0.95])) == "", "so little can be chance"
    assert "under that of every reference (the least 0.850)" in hindrances(usual, 0.79, np.array([0.85, 0.95]))
    assert "class 0 on 100% of 40 different images" in hindrances(torch.eye(4)[torch.zeros(40, dtype=torch.int64)], 0.9, np.array([0.1]))


def verdict(p: float | None, level: float = 0.05, n: int = 99) -> Calibrated:
    made = Call.CANNOT_TELL if p is None else Call.STOLEN if p <= level else Call.NOT_SHOWN
    return Calibrated(made, p, 1 / (n + 1), n, level, (), "by itself")


def test_several_suspects_are_held_to_more() -> None:
    one, other, third = corrected([verdict(0.01), verdict(0.04), verdict(0.5)])
    assert (one.call, other.call, third.call) == (Call.STOLEN, Call.NOT_SHOWN, Call.NOT_SHOWN)
    assert one.p_value == pytest.approx(0.03) and other.p_value == pytest.approx(0.08)
    assert "p 0.04 by itself, 0.08 as one of 3 suspects (holm), > 0.05" in other.reason
    assert [v.call for v in corrected([verdict(0.03), verdict(0.04)], "bh")] == [Call.STOLEN, Call.STOLEN]
    alone = [verdict(0.04)]
    assert corrected(alone) == alone and corrected([*alone, *alone], "none") == [*alone, *alone]


def test_who_cannot_be_judged_counts_as_asked() -> None:
    stolen, unknown = corrected([verdict(0.03), verdict(None)])
    assert stolen.call is Call.NOT_SHOWN and unknown.call is Call.CANNOT_TELL


def test_too_few_references_to_single_anybody_out_is_said() -> None:
    judged = corrected([verdict(0.05, n=19), verdict(0.5, n=19)])[0]
    assert judged.call is Call.CANNOT_TELL and "19 references can single out none of 2 at level 0.05, 39 could" in judged.reason


def test_corrections_refuse_what_they_do_not_know() -> None:
    with pytest.raises(ConfigError, match="bonferroni"):
        corrected([verdict(0.1)], "bonferroni")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="different levels"):
        corrected([verdict(0.1), verdict(0.1, 0.01)])
