"""Bodies of replies in any coding, bounded, and refused in one line."""

import gzip
import json
import socket
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import brotli
import pytest
import torch

from tests.support.asking import asking, questions, truth
from tests.support.replies import PREDICT, Serving
from tests.support.scripted import scripted, spoken
from zooaudit.errors import AnswersError, SuspectError
from zooaudit.suspects.codings import unpacked


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
