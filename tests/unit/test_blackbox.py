"""The one way to ask a model: what it answers, how its answers become probabilities, and what is counted."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from zooaudit.data.images import to_unit
from zooaudit.errors import AnswersError, ModelError
from zooaudit.suspects.blackbox import TorchBlackBox, to_probabilities

SHAPE = (1, 4, 4)


def test_logits_become_probabilities_and_queries_are_counted(learnt: nn.Module) -> None:
    box = TorchBlackBox(learnt, 10)
    images = torch.rand(7, 1, 8, 8)
    answers = box.ask(images)
    torch.testing.assert_close(answers, learnt(images).softmax(1))
    assert (answers.dtype, answers.requires_grad, box.queries) == (torch.float32, False, 7)
    box.ask(images[:2])
    assert box.queries == 9


def test_probabilities_are_passed_on_as_they_are() -> None:
    given = torch.tensor([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0]])
    assert torch.equal(to_probabilities(given, 2, 3, "m"), given)
    assert torch.equal(to_probabilities(given.double(), 2, 3, "m"), given)


@given(st.lists(st.lists(st.floats(-50, 50, width=32), min_size=3, max_size=3), min_size=1, max_size=6))
def test_answers_are_always_probabilities_of_the_same_label(rows: list[list[float]]) -> None:
    logits = torch.tensor(rows)
    answers = to_probabilities(logits, len(rows), 3, "m")
    assert (answers >= 0).all()
    torch.testing.assert_close(answers.sum(1), torch.ones(len(rows)), atol=1e-3, rtol=0)
    clear = logits.sort(1).values[:, -1] - logits.sort(1).values[:, -2] > 1e-3
    assert torch.equal(answers.argmax(1)[clear], logits.argmax(1)[clear])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_answers_that_are_not_finite_are_counted(bad: float) -> None:
    logits = torch.zeros(5, 3)
    logits[[1, 4], 0] = bad
    with pytest.raises(
        AnswersError, match="suspect S gave NaN or infinite values for 2 of 5 images; expected finite"
    ):
        to_probabilities(logits, 5, 3, "suspect S")


@pytest.mark.parametrize(
    ("outputs", "found"),
    [
        (torch.zeros(5, 4), "(5, 4)"),
        (torch.zeros(4, 3), "(4, 3)"),
        (torch.zeros(5), "(5,)"),
        ((torch.zeros(5, 3),), "a tuple"),
        (None, "a NoneType"),
    ],
)
def test_answers_of_another_shape_state_both(outputs: object, found: str) -> None:
    with pytest.raises(ModelError) as caught:
        to_probabilities(outputs, 5, 3, "suspect S")
    assert found in str(caught.value)
    assert "suspect S" in str(caught.value)
    assert "expected (5, 3)" in str(caught.value)


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2"), AssertionError(), KeyError("logits"), IndexError("out of range")]
)
def test_a_model_that_fails_when_asked_is_a_model_error(error: Exception) -> None:
    class Failing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise error

    box = TorchBlackBox(Failing(), 10, "suspect S")
    with pytest.raises(ModelError, match=r"suspect S failed on float images \(2, 1, 8, 8\)"):
        box.ask(torch.zeros(2, 1, 8, 8))
    assert box.queries == 0


def test_a_model_is_asked_in_evaluation_mode() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 3)).train()
    box = TorchBlackBox(model, 3)
    x = torch.rand(4, *SHAPE)
    assert torch.equal(box.ask(x), box.ask(x))


def test_images_reach_the_model_between_0_and_1(learnt: nn.Module) -> None:
    bytes_ = torch.randint(
        0, 256, (3, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    torch.testing.assert_close(
        TorchBlackBox(learnt, 10).ask(to_unit(bytes_)), learnt(bytes_ / 255).softmax(1)
    )
