"""The open inference protocol over gRPC."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import hypothesis
import pytest
import torch
from hypothesis import strategies as st

from tests.support.asking import CLASSES, MODEL, asking, questions, truth
from tests.support.certificates import certificates
from tests.support.tritons import Triton, over_grpc
from zooaudit.errors import AnswersError, ConfigError, SuspectError
from zooaudit.suspects.metadata_reply import model_of
from zooaudit.suspects.opening import opened
from zooaudit.suspects.protobuf import config_of, metadata_of, outputs_of, varint
from zooaudit.suspects.remote import remote_of
from zooaudit.suspects.tensors import Output, answers
from zooaudit.suspects.v2 import read_outputs


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
