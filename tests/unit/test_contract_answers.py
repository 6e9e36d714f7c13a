"""What a contract says of answers: their classes, order, certainty."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.support.makers import Affine
from zooaudit.config import OwnTraining
from zooaudit.errors import AnswersError, ColumnsError, ConfigError, InputError
from zooaudit.suspects.access import Access
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.suspects.contract import Classes, Contract, Input, Output
from zooaudit.suspects.contract_files import contract_of
from zooaudit.suspects.contracted import Contracted, contracted_box
from zooaudit.suspects.outputs import chosen, settle, valued
from zooaudit.suspects.preprocess import Preprocess


class Outputs(nn.Module):
    """Gives what it is made with, row by row of the batch."""

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.scores = scores
        self.asked: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.asked.append(len(images))
        return self.scores[(images[:, 0, 0, 0] * 255).round().long()]


def test_batches_are_of_the_size_that_is_said() -> None:
    model = Outputs(torch.randn(10, 3))
    images = (torch.arange(10) / 255).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    contract = Contract(Input(batch=4))
    wrapped = Contracted(model, Preprocess(contract.input, (1, 2, 2)), contract)
    assert torch.equal(wrapped(images), model.scores) and model.asked == [4, 4, 4]
    assert torch.equal(wrapped(images[:1]), model.scores[:1])


LOGITS = torch.tensor([[1.0, 2.0, -1.0, 0.5, 3.0], [0.0, -2.0, 1.0, 0.5, 0.1]])
WHOLE = LOGITS.softmax(1)


@pytest.mark.parametrize("scores", [LOGITS, WHOLE])
def test_a_subset_says_how_likely_each_class_is_given_that_it_is_one_of_them(scores: Tensor) -> None:
    expected = WHOLE[:, [4, 0]] / WHOLE[:, [4, 0]].sum(1, keepdim=True)
    for reading in ("any", "guess"):
        found = chosen(scores, [4, 0], "m", reading)
        torch.testing.assert_close(
            found if scores is WHOLE or reading == "guess" else found.softmax(1), expected
        )


def test_what_an_interface_tells_is_not_divided() -> None:
    rounded = torch.round(WHOLE, decimals=1)
    found = chosen(rounded, [4, 0, 2], "m", "stated")
    assert torch.equal(found, rounded[:, [4, 0, 2]]) and Access.seen(found) == Access("rounded", 1)
    label = torch.eye(5)[[4, 1]]
    assert torch.equal(chosen(label, [4, 0], "m", "stated"), torch.tensor([[1.0, 0], [0, 0]])), (
        "another class: nothing"
    )


def test_a_missing_class_is_never_answered() -> None:
    found = chosen(LOGITS, [4, -1, 0], "m", "any")
    assert (found[:, 1] == 0).all()
    torch.testing.assert_close(found[:, [0, 2]], LOGITS[:, [4, 0]].softmax(1))
    with pytest.raises(ColumnsError, match=r"expected column 7"):
        chosen(LOGITS, [7, 0], "m")


def test_certainty_elsewhere_divides_nothing_by_nothing() -> None:
    assert torch.equal(
        chosen(torch.tensor([[0.0, 0.0, 1.0]]), [0, 1], "m", "guess"), torch.tensor([[0.5, 0.5]])
    )


def test_what_values_are_said_to_be_they_are() -> None:
    for values, scores in (
        ("percentages", WHOLE * 100),
        ("probabilities", WHOLE),
        ("log-probabilities", WHOLE.log()),
        ("logits", LOGITS),
    ):
        found = valued(scores, Output(values), "m")
        torch.testing.assert_close(
            found if values in ("percentages", "probabilities") else found.softmax(1), WHOLE
        )
    for values, scores, words in (
        ("percentages", WHOLE, "percentages"),
        ("probabilities", LOGITS, "probabilities"),
        ("log-probabilities", LOGITS, "log-probabilities"),
        ("probabilities", torch.round(WHOLE + 0.04, decimals=1), "--access"),
    ):
        with pytest.raises(AnswersError, match=words):
            valued(scores, Output(values), "m")
    rounded = torch.round(WHOLE * 100, decimals=1)
    torch.testing.assert_close(
        valued(rounded, Output("percentages"), "m").sum(1), torch.ones(2), atol=2e-3, rtol=0
    )


def test_classes_by_name() -> None:
    kit = ("cat", "dog", "owl")
    assert Classes(names=("background", "Owl", "cat", "dog")).of(kit) == (2, 3, 1)
    assert Classes(names=("cat", "owl"), missing=("dog",)).of(kit) == (0, -1, 1)
    assert Classes(columns=(3, -1, 0)).of(kit) == (3, -1, 0)
    for classes, words in (
        (Classes(names=("cat", "dogs")), r"lack 2 of the kit's: dog, owl \(is it 'dogs'\?\)"),
        (Classes(columns=(0, 1)), "expected 3"),
        (Classes(names=("cat", "dog", "owl"), missing=("emu",)), "names 'emu'"),
        (Classes(names=("cat", "cat", "dog", "owl")), "2 times"),
        (Classes(columns=(0, -1, -1)), "two at least"),
    ):
        with pytest.raises(ConfigError, match=words):
            classes.of(kit)


def test_which_output_is_the_answers() -> None:
    a, b = torch.randn(2, 3), torch.randn(2, 5)
    assert settle({"features": b, "logits": a}, Output(), 2, 3, "m") == Output(name="logits")
    assert settle((b, a), Output(), 2, 3, "m") == Output(name="1")
    assert settle({"p": a.softmax(1), "raw": a}, Output(), 2, 3, "m") == Output(name="p"), (
        "the same answers twice"
    )
    assert settle({"main": a.view(2, 3, 1, 1)}, Output(), 2, 3, "m") == Output(name="main")
    with pytest.raises(
        InputError, match=r"head1, head2 could each be the answers; state which: --contract output.name=head1"
    ):
        settle({"head1": a, "head2": a + b[:, :3]}, Output(), 2, 3, "m")
    with pytest.raises(InputError, match=r"expected an output named 'q'"):
        settle({"p": a}, Output(name="q"), 2, 3, "m")
    with pytest.raises(InputError, match=r"there is no output.index 4"):
        settle((a, b), Output(index=4), 2, 3, "m")


@given(st.lists(st.floats(-20, 20, width=32), min_size=5, max_size=5), st.permutations(range(5)))
def test_any_order_of_all_classes_changes_nothing_but_the_order(row: list[float], order: list[int]) -> None:
    scores = torch.tensor([row, row[::-1]])
    torch.testing.assert_close(chosen(scores, order, "m").softmax(1), scores.softmax(1)[:, order])


def test_a_black_box_behind_a_contract() -> None:
    """What an API's answers go through: its box is asked with prepared images and answers
    with all of its classes."""
    model = Affine(inputs=48, classes=6)
    contract = contract_of({"input": {"channels": "bgr", "range": [0, 2]}, "classes": {"columns": [5, 1, 0]}})
    box = contracted_box(TorchBlackBox(model, 6), contract, (1, 4, 4), ("a", "b", "c"))
    images = torch.rand(3, 1, 4, 4)
    given_ = images.expand(-1, 3, -1, -1) * 2
    expected = model(given_).softmax(1)[:, [5, 1, 0]]
    torch.testing.assert_close(box.ask(images), (expected / expected.sum(1, keepdim=True)).detach())
    assert box.queries == 3
    plain = TorchBlackBox(model, 6)
    assert contracted_box(plain, Contract(), (3, 4, 4), ("a",)) is plain
    as_png = contracted_box(
        TorchBlackBox(Affine(inputs=48, classes=6), 6),
        contract,
        (1, 4, 4),
        ("a", "b", "c"),
        geometry_only=True,
    )
    unscaled = model(images.expand(-1, 3, -1, -1)).softmax(1)[:, [5, 1, 0]]
    torch.testing.assert_close(as_png.ask(images), (unscaled / unscaled.sum(1, keepdim=True)).detach())


def test_a_contract_of_twins_changes_no_id_that_has_none() -> None:
    plain = OwnTraining("a:b", "c", function="d:e")
    assert plain.to_json() == {"factory": "a:b", "code": "c", "function": "d:e", "command": ""}
    assert (
        OwnTraining("a:b", "c", function="d:e", contract='{"input": {}}').to_json()["contract"]
        == '{"input": {}}'
    )
