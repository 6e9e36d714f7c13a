"""What references' answers predict of a candidate's: the closed form against fits that have
not seen an image."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from zooaudit.verdict.predicted import LEAST, RIDGE, predicted


def drawn(models: int, images: int, classes: int, seed: int) -> Tensor:
    return (2 * torch.randn(models, images, classes, generator=torch.Generator().manual_seed(seed))).softmax(
        -1
    )


def without(candidate: Tensor, references: Tensor, image: int) -> np.ndarray:
    """A ridge regression that has not seen ``image``, by the normal equations: predicted
    roots of that image's answers."""
    inputs = references.double().clamp(min=LEAST).log().permute(1, 0, 2).flatten(1).numpy()
    inputs = (inputs - inputs.mean(0)) / inputs.std(0, ddof=1)
    inputs = np.concatenate([inputs, np.ones((len(inputs), 1))], 1)
    level = RIDGE * (inputs**2).sum() / inputs.shape[1]
    kept = np.arange(len(inputs)) != image
    gram = inputs[kept].T @ inputs[kept] + level * np.eye(inputs.shape[1])
    return np.asarray(
        inputs[image] @ np.linalg.solve(gram, inputs[kept].T @ candidate.double().sqrt().numpy()[kept])
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(2, 4), st.integers(5, 30), st.integers(0, 1000))
def test_each_image_is_predicted_by_a_fit_to_all_others(
    candidates: int, references: int, classes: int, images: int, seed: int
) -> None:
    own, others = drawn(candidates, images, classes, seed), drawn(references, images, classes, seed + 1)
    questions = torch.tensor([images - 1, 0, images // 2])
    found = predicted(own, others, questions)
    assert found.shape == (candidates, 3, classes) and found.dtype is torch.float32
    for c in range(candidates):
        for row, image in enumerate(questions.tolist()):
            expected = without(own[c], others, image).clip(0, 1) ** 2
            assert found[c, row].numpy() == pytest.approx(expected, abs=1e-5)


def test_a_candidates_prediction_does_not_depend_on_the_others() -> None:
    own, others, rows = drawn(5, 40, 3, 0), drawn(4, 40, 3, 1), torch.arange(40)
    whole = predicted(own, others, rows)
    torch.testing.assert_close(predicted(own[[3, 1]], others, rows), whole[[3, 1]])
    changed = own.clone()
    changed[2, 7] = torch.tensor([1.0, 0.0, 0.0])
    torch.testing.assert_close(
        predicted(changed, others, rows)[2, 7], whole[2, 7], msg="a prediction saw what it predicts"
    )


def test_what_references_know_is_predicted_and_what_they_do_not_know_is_not() -> None:
    others = drawn(6, 400, 4, 2)
    common = others.log().mean(0).softmax(-1)
    alone = drawn(1, 400, 4, 3)[0]
    found = predicted(torch.stack([common, alone]), others, torch.arange(400)).sqrt()
    errors = (found - torch.stack([common, alone]).sqrt()).square().mean((1, 2))
    spread = torch.stack([common, alone]).sqrt().var(1).mean(1)
    assert errors[0] < 0.2 * spread[0] and errors[1] > 0.9 * spread[1]
