"""Models behind the Open Inference Protocol, over HTTP and gRPC: what they tell of themselves is heeded
before the first question."""

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import torch

from tests.support.asking import CLASSES, MODEL, K, asking, questions, truth
from tests.support.tritons import Triton, over_grpc, over_http
from zooaudit.errors import ColumnsError, ConfigError
from zooaudit.suspects.metadata import fitted
from zooaudit.suspects.metadata_reply import model_of
from zooaudit.suspects.pictures import cast
from zooaudit.suspects.remote import remote_of

Over = Callable[[Triton], AbstractContextManager[str]]
OVER: dict[str, Over] = {"http": over_http, "grpc": over_grpc}
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "FP32": ({}, {}, ""),
    "channels last": ({"shape": [-1, 4, 4, 1]}, {}, "the layout is nhwc"),
    "a row": ({"shape": [-1, 16]}, {}, "the layout is flat"),
    "without channels": ({"shape": [-1, 4, 4]}, {}, ""),
    "any size": ({"shape": [-1, -1, -1, -1]}, {}, ""),
    "no shape": ({"shape": None}, {}, ""),
    "FP16": ({"datatype": "FP16"}, {}, "pixels are sent as FP16"),
    "FP64": ({"datatype": "FP64"}, {}, "pixels are sent as FP64"),
    "UINT8": ({"datatype": "UINT8", "divide": 255.0}, {}, "pixels are sent as UINT8, times 255"),
    "INT8": (
        {"datatype": "INT8", "divide": 255.0, "shift": 128 / 255},
        {"scale": 255.0, "offset": -128.0},
        "pixels are sent as INT8",
    ),
    "BYTES": ({"datatype": "BYTES", "shape": [-1]}, {}, "images are sent as PNG files"),
    "BYTES in a column": ({"datatype": "BYTES", "shape": [-1, 1]}, {}, "images are sent as PNG files"),
    "a largest batch": ({"most": 5}, {}, "a request has 5 images at most"),
    "a batch of one": ({"shape": [1, 1, 4, 4], "most": 0}, {}, "a request has 1 image at most"),
    "a batch of seven": ({"shape": [7, 1, 4, 4], "most": 0}, {}, "a request has 7 images at most"),
    "a batch of forty": ({"shape": [40, 1, 4, 4], "most": 0}, {}, "a request has 40 images at most"),
    "no batches": ({"shape": [1, 4, 4], "most": 0}, {}, "a request has 1 image at most"),
    "a named output": (
        {"outputs": [("p", "FP32", [-1, 4]), ("features", "FP32", [-1, 3])]},
        {},
        "the output is 'p'",
    ),
    "double answers": ({"outputs": [("p", "FP64", [-1, 4])]}, {}, ""),
}


@pytest.mark.parametrize("over", OVER)
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_model_tells_of_itself_is_heeded_and_said(kind: str, over: str, tmp_path: Path) -> None:
    made, settings, says = KINDS[kind]
    triton, images = Triton(MODEL, **made), questions()
    with OVER[over](triton) as url, asking(tmp_path, {"url": url, "batch": 8, **settings}) as asked:
        found = asked.black_box.ask(images)
        assert torch.allclose(found, truth(images), atol=2e-3 if kind == "FP16" else 1e-6)
        assert says in asked.told and bool(says) == bool(asked.said)
        assert triton.batches and max(triton.batches) <= (
            40 if kind == "a batch of forty" else triton.most or 8
        )
        assert asked.ledger.spent == sum(triton.batches)


@pytest.mark.parametrize("over", OVER)
def test_what_a_model_told_is_kept_with_its_answers(over: str, tmp_path: Path) -> None:
    triton, images = Triton(MODEL, "UINT8", [-1, 4, 4, 1], divide=255.0, most=5), questions()
    first = (
        "metadata: input 'pixels' UINT8 [-1, 4, 4, 1]; output 'p' FP32 [-1, 4]; max_batch_size 5",
        "pixels go as UINT8, times 255, plus 0, layout nhwc",
    )
    with OVER[over](triton) as url:
        with asking(tmp_path, {"url": url}) as asked:
            asked.black_box.ask(images[:8])
            assert asked.ledger.seen == first
        with asking(tmp_path, {"url": url}) as asked:
            asked.black_box.ask(images[:8])
            assert asked.ledger.seen == first and not asked.said, (
                "all answers are there, and nobody is asked anything"
            )
        triton.datatype, triton.divide = "FP32", 1.0
        with asking(tmp_path, {"url": url}) as asked:
            asked.black_box.ask(images)
            assert (
                asked.ledger.seen[:2] == first
                and "pixels go as FP32, times 1, plus 0, layout nhwc" in asked.ledger.seen[2:]
            )
            assert "describes itself differently than when it was first asked" in asked.told
        with asking(
            tmp_path, {"url": url, "metadata": False, "input": "pixels", "layout": "nhwc"}, name="2.sqlite"
        ) as asked:
            asked.black_box.ask(images)
            assert asked.ledger.seen == ()


def test_what_a_stranger_calls_its_tensors_is_kept_on_one_short_line() -> None:
    model = model_of(
        {"inputs": [{"name": "a\n\x1b[31m" + "b" * 9000, "datatype": "FP32", "shape": [-1, 1, 4, 4]}]}
    )
    remote = remote_of({"url": "http://a/v2/models/m/infer"}, CLASSES)
    seen = fitted(remote.wire, remote.stated, model, (1, 4, 4), K).takes.seen
    assert all(line.isprintable() and len(line) < 600 for line in seen) and len(seen) == 2


def test_images_that_fill_up_a_batch_are_charged_but_change_no_answer(tmp_path: Path) -> None:
    triton, images = Triton(MODEL, shape=[7, 1, 4, 4], most=0), questions(10)
    with over_http(triton) as url, asking(tmp_path, {"url": url}) as asked:
        assert torch.allclose(asked.black_box.ask(images), truth(images), atol=1e-6)
        assert triton.batches == [7, 7] and asked.ledger.spent == 14


def test_tensors_are_binary_where_the_server_takes_them(tmp_path: Path) -> None:
    images = questions()
    for number, (binary, settings, expected) in enumerate(
        (
            (True, {}, True),
            (False, {}, False),
            (True, {"tensors": "json"}, False),
            (True, {"tensors": "binary"}, True),
        )
    ):
        triton = Triton(MODEL, binary=binary)
        with (
            over_http(triton) as url,
            asking(tmp_path, {"url": url, **settings}, name=f"{number}.sqlite") as asked,
        ):
            assert torch.allclose(asked.black_box.ask(images), truth(images), atol=1e-6)
        assert set(triton.bodies) == {expected}, settings


WRONG: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "size": (
        {"shape": [-1, 3, 224, 224]},
        {},
        r"'pixels' FP32 \[-1, 3, 224, 224\] does not take images of 1 x 4 x 4 .*metadata = false",
    ),
    "layout": ({"shape": [-1, 4, 4, 1]}, {"layout": "nchw"}, "in the layout nchw; give layout = 'nhwc'"),
    "datatype": (
        {"datatype": "UINT8"},
        {"datatype": "FP32"},
        "is 'FP32', but the model's input is 'pixels' UINT8 .* 'UINT8', or leave it out",
    ),
    "scale": ({"datatype": "UINT8"}, {"scale": 1.0}, "pixels would be 0 or 1; give scale = 255"),
    "INT8": (
        {"datatype": "INT8"},
        {},
        "INT8, and its metadata does not say how pixels map to it; give scale and offset",
    ),
    "range": (
        {"datatype": "UINT8"},
        {"scale": 512.0},
        r"pixels from .* to 4\d\d.* do not fit UINT8 \(0 to 255\); give another scale",
    ),
    "a text": ({"datatype": "BOOL"}, {}, "does not take images; state which does"),
    "input": (
        {},
        {"input": "image"},
        "input is 'image', but the model has the inputs 'pixels' .* input = 'pixels'",
    ),
    "inputs": (
        {"inputs": [{"name": "more", "datatype": "FP32", "shape": [-1, 16]}]},
        {},
        "state which takes the images: input = 'pixels'",
    ),
    "output": (
        {},
        {"output": "logits"},
        "output is 'logits', but the model has the outputs 'p' .* output = 'p'",
    ),
    "outputs": (
        {"outputs": [("a", "FP32", [-1, 4]), ("b", "FP32", [-1, 4])]},
        {},
        "state which gives the classes: output = 'a'",
    ),
}


@pytest.mark.parametrize("over", OVER)
@pytest.mark.parametrize("wrong", WRONG)
def test_what_does_not_go_together_is_said_before_anything_is_asked(
    wrong: str, over: str, tmp_path: Path
) -> None:
    made, settings, says = WRONG[wrong]
    triton = Triton(MODEL, **made)
    with OVER[over](triton) as url, asking(tmp_path, {"url": url, **settings}) as asked:
        with pytest.raises(ConfigError, match=says) as error:
            asked.black_box.ask(questions())
        assert "\n" not in str(error.value) and triton.batches == [] and asked.ledger.spent == 0


def test_another_number_of_classes_is_found_before_anything_is_asked(tmp_path: Path) -> None:
    triton = Triton(MODEL, outputs=[("p", "FP32", [-1, 1001])])
    with over_http(triton) as url, asking(tmp_path, {"url": url}) as asked:
        with pytest.raises(ColumnsError, match="1001 numbers"):
            asked.black_box.ask(questions())
        assert asked.ledger.spent == 0
    with (
        over_http(triton) as url,
        asking(tmp_path, {"url": url, "metadata": False, "input": "pixels"}, name="2.sqlite") as asked,
    ):
        assert len(asked.black_box.ask(questions())) == 24, "metadata that are wrong need not be heeded"


def test_a_batch_that_is_too_large_is_asked_in_smaller_ones_though_nothing_was_told(tmp_path: Path) -> None:
    for over in OVER.values():
        triton, images = Triton(MODEL, most=5), questions()
        triton.config = lambda request, context: context.abort(grpc.StatusCode.UNIMPLEMENTED, "")  # type: ignore[method-assign]
        settings = {"metadata": False, "input": "pixels", "batch": 16}
        with (
            over(triton) as url,
            asking(tmp_path, {"url": url, **settings}, budget=24, name=f"{over.__name__}.sqlite") as asked,
        ):
            assert torch.allclose(asked.black_box.ask(images), truth(images), atol=1e-6)
            assert max(triton.batches) == 5 and asked.ledger.spent == 24 and asked.black_box.batch == 5
            assert "must be <= 5" in asked.told and "asked 5 images a request from here on" in asked.told


def test_numbers_become_the_nearest_ones_of_a_type() -> None:
    values = np.array([0.4, 0.6, 254.7, 1.5], np.float32)
    assert cast(values, "UINT8").tolist() == [0, 1, 255, 2] and cast(values - 128, "INT8").tolist() == [
        -128,
        -127,
        127,
        -126,
    ]
    assert cast(np.array([1.0, -2.5], np.float32), "BF16").tobytes() == b"\x80\x3f\x20\xc0"
    assert cast(values, "FP16").dtype == np.float16 and cast(values, "INT64").tolist() == [0, 1, 255, 2]


def test_settings_that_are_not_used_do_not_rename_a_ledger() -> None:
    plain = remote_of({"url": "https://a.example/v2/models/m/infer"}, CLASSES)
    assert set(plain.about) == {
        "url",
        "protocol",
        "layout",
        "scale",
        "input",
        "output",
        "request",
        "answers",
        "classes",
        "columns",
        "label",
        "score",
        "headers",
    }
    assert (
        "datatype" in dataclasses.replace(plain, wire=dataclasses.replace(plain.wire, datatype="UINT8")).about
    )
