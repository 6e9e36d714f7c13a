"""Batches that are too large for a suspect are asked in smaller ones."""

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.support.asking import asking, questions, truth
from tests.support.replies import PREDICT, Serving, refusing
from tests.support.scripted import scripted, spoken
from zooaudit.errors import SuspectError
from zooaudit.suspects.batches import most_of

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
