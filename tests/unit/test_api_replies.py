"""What servers answer when they do not simply answer: too much at once, not now, not yet,
in other words than asked for."""

import gzip
import json
import socket
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

import brotli
import pytest
import torch

from tests.support.asking import MODEL, asking, questions, truth
from tests.support.scripted import Asked, Reply, scripted, spoken
from zooaudit.errors import AnswersError, SuspectError
from zooaudit.suspects.batches import most_of
from zooaudit.suspects.codings import unpacked
from zooaudit.suspects.retry_after import wait_of

PREDICT = "/v1/models/m:predict"


@dataclass
class Serving:
    """A TensorFlow Serving that may refuse.

    Attributes:
        refuse: from the number of images and the number of the request to a reply, or None to answer.
        dress: what becomes of a reply's status, headers and body.
    """

    refuse: Callable[[int, int], Reply | None] = lambda count, number: None
    dress: Callable[[bytes], Reply] = lambda body: (200, {"Content-Type": "application/json"}, body)
    batches: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def script(self, asked: Asked) -> Reply:
        images = torch.tensor(json.loads(asked.body)["instances"]).permute(0, 3, 1, 2)
        with self.lock:
            self.times.append(time.monotonic())
            refusal = self.refuse(len(images), len(self.times))
            if refusal:
                return refusal
            self.batches.append(len(images))
            self.sizes.append(len(asked.body))
        with torch.no_grad():
            return self.dress(json.dumps({"predictions": MODEL(images).softmax(1).tolist()}).encode())


def refusing(
    status: int, text: str, times: int = 10**9, headers: Mapping[str, str] | None = None
) -> Callable[[int, int], Reply | None]:
    """The first so many requests."""
    return lambda count, number: (status, headers or {}, text.encode()) if number <= times else None


# Too much at once

TOO_LARGE = {
    "Triton": (
        400,
        '{"error":"[request id: <id_unknown>] inference request batch-size must be <= 5 for \'m\'"}',
    ),
    "TensorFlow Serving": (400, '{"error":"Task size 24 is larger than maximum input batch size 5"}'),
    "TorchServe": (
        413,
        '{"code": 413, "type": "RequestEntityTooLargeException", "message": "Request size exceeds limit"}',
    ),
    "TorchServe, older": (
        400,
        '{"code": 400, "type": "BadRequestException", "message": "content length exceeded 6553500 bytes"}',
    ),
    "SageMaker": (
        400,
        (
            "1 validation error detected: Value at 'body' failed to satisfy constraint: "
            "Member must have length less than or equal to 6291456"
        ),
    ),
    "SageMaker's container": (
        424,
        '{"Message": "Received client error (413) from primary", "OriginalStatusCode": 413}',
    ),
    "FastAPI": (
        422,
        (
            '{"detail": [{"type": "too_long", "msg": "List should have at most 5 items after validation, not'
            ' 24"}]}'
        ),
    ),
    "FastAPI, pydantic 1": (
        422,
        '{"detail": [{"loc": ["body"], "msg": "ensure this value has at most 5 items"}]}',
    ),
    "BentoML": (400, '{"error": "batch of size 24 exceeds configured max batch size of 5."}'),
    "Hugging Face": (
        422,
        '{"error": "batch size 24 > maximum allowed batch size 5", "error_type": "validation"}',
    ),
    "nginx": (413, "<html><h1>413 Request Entity Too Large</h1></html>"),
    "API Gateway": (413, '{"message": "Request Too Long"}'),
    "ONNX Runtime": (
        500,
        (
            "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got invalid dimensions for input: x index: 0 Got: 24"
            " Expected: 1"
        ),
    ),
    "out of memory": (500, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"),
}


@pytest.mark.parametrize("who", TOO_LARGE)
def test_a_batch_that_is_too_large_is_asked_in_smaller_ones(who: str, tmp_path: Path) -> None:
    status, text = TOO_LARGE[who]
    serving, images = (
        Serving(lambda count, number: (status, {}, text.encode()) if count > 5 else None),
        questions(),
    )
    with (
        scripted(serving.script) as url,
        asking(tmp_path, {"url": url + PREDICT, "batch": 24}, budget=48) as asked,
    ):
        assert torch.allclose(asked.black_box.ask(images), truth(images), atol=1e-6)
        result = (
            1
            if who == "ONNX Runtime"
            else 5
            if "5" in text and "6553500" not in text and "6291456" not in text
            else 3
        )
        assert max(serving.batches) == asked.black_box.batch == result, "as it said, or halved"
        assert asked.ledger.spent == sum(serving.batches) == 24, "what was refused is not charged"
        assert f"is asked {result} images a request from here on" in asked.told
        before = len(serving.times)
        asked.black_box.ask(questions(48)[24:])
        assert len(serving.times) - before == -(-24 // result), "the size that was found is kept"


def test_down_to_one_image_and_no_further(tmp_path: Path) -> None:
    serving = Serving(lambda count, number: (413, {}, b"") if count > 1 else None)
    with scripted(serving.script) as url, asking(tmp_path, {"url": url + PREDICT}, budget=24) as asked:
        assert torch.allclose(asked.black_box.ask(questions()), truth(questions()), atol=1e-6) and set(
            serving.batches
        ) == {1}
    serving.refuse = refusing(413, "")
    with scripted(serving.script) as url, asking(tmp_path, {"url": url + PREDICT}, name="2.sqlite") as asked:
        with pytest.raises(SuspectError, match="a request of one image is too much for it already"):
            asked.black_box.ask(questions())
        assert asked.ledger.spent == 0


def test_a_413_is_heard_though_the_server_does_not_read_the_body(tmp_path: Path) -> None:
    """As nginx does: it answers by the header alone and closes."""
    asked_of: list[int] = []

    def speak(connection: socket.socket) -> None:
        file = connection.makefile("rb")
        length = next(int(line.split()[1]) for line in file if line.lower().startswith(b"content-length"))
        asked_of.append(length)
        if length > 20_000:
            connection.sendall(
                b"HTTP/1.1 413 Request Entity Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(1)
            while connection.recv(65_536):
                pass
            return
        while file.readline().strip():
            pass
        count = len(json.loads(file.read(length))["instances"])
        body = json.dumps({"predictions": [[0.7, 0.1, 0.1, 0.1]] * count}).encode()
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )

    with spoken(speak) as url, asking(tmp_path, {"url": url + PREDICT, "batch": 120}, budget=120) as asked:
        assert len(asked.black_box.ask(questions(120))) == 120 and asked.ledger.spent == 120
        assert max(asked_of) > 20_000


def test_requests_are_sized_by_bytes(tmp_path: Path) -> None:
    serving, images = Serving(), questions()
    settings = {"batch": 24, "largest_request": 2_000}
    with (
        scripted(serving.script) as url,
        asking(tmp_path, {"url": url + PREDICT, **settings}, budget=24) as asked,
    ):
        assert torch.allclose(asked.black_box.ask(images), truth(images), atol=1e-6)
        assert max(serving.sizes) <= 2_000 < 2 * max(serving.sizes) and sum(serving.batches) == 24
        assert "for at most 2,000 bytes" in asked.told
    large = torch.rand(3, 1, 20, 20)
    speak = answering(b'{"predictions": [[0.7, 0.1, 0.1, 0.1]]}')
    with spoken(speak) as url, asking(tmp_path, {"url": url + PREDICT, **settings}, name="2.sqlite") as asked:
        assert len(asked.black_box.ask(large)) == 3, "an image that is larger alone is asked nevertheless"


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (400, "the image is larger than 224 x 224"),
        (400, "batch is missing"),
        (404, "no such model"),
        (422, "5 items required"),
        (500, ""),
    ],
)
def test_other_refusals_are_not_taken_for_large_batches(status: int, text: str) -> None:
    assert most_of(status, text, 24) == 0


# Statuses

READ = (200, 201, 202, 203, 206, 226)
BUSY = (425, 429, 503, 521, 523, 525, 526)
LOST = (408, 500, 502, 504, 520, 522, 524, 527, 529, 530, 598, 599)
NEVER = (
    300,
    301,
    302,
    303,
    304,
    307,
    308,
    400,
    401,
    402,
    403,
    404,
    405,
    406,
    409,
    410,
    411,
    415,
    418,
    422,
    501,
    505,
    511,
)


@pytest.mark.parametrize("status", READ)
def test_answers_are_read_whatever_the_success_is_called(status: int, tmp_path: Path) -> None:
    serving, images = Serving(dress=lambda body: (status, {}, body)), questions(4)
    with scripted(serving.script) as url, asking(tmp_path, {"url": url + PREDICT}) as asked:
        assert (
            torch.allclose(asked.black_box.ask(images), truth(images), atol=1e-6) and asked.ledger.spent == 4
        )


@pytest.mark.parametrize("status", [*BUSY, *LOST])
def test_what_may_pass_is_tried_again_and_charged_if_it_may_have_been_answered(
    status: int, tmp_path: Path
) -> None:
    serving, images = Serving(refusing(status, "oops", times=2)), questions(4)
    with scripted(serving.script) as url, asking(tmp_path, {"url": url + PREDICT}) as asked:
        assert (
            torch.allclose(asked.black_box.ask(images), truth(images), atol=1e-6) and len(serving.times) == 3
        )
        assert (asked.ledger.spent, asked.ledger.lost) == ((12, 8) if status in LOST else (4, 0))


@pytest.mark.parametrize("status", NEVER)
def test_what_will_never_be_answered_is_said_at_once(status: int, tmp_path: Path) -> None:
    away = {"Location": "/elsewhere"} if 300 < status < 400 else {}
    serving = Serving(refusing(status, "" if status == 304 else "no, because", headers=away))
    with scripted(serving.script) as url, asking(tmp_path, {"url": url + PREDICT}) as asked:
        says = "it points to /elsewhere, which is not followed" if away else f"answers {status}"
        with pytest.raises(SuspectError, match=says):
            asked.black_box.ask(questions(4))
        assert len(serving.times) == 1 and asked.ledger.spent == 0


@pytest.mark.parametrize("status", [200, 202, 204])
def test_a_success_without_answers_is_charged(status: int, tmp_path: Path) -> None:
    serving = Serving(refusing(status, ""))
    with scripted(serving.script) as url, asking(tmp_path, {"url": url + PREDICT}) as asked:
        with pytest.raises(AnswersError, match=rf"nothing in them \(status {status}\)") as error:
            asked.black_box.ask(questions(4))
        assert asked.ledger.lost == 4 and ("asynchronous" in str(error.value)) == (status == 202)


def test_sagemakers_wrapped_statuses_and_throttling(tmp_path: Path) -> None:
    inner = '{"Message": "Received server error (503) from primary", "OriginalStatusCode": 503}'
    for number, (status, text, spent) in enumerate(
        (
            (424, inner, 4),
            (424, inner.replace("503", "500"), 8),
            (400, '{"__type": "ThrottlingException"}', 4),
        )
    ):
        serving = Serving(refusing(status, text, times=1))
        with (
            scripted(serving.script) as url,
            asking(tmp_path, {"url": url + PREDICT}, name=f"{number}.sqlite") as asked,
        ):
            assert len(asked.black_box.ask(questions(4))) == 4 and asked.ledger.spent == spent


def test_what_it_said_is_told_on_one_line_without_what_was_sent(tmp_path: Path) -> None:
    serving = Serving(refusing(400, "no\n\x1b[31mhush-hush\r\nplease"))
    settings = {"headers": {"X-Secret": "hush-hush"}}
    says = pytest.raises(SuspectError, match=r"answers 400: no \[31m\*\*\* please$")
    with scripted(serving.script) as url, asking(tmp_path, {"url": url + PREDICT, **settings}) as asked, says:
        asked.black_box.ask(questions(4))


# Not now, not yet

NOW = 1_800_000_000
DATE = {"date": formatdate(NOW, usegmt=True)}
WAITS: dict[str, tuple[int, Mapping[str, str], str, float]] = {
    "seconds": (503, {"retry-after": "7"}, "", 7),
    "a fraction": (503, {"retry-after": " 0.25 "}, "", 0.25),
    "a date, by its own clock": (503, {"retry-after": formatdate(NOW + 90, usegmt=True)}, "", 90),
    "a date of ISO 8601": (429, {"retry-after": "2027-01-15T08:00:30Z"}, "", 30),
    "a date that is past": (503, {"retry-after": formatdate(NOW - 90, usegmt=True)}, "", 0),
    "milliseconds": (429, {"retry-after-ms": "1500"}, "", 1.5),
    "Azure's": (429, {"x-ms-retry-after-ms": "700"}, "", 0.7),
    "milliseconds before seconds": (429, {"retry-after-ms": "250", "retry-after": "1"}, "", 0.25),
    "a limit's end, from now": (429, {"x-ratelimit-reset": "12"}, "", 12),
    "a limit's end, since 1970": (429, {"x-ratelimit-reset": str(NOW + 20)}, "", 20),
    "a limit's end, in milliseconds since 1970": (429, {"x-ratelimit-reset": str((NOW + 20) * 1000)}, "", 20),
    "the limit that is used up": (
        429,
        {
            "x-ratelimit-reset-requests": "6m0s",
            "x-ratelimit-remaining-requests": "5",
            "x-ratelimit-reset-tokens": "20ms",
            "x-ratelimit-remaining-tokens": "0",
        },
        "",
        0.02,
    ),
    "another vendor's": (429, {"anthropic-ratelimit-requests-reset": "2027-01-15T08:00:05Z"}, "", 5),
    "the draft's": (429, {"ratelimit-reset": "9"}, "", 9),
    "a limit that has nothing to do with it": (503, {"x-ratelimit-reset": "12"}, "", 0),
    "an estimate": (503, {}, '{"error": "Model m is currently loading", "estimated_time": 20.5}', 20.5),
    "in the body": (429, {}, '{"error": {"retry_after": 3}}', 3),
    "Google's": (
        429,
        {},
        '{"error": {"code": 429, "details": [{"@type": "x"}, {"retryDelay": "3.5s"}]}}',
        3.5,
    ),
    "not a number": (503, {"retry-after": "nan"}, "", 0),
    "for ever": (503, {"retry-after": "inf"}, "", 0),
    "less than nothing": (503, {"retry-after": "-5"}, "", 0),
    "soon": (503, {"retry-after": "soon"}, '{"estimated_time": "soon"}', 0),
    "no date": (503, {"retry-after": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"}, "[" * 10_000, 0),
}


@pytest.mark.parametrize("form", WAITS)
def test_a_wait_is_heeded_in_every_form(form: str) -> None:
    status, headers, text, seconds = WAITS[form]
    assert wait_of(status, DATE | headers, text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ({"Retry-After": "0.4"}, ""),
        ({"retry-after-ms": "400"}, ""),
        ({}, '{"error": "currently loading", "estimated_time": 0.4}'),
    ],
)
def test_a_wait_is_kept_to(headers: dict[str, str], text: str, tmp_path: Path) -> None:
    serving = Serving(refusing(503, text, times=1, headers=headers))
    with scripted(serving.script) as url, asking(tmp_path, {"url": url + PREDICT}) as asked:
        asked.black_box.ask(questions(4))
    assert 0.4 <= serving.times[1] - serving.times[0] < 3


LOADING = {
    "Hugging Face": (503, '{"error": "Model m is currently loading", "estimated_time": 0.05}'),
    "TorchServe": (
        503,
        '{"code": 503, "type": "ServiceUnavailableException", "message": "Model \\"m\\" is not ready"}',
    ),
    "SageMaker": (429, '{"Message": "...", "ErrorCode": "ModelNotReadyException"}'),
    "KServe": (503, '{"error": "Model with name m is not ready."}'),
    "TensorFlow Serving": (503, '{"error": "Servable not yet loaded for request"}'),
}


@pytest.mark.parametrize("who", LOADING)
def test_a_model_that_loads_is_waited_for_beyond_the_retries(who: str, tmp_path: Path) -> None:
    status, text = LOADING[who]
    serving, images = Serving(refusing(status, text, times=4)), questions(4)
    with (
        scripted(serving.script) as url,
        asking(tmp_path, {"url": url + PREDICT, "retries": 1}, budget=4) as asked,
    ):
        assert (
            torch.allclose(asked.black_box.ask(images), truth(images), atol=1e-6) and asked.ledger.spent == 4
        )
        assert asked.told.count("its model is loading") == 4 and "of 20 s so far" in asked.told


def test_a_model_that_never_loads_is_left_when_patience_ends_and_not_before(tmp_path: Path) -> None:
    serving = Serving(refusing(503, '{"error": "is currently loading", "estimated_time": 600}'))
    started = time.monotonic()
    with (
        scripted(serving.script) as url,
        asking(tmp_path, {"url": url + PREDICT, "patience_s": 0.7}) as asked,
    ):
        with pytest.raises(
            SuspectError, match=r"was still loading after 1 s \(patience_s = 0.7\); answers so far are kept"
        ):
            asked.black_box.ask(questions(4))
        assert (
            0.7 <= time.monotonic() - started < 5
            and asked.ledger.spent == 0
            and "says for 600 s" in asked.told
        )


def test_metadata_of_a_model_that_loads_are_waited_for(tmp_path: Path) -> None:
    asked_for: list[str] = []

    def script(asked: Asked) -> Reply:
        asked_for.append(asked.path)
        if asked.path == "/v2/models/m" and asked_for.count(asked.path) <= 3:
            return 503, {}, b'{"error": "model m is loading"}'
        if asked.method == "GET":
            return 200, {}, b'{"inputs": [{"name": "pixels", "datatype": "FP32", "shape": [-1, 1, 4, 4]}]}'
        (tensor,) = json.loads(asked.body)["inputs"]
        assert tensor["name"] == "pixels"
        return (
            200,
            {},
            json.dumps(
                {"outputs": [{"name": "p", "data": [0.7, 0.1, 0.1, 0.1] * tensor["shape"][0]}]}
            ).encode(),
        )

    with (
        scripted(script) as url,
        asking(tmp_path, {"url": url + "/v2/models/m/infer", "retries": 0}) as asked,
    ):
        assert len(asked.black_box.ask(questions(4))) == 4 and asked.ledger.spent == 4


# In other words


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


CODED: dict[str, tuple[dict[str, str], Callable[[bytes], bytes]]] = {
    "gzip": ({"Content-Encoding": "gzip"}, gzip.compress),
    "GZIP": ({"Content-Encoding": " GZip "}, gzip.compress),
    "x-gzip": ({"Content-Encoding": "x-gzip"}, gzip.compress),
    "deflate": ({"Content-Encoding": "deflate"}, zlib.compress),
    "deflate without a header": ({"Content-Encoding": "deflate"}, raw_deflate),
    "br": ({"Content-Encoding": "br"}, brotli.compress),
    "UTF-8 with a mark": ({}, lambda body: b"\xef\xbb\xbf" + body),
    "UTF-16": ({"Content-Type": "application/json"}, lambda body: body.decode().encode("utf-16")),
    "a wrong charset": ({"Content-Type": "application/json; charset=klingon"}, lambda body: body),
    "text": ({"Content-Type": "text/plain"}, lambda body: body),
}


@pytest.mark.parametrize("coded", CODED)
def test_answers_are_read_in_any_coding(coded: str, tmp_path: Path) -> None:
    headers, code = CODED[coded]
    serving, images = Serving(dress=lambda body: (200, headers, code(body))), questions()
    with scripted(serving.script) as url, asking(tmp_path, {"url": url + PREDICT}) as asked:
        assert torch.allclose(asked.black_box.ask(images), truth(images), atol=1e-6)


def test_names_are_read_in_the_charset_that_the_server_names(tmp_path: Path) -> None:
    reply = json.dumps({"predictions": ["Stiefel für Damen"] * 4}, ensure_ascii=False)
    settings = {"classes": ["Stiefel für Damen", "bag", "coat", "dress"]}
    serving = Serving(
        dress=lambda body: (
            200,
            {"Content-Type": 'application/json; charset="ISO-8859-1"'},
            reply.encode("latin-1"),
        )
    )
    with scripted(serving.script) as url, asking(tmp_path, {"url": url + PREDICT, **settings}) as asked:
        assert asked.black_box.ask(questions(4))[:, 0].tolist() == [1.0] * 4


BOMB = b"0" * 200_000_000
REFUSED: dict[str, tuple[dict[str, str], Callable[[], bytes], str]] = {
    "a gzip bomb": (
        {"Content-Encoding": "gzip"},
        lambda: gzip.compress(BOMB, 1),
        r"more than 1,\d+,\d+ bytes",
    ),
    "a br bomb": (
        {"Content-Encoding": "br"},
        lambda: brotli.compress(BOMB, quality=1),
        r"more than 1,\d+,\d+ bytes",
    ),
    "layers": (
        {"Content-Encoding": "gzip, gzip"},
        lambda: b"",
        "the Content-Encoding gzip, gzip; expected none, or one of gzip",
    ),
    "no gzip": ({"Content-Encoding": "gzip"}, lambda: b"{}", "a body that is not gzip"),
    "no br": ({"Content-Encoding": "br"}, lambda: b"\xff\xff\xff", "a body that is not brotli"),
    "cut off": (
        {"Content-Encoding": "gzip"},
        lambda: gzip.compress(b'{"predictions": [[0.7, 0.1, 0.1, 0.1]]}')[:30],
        "cannot be read",
    ),
    "NaN": ({}, lambda: b'{"predictions": [[NaN, 0.1, 0.1, 0.1]]}', "NaN or infinite"),
    "Infinity": ({}, lambda: b'{"predictions": [[-Infinity, 0.1, 0.1, 0.1]]}', "NaN or infinite"),
    "null": ({}, lambda: b'{"predictions": [[null, 0.1, 0.1, 0.1]]}', "for image 0"),
    "HTML": ({"Content-Type": "text/html"}, lambda: b"<html>sign in</html>", "cannot be read"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_body_that_is_no_answer_is_bounded_and_an_error_of_one_line(name: str, tmp_path: Path) -> None:
    headers, body, says = REFUSED[name]
    packed = body()
    serving = Serving(dress=lambda _: (200, headers, packed))
    with scripted(serving.script) as url, asking(tmp_path, {"url": url + PREDICT}) as asked:
        with pytest.raises(AnswersError, match=says) as error:
            asked.black_box.ask(questions(1))
        assert "\n" not in str(error.value) and asked.ledger.lost == 1


@pytest.mark.parametrize(
    ("coding", "pack"),
    [("gzip", lambda: gzip.compress(BOMB, 1)), ("br", lambda: brotli.compress(BOMB, quality=1))],
)
def test_a_bomb_is_never_whole_in_memory(coding: str, pack: Callable[[], bytes]) -> None:
    packed = pack()
    tracemalloc.start()
    try:
        with pytest.raises(AnswersError, match="more than 1,000,000 bytes"):
            list(unpacked(coding, [packed], 1_000_000))
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def answering(body: bytes) -> Callable[[socket.socket], None]:
    """Every request with this body."""

    def speak(connection: socket.socket) -> None:
        file = connection.makefile("rb")
        length = next(int(line.split()[1]) for line in file if line.lower().startswith(b"content-length"))
        while file.readline().strip():
            pass
        file.read(length)
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )

    return speak


def test_endless_bodies_end(tmp_path: Path) -> None:
    def endless(pause_s: float, piece: bytes) -> Callable[[socket.socket], None]:
        def speak(connection: socket.socket) -> None:
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                connection.sendall(b"%x\r\n" % len(piece) + piece + b"\r\n")
                time.sleep(pause_s)

        return speak

    more = pytest.raises(AnswersError, match="more than")
    with spoken(endless(0, b"0" * 65_536)) as url, asking(tmp_path, {"url": url + PREDICT}) as asked, more:
        asked.black_box.ask(questions(1))
    settings: dict[str, Any] = {"timeout_s": 0.3, "retries": 0}
    with (
        spoken(endless(0.05, b"0")) as url,
        asking(tmp_path, {"url": url + PREDICT, **settings}, name="2.sqlite") as asked,
    ):
        with pytest.raises(SuspectError, match=r"not all of the answer within 0\.3 s"):
            asked.black_box.ask(questions(1))
        assert asked.ledger.lost == 1
