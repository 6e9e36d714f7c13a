"""The three-way verdict: what is stolen, what is not shown, and what must not be judged at all."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zooaudit.studies.calibration import looks_at
from zooaudit.verdict.calibrated import Call, call, hindrances

REFERENCES = np.arange(99.0)


def test_stolen_needs_a_score_above_all_that_the_level_allows() -> None:
    assert call(99.0, REFERENCES, 0.01).call is Call.STOLEN
    assert call(98.0, REFERENCES, 0.01).call is Call.NOT_SHOWN, "as high as one reference: p .02"
    assert call(98.0, REFERENCES, 0.02).call is Call.STOLEN
    assert "1 of 99 innocent references score as high: p 0.02 > 0.01" in call(98.0, REFERENCES, 0.01).reason


def test_a_stronger_claim_than_the_references_allow_is_refused() -> None:
    refused = call(1e9, REFERENCES[:98], 0.01)
    assert refused.call is Call.CANNOT_TELL and refused.p_value is None
    assert "98 innocent references allow no p under 0.01; level 0.01 needs 99" in refused.reason
    assert call(1e9, np.empty(0), 0.05).call is Call.CANNOT_TELL
    assert call(float("nan"), REFERENCES, 0.01).call is Call.CANNOT_TELL


@given(st.lists(st.integers(0, 40).map(float), min_size=20, max_size=60), st.sampled_from([0.05, 0.1, 0.3]))
def test_whichever_innocent_model_is_suspected_few_are_accused(scores: list[float], level: float) -> None:
    pooled = np.array(scores)
    accused = sum(call(s, np.delete(pooled, i), level).call is Call.STOLEN for i, s in enumerate(pooled))
    assert accused <= level * len(pooled) + 1e-9


def test_what_cannot_be_judged_is_not_whatever_its_score() -> None:
    judged = call(1e9, REFERENCES, 0.01, "degenerate answers")
    assert judged.call is Call.CANNOT_TELL and judged.reason == "degenerate answers" and judged.p_value is None


def test_hindrances() -> None:
    usual = torch.eye(4)[torch.arange(40) % 4]
    assert hindrances(usual, 0.9, np.array([0.85, 0.95])) == ""
    assert hindrances(usual, 0.85, np.array([0.85, 0.95])) == ""
    assert "under that of every reference (the least 0.850)" in hindrances(usual, 0.84, np.array([0.85, 0.95]))
    assert "class 0 on 100% of 40 different images" in hindrances(torch.eye(4)[torch.zeros(40, dtype=torch.int64)], 0.9, np.array([0.1]))


@pytest.mark.parametrize("budget", [1, 5, 20, 21, 400, 4000])
def test_looks_end_at_the_budget(budget: int) -> None:
    looks = looks_at(budget)
    assert looks[-1] == budget and (np.diff(looks) > 0).all() and looks[0] <= 20
