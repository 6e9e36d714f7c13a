"""What the numbers of studies are made of: scores of a cohort, p-values, and figures counted by hand."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support.studied import TINY, Studied
from zooaudit.config import EncoderConfig
from zooaudit.errors import ConfigError
from zooaudit.paper.autoencoder import fit_autoencoder
from zooaudit.paper.t_test import mean_p_value
from zooaudit.seeds import derive
from zooaudit.studies import distributions
from zooaudit.studies.cohort import Scores, Variant
from zooaudit.studies.views import within_and_between
from zooaudit.verdict.distances import auc
from zooaudit.zoo.spec import Role

pytestmark = pytest.mark.xdist_group("studies")


def test_a_variant_looks_at_a_part_of_the_answers(studied: Studied) -> None:
    answers = next(iter(studied.bench.cohort.answers.values()))
    encoder = EncoderConfig(steps=1)
    assert torch.equal(Variant(encoder).shaped(answers, 1), answers)
    assert torch.equal(Variant(encoder, points=8).shaped(answers, 1), answers), (
        "all of them are all of them, in their order"
    )
    few_views = Variant(encoder, views=2).shaped(answers, 1)
    assert torch.equal(few_views, answers[:2])
    first, again, other = (Variant(encoder, points=3, draw=d).shaped(answers, 1) for d in (0, 0, 1))
    assert torch.equal(first, again) and first.shape == (4, 3, 2, 10)
    rows = {tuple(r) for r in answers[0].flatten(1).tolist()}
    assert all(tuple(r) in rows for r in first[0].flatten(1).tolist()), (
        "whole datapoints, clean and perturbed together"
    )
    assert not torch.equal(first, other)
    label = Variant(encoder, top_k=0).shaped(answers, 1)
    assert torch.equal(label.argmax(-1), answers.argmax(-1)) and torch.equal(
        label.sum(-1), torch.ones(answers.shape[:-1])
    )


@pytest.mark.parametrize("changes", [{"points": 9}, {"points": 0}, {"views": 5}, {"views": 0}])
def test_a_variant_that_asks_for_more_than_there_is_is_refused(
    changes: dict[str, int], studied: Studied
) -> None:
    with pytest.raises(ConfigError, match="the stored answers have 1 to"):
        studied.bench.cohort.scores(Variant(EncoderConfig(steps=1), **changes))


def test_scores_are_one_a_model(studied: Studied) -> None:
    scores = studied.bench.cohort.scores(Variant(TINY.encoder))
    piracy, homologous = scores.of(Role.PIRACY), scores.of(Role.HOMOLOGOUS)
    assert len(piracy.means) == len(homologous.means) == 3 and len(piracy.views) == 12
    assert scores.auc(Role.HOMOLOGOUS) == auc(piracy.means.tolist(), homologous.means.tolist())
    assert scores.gap == pytest.approx(float(piracy.means.mean() - homologous.means.mean()))
    assert Scores({}).views.size == 0 and scores.where(architecture="nothing").means.size == 0


def test_a_models_p_rests_on_the_other_references(studied: Studied) -> None:
    scores = studied.bench.cohort.scores(Variant(TINY.encoder))
    own = next(iter(scores.of(Role.HOMOLOGOUS).by_spec))
    raised = Scores({s: v + (5.0 if s == own else 0.0) for s, v in scores.by_spec.items()})
    assert raised.p_values(TINY.verdict, 1, Role.HOMOLOGOUS)[own] < 0.05, (
        "far above the others, and not compared with itself"
    )


def test_a_p_of_the_cell_rests_on_models_of_that_architecture_and_optimiser(
    studied: Studied,
) -> None:
    scores = studied.bench.cohort.scores(Variant(TINY.encoder))
    first, *others = scores.of(Role.HOMOLOGOUS).by_spec
    elsewhere = {s: dataclasses.replace(s, optimiser="adam") for s in others}
    moved = Scores(
        {elsewhere.get(s, s): v + (5.0 if s in elsewhere else 0.0) for s, v in scores.by_spec.items()}
    )
    p = moved.p_values(TINY.verdict, 1, Role.PIRACY, of_cell=True)
    alone = Scores({s: v for s, v in moved.by_spec.items() if s not in elsewhere.values()})
    own = mean_p_value(
        alone.by_spec[next(iter(p))],
        np.stack([moved.by_spec[first]]),
        TINY.verdict,
        derive(1, "verdict", next(iter(p)).id),
    )
    assert p[next(iter(p))] == own, "the raised ones are of another cell"
    assert np.isnan(moved.p_values(TINY.verdict, 1, Role.HOMOLOGOUS, of_cell=True)[first]), (
        "nobody is left to compare it with"
    )


@given(seed=st.integers(0, 20))
def test_within_and_between_are_means_of_cosines(seed: int) -> None:
    z = torch.nn.functional.normalize(
        torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(seed)), dim=-1
    )
    within, between = [], []
    for a in range(3):
        for b in range(3):
            for v in range(2):
                for w in range(2):
                    if a != b:
                        between.append(float(z[a, v] @ z[b, w]))
                    elif v != w:
                        within.append(float(z[a, v] @ z[a, w]))
    assert within_and_between(z) == (
        pytest.approx(np.mean(within), abs=1e-5),
        pytest.approx(np.mean(between), abs=1e-5),
    )


@given(
    a=st.lists(st.floats(0, 1), min_size=1, max_size=20), b=st.lists(st.floats(0, 1), min_size=1, max_size=20)
)
def test_the_largest_distance_is_that_of_two_distribution_functions(a: list[float], b: list[float]) -> None:
    expected = max(abs(np.mean([x <= t for x in a]) - np.mean([x <= t for x in b])) for t in [*a, *b])
    assert distributions._largest_distance(np.array(a), np.array(b)) == pytest.approx(expected)


def test_an_autoencoder_learns_to_rebuild() -> None:
    rows = torch.rand(64, 30, generator=torch.Generator().manual_seed(0))
    config = EncoderConfig("autoencoder", steps=30)
    first, again = fit_autoencoder(rows, config, 3), fit_autoencoder(rows, config, 3)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert first.embed(rows).shape == (64, 20)
