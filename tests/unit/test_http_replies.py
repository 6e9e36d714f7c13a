"""Replies that are none, late, packed or hostile."""

import gzip
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from tests.support.asking import CLASSES
from tests.support.http_suspects import replies
from zooaudit.errors import AnswersError, SuspectError
from zooaudit.suspects.api import ApiBlackBox
from zooaudit.suspects.http_transport import HttpTransport
from zooaudit.suspects.ledger import Ledger, name_of
from zooaudit.suspects.rate_limit import RateLimit
from zooaudit.suspects.remote import remote_of


def hostile(tmp_path: Path, transport: httpx.MockTransport, **settings: Any) -> tuple[Ledger, ApiBlackBox]:
    remote = remote_of(
        {"url": "http://hostile.example/v1/models/m:predict", "retries": 1, **settings}, CLASSES
    )
    ledger = Ledger(tmp_path / "l.sqlite", remote.about, 1000)
    return ledger, ApiBlackBox(
        remote,
        ledger,
        HttpTransport(remote, httpx.Client(transport=transport)),
        rate_limit=RateLimit(first_s=0.01),
    )


HOSTILE = {
    "deep": b"[" * 200_000,
    "no list": b'{"outputs": 5}',
    "not a number": b'{"predictions": [{"label": NaN}]}',
    "infinite": b'{"predictions": [[1e999, 0, 0, 0]]}',
    "huge": b'{"predictions": [' + b"9" * 400 + b"]}",
    "another form": b'{"predictions": [{"label": "bag", "confidence": 0.6}]}',
    "no JSON": b"<html>",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_reply_that_is_none_is_an_error_of_one_line_and_charged(
    name: str, asked_images: torch.Tensor, tmp_path: Path
) -> None:
    ledger, box = hostile(tmp_path, replies(HOSTILE[name]), batch=1)
    with ledger, pytest.raises(AnswersError):
        box.ask(asked_images[:1])
    with Ledger(tmp_path / "l.sqlite", box._remote.about, 1000) as again:
        assert again.lost == 1 and again.known([name_of(asked_images[0])]) == {}


def test_a_compressed_reply_is_not_unpacked(asked_images: torch.Tensor, tmp_path: Path) -> None:
    bomb = gzip.compress(gzip.compress(b"0" * 100_000_000))
    ledger, box = hostile(tmp_path, replies(bomb, **{"Content-Encoding": "gzip, gzip"}))
    with ledger, pytest.raises(AnswersError, match="the Content-Encoding gzip, gzip"):
        box.ask(asked_images[:4])


def test_what_never_left_is_not_charged(asked_images: torch.Tensor, tmp_path: Path) -> None:
    for number, trouble in enumerate(
        (httpx.ConnectTimeout("late"), httpx.PoolTimeout("full"), httpx.ConnectError("refused"))
    ):
        (folder := tmp_path / str(number)).mkdir()
        ledger, box = hostile(folder, replies(trouble))
        with ledger, pytest.raises(SuspectError, match="cannot be reached"):
            box.ask(asked_images[:4])
        assert Ledger(folder / "l.sqlite", box._remote.about, 1000).spent == 0


def test_retry_after_that_is_no_date_is_no_trouble(asked_images: torch.Tensor, tmp_path: Path) -> None:
    def busy() -> httpx.Response:
        return httpx.Response(
            503,
            stream=httpx.ByteStream(b""),
            headers={"Retry-After": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"},
        )

    ledger, box = hostile(tmp_path, replies(busy))
    with ledger, pytest.raises(SuspectError, match="answers 503, 2 times"):
        box.ask(asked_images[:4])


def test_two_suspects_at_one_address_have_two_ledgers() -> None:
    abouts = [
        remote_of({"url": "http://a.example/v2/models/m/infer", **more}, CLASSES).about
        for more in (
            {},
            {"headers": {"X-Model": "A"}},
            {"headers": {"X-Model": "B"}},
            {"score": "confidence"},
            {"label": "name"},
            {"scale": 2.0},
        )
    ]
    assert len({str(a) for a in abouts}) == len(abouts) and "X-Model" not in str(abouts), (
        "headers may hold keys"
    )
