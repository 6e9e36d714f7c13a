"""What servers answer when they do not simply answer: too much at once, not now, not yet,
in other words than asked for."""

import json
import time
from collections.abc import Mapping
from email.utils import formatdate
from pathlib import Path

import pytest
import torch

from tests.support.asking import asking, questions, truth
from tests.support.replies import PREDICT, Serving, refusing
from tests.support.scripted import Asked, Reply, scripted
from zooaudit.errors import AnswersError, SuspectError
from zooaudit.suspects.retry_after import wait_of

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
