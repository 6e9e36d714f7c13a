"""Contracts: what they say in TOML and words, what becomes of images, which columns are the kit's classes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.support.hub import blobs
from zooaudit.errors import ConfigError, InputError
from zooaudit.suspects.contract import Classes, Contract, Input, Output
from zooaudit.suspects.contract_files import contract_of, read_contract
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
    with pytest.raises(ConfigError, match=r"cannot be cropped from 30 x 36"):
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
            r"input.mean has 3 numbers; expected 1; these images are grey, state that the model takes"
            r" colours: input.channels=rgb"
        ),
    ):
        Preprocess(Input(mean=(0.1, 0.2, 0.3)), (1, 5, 5))
