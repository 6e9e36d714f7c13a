"""Models behind the Open Inference Protocol, over HTTP and gRPC: what they tell of themselves is heeded
before the first question."""

import contextlib
import dataclasses
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import grpc
import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from tests.support.asking import CLASSES, MODEL, K, asking, questions, truth
from tests.support.certificates import certificates
from tests.support.tritons import Triton, over_grpc, over_http
from zooaudit.errors import AnswersError, ColumnsError, ConfigError, SuspectError
from zooaudit.suspects.metadata import fitted, model_of
from zooaudit.suspects.opening import opened
from zooaudit.suspects.pictures import cast
from zooaudit.suspects.protobuf import config_of, metadata_of, outputs_of, varint
from zooaudit.suspects.remote import remote_of
from zooaudit.suspects.tensors import Output, answers
from zooaudit.suspects.v2 import read_outputs

Over = Callable[[Triton], AbstractContextManager[str]]
OVER: dict[str, Over] = {"http": over_http, "grpc": over_grpc}
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "FP32": ({}, {}, ""),
    "channels last": ({"shape": [-1, 4, 4, 1]}, {}, "the layout is nhwc"),
    "a row": ({"shape": [-1, 16]}, {}, "the layout is flat"),
    "without channels": ({"shape": [-1, 4, 4]}, {}, ""),
    "any size": ({"shape": [-1, -1, -1, -1]}, {}, ""),
    "no shape": ({"shape": None}, {}, ""),
    "FP16": ({"datatype": "FP16"}, {}, "pixels go as FP16"),
    "FP64": ({"datatype": "FP64"}, {}, "pixels go as FP64"),
    "UINT8": ({"datatype": "UINT8", "divide": 255.0}, {}, "pixels go as UINT8, times 255"),
    "INT8": (
        {"datatype": "INT8", "divide": 255.0, "shift": 128 / 255},
        {"scale": 255.0, "offset": -128.0},
        "pixels go as INT8",
    ),
    "BYTES": ({"datatype": "BYTES", "shape": [-1]}, {}, "images go as PNG files"),
    "BYTES in a column": ({"datatype": "BYTES", "shape": [-1, 1]}, {}, "images go as PNG files"),
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
            assert "tells of itself otherwise than when it was first asked" in asked.told
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
    seen = fitted(remote.wire, remote.said, model, (1, 4, 4), K).takes.seen
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
        r"'pixels' FP32 \[-1, 3, 224, 224\] takes no images of 1 x 4 x 4 .*metadata = false",
    ),
    "layout": ({"shape": [-1, 4, 4, 1]}, {"layout": "nchw"}, "in the layout nchw; give layout = 'nhwc'"),
    "datatype": (
        {"datatype": "UINT8"},
        {"datatype": "FP32"},
        "is 'FP32', but the model's input is 'pixels' UINT8 .* 'UINT8', or none",
    ),
    "scale": ({"datatype": "UINT8"}, {"scale": 1.0}, "pixels would be 0 or 1; give scale = 255"),
    "INT8": (
        {"datatype": "INT8"},
        {},
        "INT8, and its metadata does not tell of which pixels; give scale and offset",
    ),
    "range": (
        {"datatype": "UINT8"},
        {"scale": 512.0},
        r"pixels from .* to 4\d\d.* do not fit UINT8 \(0 to 255\); give another scale",
    ),
    "a text": ({"datatype": "BOOL"}, {}, "takes no images; say which does"),
    "input": (
        {},
        {"input": "image"},
        "input is 'image', but the model has the inputs 'pixels' .* input = 'pixels'",
    ),
    "inputs": (
        {"inputs": [{"name": "more", "datatype": "FP32", "shape": [-1, 16]}]},
        {},
        "say which takes the images: input = 'pixels'",
    ),
    "output": (
        {},
        {"output": "logits"},
        "output is 'logits', but the model has the outputs 'p' .* output = 'p'",
    ),
    "outputs": (
        {"outputs": [("a", "FP32", [-1, 4]), ("b", "FP32", [-1, 4])]},
        {},
        "say which tells the classes: output = 'a'",
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


# gRPC


def test_answers_that_are_not_raw_are_read_too(tmp_path: Path) -> None:
    for kind in ("FP32", "FP64"):
        triton, images = Triton(MODEL, raw=False, outputs=[("p", kind, [-1, 4])]), questions()
        with over_grpc(triton) as url, asking(tmp_path, {"url": url}, name=f"{kind}.sqlite") as asked:
            assert torch.allclose(asked.black_box.ask(images), truth(images), atol=1e-6)


def test_a_grpc_server_that_takes_short_messages_only(tmp_path: Path) -> None:
    triton, images = Triton(MODEL, largest=400), questions()
    with over_grpc(triton) as url, asking(tmp_path, {"url": url, "batch": 24}, budget=24) as asked:
        assert torch.allclose(asked.black_box.ask(images), truth(images), atol=1e-6)
        assert max(triton.batches) == 3 and asked.ledger.spent == 24 and "larger than max" in asked.told


def test_grpc_statuses_are_charged_retried_or_said(tmp_path: Path) -> None:
    status = grpc.StatusCode
    triton, images = Triton(MODEL), questions(4)
    with over_grpc(triton) as url, asking(tmp_path, {"url": url, "retries": 3}) as asked:
        triton.trouble = [
            (status.RESOURCE_EXHAUSTED, "quota", ("retry-after", "0.2")),
            (status.INTERNAL, "oops"),
        ]
        asked.black_box.ask(images)
        assert (asked.ledger.spent, asked.ledger.lost) == (
            8,
            4,
        ), "what may have been computed is charged, what was turned away is not"
        triton.trouble = [(status.UNAVAILABLE, "model m is not ready")] * 6
        asked.black_box.ask(questions(8)[4:])
        assert asked.ledger.spent == 12 and "its model is loading" in asked.told, (
            "more often than it is retried"
        )
        triton.trouble = [(status.PERMISSION_DENIED, "not you")]
        with pytest.raises(SuspectError, match=r"answers PERMISSION_DENIED \(not you\)"):
            asked.black_box.ask(questions(12)[8:])
        assert asked.ledger.spent == 12
    with (
        pytest.raises(SuspectError, match="cannot be reached"),
        asking(tmp_path, {"url": url, "retries": 1}) as asked,
    ):
        asked.black_box.ask(questions(16)[12:])


def test_a_grpc_key_is_sent_and_never_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    triton = Triton(MODEL, key="right-key")
    with over_grpc(triton) as url:
        monkeypatch.setenv("SUSPECT_KEY", "wrong-key")
        with asking(tmp_path, {"url": url, "key_env": "SUSPECT_KEY"}) as asked:
            with pytest.raises(SuspectError, match=r"UNAUTHENTICATED .*is the key in SUSPECT_KEY") as error:
                asked.black_box.ask(questions(4))
            assert "wrong-key" not in str(error.value)
        monkeypatch.setenv("SUSPECT_KEY", "right-key")
        with asking(tmp_path, {"url": url, "key_env": "SUSPECT_KEY"}) as asked:
            assert len(asked.black_box.ask(questions(4))) == 4
        with pytest.raises(
            ConfigError, match="gRPC in plain text, and the key would be readable on the way; use grpcs"
        ):
            opened(remote_of({"url": "grpc://models.example:8001/m", "key_env": "SUSPECT_KEY"}, CLASSES))


@pytest.mark.parametrize(
    ("url", "more", "says"),
    [
        ("grpc://a:8001", {}, "expected grpc.*host:port/model"),
        ("grpc://a:8001/m/1/infer", {}, "or .../model/version"),
        ("grpc://a:8001/m", {"protocol": "tensorflow"}, "does not go with protocol tensorflow"),
        ("grpcs://a:8001/m", {"sign": "aws"}, "does not go with sign aws"),
        ("grpcs://a:8001/m", {"ca": "/nowhere.pem"}, "ca is '/nowhere.pem', which cannot be read"),
    ],
)
def test_grpc_addresses_say_what_is_right(url: str, more: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=says), asking(tmp_path, {"url": url, **more}):
        pass


def test_keys_go_over_an_encrypted_channel_that_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUSPECT_KEY", "right-key")
    triton, images = Triton(MODEL, key="right-key"), questions(4)
    settings = {"key_env": "SUSPECT_KEY", "retries": 0, "timeout_s": 5.0}
    with over_grpc(triton, grpc.ssl_server_credentials([certificates(tmp_path)])) as url:
        with asking(tmp_path, {"url": url, "ca": str(tmp_path / "ca.pem"), **settings}) as asked:
            assert torch.allclose(asked.black_box.ask(images), truth(images), atol=1e-6)
        away = pytest.raises(SuspectError, match="cannot be reached")
        with asking(tmp_path, {"url": url, **settings, "metadata": False}, name="2.sqlite") as asked, away:
            asked.black_box.ask(images)
        assert asked.ledger.budget == 10_000 and sum(triton.batches) == 4


@pytest.mark.parametrize(
    "broken",
    [b"\x2a\xff\xff\xff\xff\x0f", b"\x2a", b"\x0b", b"\xff" * 12, b"\x2a\x03\x1a\x01\xff", b"\x2d\x00"],
)
@pytest.mark.parametrize("read", [outputs_of, metadata_of])
def test_bytes_that_are_no_protobuf_are_an_error_of_one_line(
    read: Callable[[bytes], object], broken: bytes
) -> None:
    with pytest.raises(AnswersError, match="not protobuf"):
        read(broken)


def read_or_refused(read: Callable[[], object]) -> None:
    with contextlib.suppress(AnswersError):
        read()


LENGTHS = st.sampled_from(["", "0", "2", "17", "-1", "1e3", "99999999999999999999"])
TENSORS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.text(max_size=3),
        "datatype": st.sampled_from(["FP32", "BYTES", "BF16", "FP99"]),
        "shape": st.lists(st.integers(-2, 2**70), max_size=3),
        "data": st.recursive(
            st.none() | st.floats() | st.text(max_size=2),
            lambda inner: st.lists(inner, max_size=4),
            max_leaves=8,
        ),
        "parameters": st.dictionaries(st.just("binary_data_size"), st.integers(-1, 40) | st.text(max_size=2)),
    },
)


@hypothesis.settings(max_examples=150, deadline=None, derandomize=True)
@hypothesis.given(
    packed=st.binary(max_size=60), told=st.lists(TENSORS, max_size=3), length=LENGTHS, count=st.integers(1, 3)
)
def test_whatever_is_sent_is_read_or_refused(packed: bytes, told: list[Any], length: str, count: int) -> None:
    tensor = varint(5 << 3 | 2) + varint(len(packed)) + packed  # an output whose fields are anything
    read_or_refused(lambda: answers(outputs_of(packed), "", count))
    read_or_refused(lambda: answers(outputs_of(tensor), "", count))
    read_or_refused(lambda: metadata_of(packed))
    read_or_refused(lambda: config_of(packed))
    body = json.dumps({"outputs": told}).encode() + packed
    for at in (length, str(len(body) - len(packed)), ""):
        read_or_refused(
            lambda at=at: answers(
                read_outputs(body if at else body[: len(body) - len(packed)], at, ""), "", count
            )
        )
    model_of({"inputs": told, "outputs": told}, {"max_batch_size": length}, {"extensions": told})


def test_numbers_are_written_as_protobuf_does() -> None:
    assert varint(0) == b"\x00" and varint(300) == b"\xac\x02" and varint(-1) == b"\xff" * 9 + b"\x01"


@pytest.mark.parametrize(
    ("outputs", "name", "says"),
    [
        ([], "", "the outputs none"),
        ([Output("a", "FP32", (2, 4), [0.0] * 8)], "b", "expected an output named 'b'"),
        (
            [Output("a", "FP32", (2, 4), [0.0] * 8), Output("b", "FP32", (2, 4), [0.0] * 8)],
            "",
            "2 outputs.*output = 'a'",
        ),
        ([Output("a", "FP32", (4, 2), [0.0] * 8)], "", "the images first"),
        ([Output("a", "FP32", (2, 4), [0.0] * 7)], "", "with 7 values"),
        ([Output("a", "FP32", (3,), [0.0] * 3)], "", "3 values for 2 images"),
        ([Output("a", "FP32", (2, 4), b"\0" * 31)], "", "31 bytes"),
        ([Output("a", "BYTES", (2,), b"\x09\0\0\0ab")], "", "cut off"),
        ([Output("a", "FP32", (2, 4), None)], "", "without data"),
    ],
)
def test_outputs_that_do_not_fit_are_refused(outputs: list[Output], name: str, says: str) -> None:
    with pytest.raises(AnswersError, match=says):
        answers(outputs, name, 2)


def test_outputs_of_every_type_are_read() -> None:
    assert answers([Output("a", "BF16", (2, 1), b"\x80\x3f\x00\x40")], "", 2) == [1.0, 2.0]
    assert answers([Output("a", "BYTES", (2,), b"\x03\0\0\0bag\x04\0\0\0coat")], "", 2) == ["bag", "coat"]
    assert answers([Output("a", "FP32", (2, 2, 1, 1), [1.0, 2.0, 3.0, 4.0])], "", 2) == [
        [1.0, 2.0],
        [3.0, 4.0],
    ]


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
