"""Questions and fingerprints: paper equation 6, laid out as written."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.support.makers import Affine
from zooaudit.auditing import answering
from zooaudit.data.images import Dataset
from zooaudit.errors import AnswersError, DamagedArtifactError
from zooaudit.paper.fingerprint import ask, check_answers, fingerprints, queries
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.encoding import table_to_bytes
from zooaudit.suspects.blackbox import SUM_TOLERANCE, TorchBlackBox


@settings(max_examples=20)
@given(st.integers(1, 4), st.integers(1, 5))
def test_equation_6(views: int, count: int) -> None:
    """[ f(x_1), f(x_1 + v), ..., f(x_N), f(x_N + v) ] for each view, image by image."""
    generator = torch.Generator().manual_seed(views * 10 + count)
    points = torch.rand(views, count, 1, 4, 4, generator=generator)
    v = torch.rand(1, 4, 4, generator=generator) - 0.5
    model = Affine(classes=3)
    box = TorchBlackBox(model, 3)
    found = fingerprints(ask(box, queries(points, v)))
    assert found.shape == (views, 2 * count * 3)
    for view in range(views):
        expected: list[float] = []
        for x in points[view]:
            for image in (x, (x + v).clamp(0, 1)):
                with torch.no_grad():
                    expected += model(image[None]).softmax(1)[0].tolist()
        torch.testing.assert_close(found[view], torch.tensor(expected), atol=1e-6, rtol=1e-5)
    assert box.queries == views * count * 2


def test_questions_alternate_clean_and_perturbed_inside_the_image_range() -> None:
    points, v = torch.rand(2, 3, 1, 4, 4), torch.full((1, 4, 4), 0.6)
    asked = queries(points, v)
    assert asked.shape == (2, 3, 2, 1, 4, 4)
    assert torch.equal(asked[:, :, 0], points)
    assert torch.equal(asked[:, :, 1], (points + v).clamp(max=1))
    assert queries(points, -v).min() == 0


def test_many_questions_are_asked_in_batches_and_in_order(learnt: nn.Module) -> None:
    points = torch.rand(6, 60, 1, 8, 8)
    asked = queries(points, torch.full((1, 8, 8), 0.3))
    seen: list[int] = []

    class Counting(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(len(x))
            return learnt(x)

    answers = ask(TorchBlackBox(Counting(), 10), asked)
    assert sum(seen) == 720
    assert len(seen) > 1
    with torch.no_grad():
        torch.testing.assert_close(
            answers, learnt(asked.flatten(0, 2)).softmax(1).view(6, 60, 2, 10), atol=1e-6, rtol=1e-5
        )


def test_the_papers_audit_costs_four_thousand_queries() -> None:
    box = TorchBlackBox(Affine(classes=10), 10)
    answers = ask(box, queries(torch.zeros(20, 100, 1, 4, 4), torch.zeros(1, 4, 4)))
    assert box.queries == 4_000
    assert fingerprints(answers).shape == (20, 2_000)


@given(
    st.lists(
        st.lists(
            st.one_of(st.floats(width=32), st.sampled_from([0.0, 0.25, 0.5, 1.0, -0.0, -0.5, 1.5])),
            min_size=3,
            max_size=3,
        ),
        max_size=4,
    )
)
def test_only_distributions_pass(rows: list[list[float]]) -> None:
    answers = torch.tensor(rows, dtype=torch.float32).view(1, len(rows), 1, 3)
    good = all(
        all(0 <= v < math.inf for v in row) and abs(float(np.float32(sum(row))) - 1) < SUM_TOLERANCE
        for row in rows
    )
    if good:
        check_answers(answers, tuple(answers.shape))
    else:
        with pytest.raises(AnswersError):
            check_answers(answers, tuple(answers.shape))


def test_a_suspect_that_answers_nan_is_named() -> None:
    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.full((len(x), 3), float("nan"))

    with pytest.raises(AnswersError, match="suspect S gave NaN"):
        ask(TorchBlackBox(Broken(), 3, "suspect S"), torch.zeros(1, 2, 2, 1, 4, 4))


# Answers in the store


@pytest.fixture
def kept(artifacts: Artifacts, digits: Dataset) -> tuple[Artifacts, torch.Tensor, dict[str, torch.Tensor]]:
    """Stored answers of forty models to some questions."""
    asked = torch.rand(2, 3, 2, *digits.image_shape)
    given = {f"model-{i}": torch.rand(2, 3, 2, 10) for i in range(40)}
    for model, id_ in answering.answers_ids(list(given), asked).items():
        content = table_to_bytes(answering.answers_table(given[model], answering.answers_schema(10)))
        artifacts.save("answers", id_, {answering.ANSWERS: content}, {"model": model, "queries": 12})
    return artifacts, asked, given


def test_stored_answers_come_back_by_model_in_the_order_asked_for(
    kept: tuple[Artifacts, torch.Tensor, dict[str, torch.Tensor]], digits: Dataset
) -> None:
    artifacts, asked, given = kept
    wanted = sorted(given, reverse=True)
    found = answering.answers(wanted, asked, digits, artifacts)
    assert list(found) == wanted
    assert all(torch.equal(found[m], given[m]) for m in wanted)


def test_damaged_answers_among_many_are_named(
    kept: tuple[Artifacts, torch.Tensor, dict[str, torch.Tensor]], digits: Dataset
) -> None:
    artifacts, asked, given = kept
    id_ = answering.answers_ids(["model-7"], asked)["model-7"]
    sha = artifacts.load("answers", id_).files[answering.ANSWERS]["sha256"]
    key = f"objects/{sha[:2]}/{sha}"
    content = artifacts._store.read(key)
    artifacts._store.delete(key)
    artifacts._store.create(key, content[:-1])
    with pytest.raises(DamagedArtifactError, match=rf"answers {id_}: answers\.parquet"):
        answering.answers(list(given), asked, digits, artifacts)
