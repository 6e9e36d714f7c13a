"""Contracts: what they say in TOML and words, what becomes of images, which columns are the kit's classes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from tests.support.hub import blobs
from tests.support.makers import Affine
from zooaudit.config import OwnTraining
from zooaudit.errors import AnswersError, ColumnsError, ConfigError, InputError
from zooaudit.suspects.access import Access
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.suspects.contract import Classes, Contract, Input, Output
from zooaudit.suspects.contract_files import contract_of, read_contract
from zooaudit.suspects.contracted import Contracted, contracted_box
from zooaudit.suspects.outputs import chosen, settle, valued
from zooaudit.suspects.preprocess import Preprocess


def test_a_file_and_words_make_one_contract(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('[input]\nsize = 32\nmean = [0.5]\nstd = [0.5]\n[classes]\nnames = ["a", "b"]\n')
    found = read_contract(
        [
            str(path),
            "input.range=[-1,1]",
            "output.name=logits",
            'input.filter="box"',
            "input.mean = [0.1, 0.2, 0.3]",
        ]
    )
    assert found == Contract(
        Input(size=(32, 32), mean=(0.1, 0.2, 0.3), std=(0.5,), range=(-1, 1), filter="box"),
        Output(name="logits"),
        Classes(names=("a", "b")),
    )
    assert contract_of(found.to_json()) == found and Contract().to_json() == {}


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"inputs": {}}, "table 'inputs', which is unknown; expected input"),
        ({"input": {"sise": 3}}, r"\[input\] has a field 'sise', which is unknown; expected size"),
        ({"input": {"size": [1, 2, 3]}}, "one or two whole numbers"),
        ({"input": {"size": "big"}}, "input.size is 'big'; expected a list of whole numbers"),
        ({"input": {"size": [True, True]}}, "expected a list of whole numbers"),
        ({"input": {"size": [10**9, 1]}}, "1 to 8192"),
        ({"input": {"mean": [float("nan")]}}, "expected a list of numbers"),
        ({"input": {"std": [0]}}, "Input.std"),
        ({"input": {"range": [1, 0]}}, "the smaller first"),
        ({"input": {"dtype": "int8"}}, "input.scale and input.zero_point are missing"),
        ({"input": {"scale": 2.0}}, "expected uint8 or int8 with it"),
        ({"input": {"dtype": "int4"}}, "expected one of float32, float16"),
        ({"input": {"resize": "shorter"}}, "input.size is missing"),
        ({"input": {"batch": 0.5}}, "input.batch is 0.5; expected a whole number"),
        ({"output": {"name": "a", "index": 1}}, "expected one of the two"),
        ({"classes": {"names": ["a"], "columns": [0]}}, "expected one of them"),
        ({"classes": {"columns": [0, 0]}}, "each column once"),
        ({"input": [1]}, "expected a table"),
    ],
)
def test_what_is_no_contract_is_said(tables: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        contract_of(tables)


def test_a_file_that_is_none_is_said(tmp_path: Path) -> None:
    for content, words in (
        (b"[input", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"#" * (2**20 + 1), "1,048,577 bytes"),
    ):
        (tmp_path / "c.toml").write_bytes(content)
        with pytest.raises(InputError, match=words):
            read_contract([str(tmp_path / "c.toml")])
    with pytest.raises(InputError, match=r"cannot be read"):
        read_contract([str(tmp_path / "none.toml")])
    with pytest.raises(ConfigError, match=r"input.range"):
        read_contract(["input.range=[1"])


def test_what_is_said_wins_over_what_is_seen() -> None:
    seen = Contract(
        Input(size=(8, 8), resize="shorter", resize_to=(9,), mean=(0.5,), std=(0.5,), batch=3),
        Output(name="y"),
    )
    assert Contract().over(seen) == seen
    own = Contract(Input(size=(4, 4), mean=(0.1,)), Output("probabilities")).over(seen)
    assert own == Contract(Input(size=(4, 4), mean=(0.1,), batch=3), Output("probabilities", "y")), (
        "a mean of one, a std of another: never"
    )


PIL = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}


@pytest.mark.parametrize("filter_", PIL)
@pytest.mark.parametrize("size", [(12, 20), (41, 50), (30, 30)])
def test_images_are_resized_as_by_pillow(filter_: Any, size: tuple[int, int]) -> None:
    images = blobs(2, 30, 36)
    ours = Preprocess(Input(size=size, resize="squash", filter=filter_), (3, 30, 36))(images)
    for ours_, image in zip(ours, images, strict=True):
        pillow = Image.fromarray((image * 255).round().byte().permute(1, 2, 0).numpy()).resize(
            size[::-1], Image.Resampling(PIL[filter_])
        )
        theirs = torch.from_numpy(np.array(pillow)).permute(2, 0, 1).float()
        assert float((ours_ * 255 - theirs).abs().max()) <= (0.01 if filter_ == "nearest" else 1.6), (
            "Pillow rounds to 8 bits after each of its two passes"
        )


def test_without_antialias_as_torch_does() -> None:
    images = blobs(2, 30, 36)
    ours = Preprocess(Input(size=(12, 20), resize="squash", antialias=False), (3, 30, 36))(images)
    torch.testing.assert_close(
        ours, nn.functional.interpolate(images, (12, 20), mode="bilinear"), atol=1e-5, rtol=0
    )


def test_images_of_another_shape_are_not_squashed_unasked() -> None:
    with pytest.raises(ConfigError, match=r"input.resize=squash or input.resize=shorter"):
        Preprocess(Input(size=(16, 16)), (3, 30, 36))
    with pytest.raises(ConfigError, match=r"cannot be cut out of 30 x 36"):
        Preprocess(Input(size=(32, 32), resize="crop"), (3, 30, 36))
    assert Preprocess(Input(size=(16, 16)), (3, 30, 30))(blobs(1, 30, 30)).shape == (1, 3, 16, 16)


x = torch.arange(2 * 3 * 2 * 2).view(2, 3, 2, 2) / 255

NUMBERS: list[tuple[dict[str, Any], Any]] = [
    ({"range": [0, 255]}, lambda x: x * 255),
    ({"range": [-1, 1]}, lambda x: x * 2 - 1),
    (
        {"mean": [0.1, 0.2, 0.3], "std": [0.5]},
        lambda x: (x - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / 0.5,
    ),
    ({"range": [0, 255], "mean": [9.0]}, lambda x: x * 255 - 9),
    ({"channels": "bgr"}, lambda x: x[:, [2, 1, 0]]),
    ({"channels": "grey"}, lambda x: 0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:]),
    ({"layout": "nhwc"}, lambda x: x.permute(0, 2, 3, 1)),
    ({"layout": "flat"}, lambda x: x.flatten(1)),
    ({"dtype": "float16"}, lambda x: x.half()),
    ({"dtype": "uint8"}, lambda x: (x * 255).round().byte()),
    (
        {"dtype": "int8", "scale": 1 / 255, "zero_point": -128},
        lambda x: ((x * 255).round() - 128).to(torch.int8),
    ),
    (
        {"dtype": "uint8", "scale": 0.01, "zero_point": 3, "range": [-1, 1]},
        lambda x: ((x * 2 - 1) / 0.01 + 3).round().clamp(0, 255).byte(),
    ),
]


@pytest.mark.parametrize(("said", "expected"), NUMBERS, ids=lambda v: str(v) if isinstance(v, dict) else "")
def test_numbers_are_as_is_said(said: dict[str, Any], expected: Any) -> None:
    found = Preprocess(contract_of({"input": said}).input, (3, 2, 2))(x)
    assert found.dtype == expected(x).dtype
    torch.testing.assert_close(found, expected(x))


def test_grey_becomes_colours_and_gradients_pass() -> None:
    module = Preprocess(
        Input(
            channels="bgr",
            size=(6, 6),
            resize="shorter",
            resize_to=(8,),
            mean=(0.1, 0.2, 0.3),
            filter="bicubic",
        ),
        (1, 5, 5),
    )
    images = blobs(2, 5, 5, 1).requires_grad_()
    out = module(images)
    assert out.shape == (2, 3, 6, 6) and torch.allclose(out[:, 0] + 0.1, out[:, 2] + 0.3)
    (gradient,) = torch.autograd.grad(out.sum(), images)
    assert gradient.abs().min() > 0


def test_a_mean_of_other_channels_is_refused() -> None:
    with pytest.raises(
        ConfigError,
        match=(
            r"input.mean has 3 numbers; expected 1; these images are grey, say that it takes colours:"
            r" input.channels=rgb"
        ),
    ):
        Preprocess(Input(mean=(0.1, 0.2, 0.3)), (1, 5, 5))


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
        InputError, match=r"head1, head2 could each be the answers; say which: --contract output.name=head1"
    ):
        settle({"head1": a, "head2": a + b[:, :3]}, Output(), 2, 3, "m")
    with pytest.raises(InputError, match=r"expected an output named 'q'"):
        settle({"p": a}, Output(name="q"), 2, 3, "m")
    with pytest.raises(InputError, match=r"output.index 4 is none of them"):
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
