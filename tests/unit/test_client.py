"""The Python client against the application itself, and against a service in trouble."""

import json
import time
from collections.abc import Callable, Iterator

import httpx
import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient

from tests.support.kits import K
from tests.support.service import CLASSES, COPY, Place
from tests.support.strangers import Stranger
from zooaudit.client import Client
from zooaudit.errors import InputError, ServiceError
from zooaudit.suspects.blackbox import TorchBlackBox


@pytest.fixture
def client(place: Place) -> Iterator[Client]:
    with Client("http://testserver", place.keys["all"], transport=Through(place.client)) as made:
        yield made


def test_a_suspect_is_asked_and_judged(client: Client, place: Place) -> None:
    (kit,) = client.kits()
    assert client.kit(kit.id).classes == list(CLASSES)
    asked = client.queries(kit.id)
    assert np.array_equal(asked.images, place.kit.twin_test.questions().numpy()) and asked.classes == CLASSES
    answers = TorchBlackBox(COPY, K).ask(torch.from_numpy(asked.images.copy())).numpy()
    score = client.score(kit.id, answers, suspect="theirs")
    assert score.twins is not None and score.twins.decision == "stolen" and score.suspect == "theirs"
    strict = client.score(kit.id, answers, suspect="theirs", level=0.01).twins
    assert strict is not None and strict.decision == "cannot tell"


def test_an_audit_is_asked_for_and_waited_for(client: Client, place: Place, stranger: Stranger) -> None:
    seen: list[str] = []
    made = client.audit(place.id, {"url": stranger.url + "/v2/models/m/infer"}, budget=150)
    done = client.wait(made.id, every_s=0.05, on_progress=lambda a: seen.append(a.state))
    assert done.state == "done" and done.result and done.result.decision == "stolen" and seen[-1] == "done"
    assert made.id in [a.id for a in client.audits()] and client.cancel(made.id).state == "done"


def test_refusals_say_what_was_found_and_expected(client: Client, place: Place) -> None:
    with pytest.raises(
        ServiceError, match="negative values in 1 of 1 rows; expected probabilities"
    ) as caught:
        client.score(place.id, [[-1.0, 1.0, 0.5, 0.5]], suspect="s")
    assert caught.value.status == 422 and caught.value.found and caught.value.expected
    with pytest.raises(ServiceError, match="no such kit") as missing:
        client.kit("0" * 16)
    assert missing.value.status == 404
    with pytest.raises(InputError, match=r"expected \[questions, classes\]"):
        client.score(place.id, [], suspect="s")
    with (
        Client("http://testserver", "wrong", transport=Through(place.client)) as stranger_,
        pytest.raises(ServiceError, match="does not know that key"),
    ):
        stranger_.kits()


class Through(httpx.BaseTransport):
    """To the service in this process, by its test client, which may be built on another httpx than ours."""

    def __init__(self, client: TestClient) -> None:
        self._client = client

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        found = self._client.request(
            request.method, str(request.url), headers=dict(request.headers), content=request.read()
        )
        headers = [
            (name, value) for name, value in found.headers.multi_items() if name.lower() != "content-encoding"
        ]
        return httpx.Response(found.status_code, headers=headers, content=found.content)


def in_trouble(*replies: Callable[[], httpx.Response]) -> tuple[httpx.MockTransport, list[str]]:
    """A service that answers with these in turn, then with the last for ever: faults that a
    real one can't be made to show on time."""
    left, asked = list(replies), []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        return (left.pop(0) if len(left) > 1 else left[0])()

    return httpx.MockTransport(answer), asked


def refuses() -> httpx.Response:
    raise httpx.ConnectError("refused")


def breaks() -> httpx.Response:
    raise httpx.ReadError("reset")


def busy() -> httpx.Response:
    return httpx.Response(
        503,
        headers={"Retry-After": "0"},
        json={"title": "t", "status": 503, "detail": "the store does not answer"},
    )


def died() -> httpx.Response:
    """What Serve's proxy says of a request whose replica was killed."""
    return httpx.Response(500, text="Internal Server Error")


def test_what_passes_is_tried_again() -> None:
    transport, asked = in_trouble(
        refuses,
        breaks,
        busy,
        died,
        lambda: httpx.Response(429, text="slowly"),
        lambda: httpx.Response(200, json={"kits": []}),
    )
    assert Client("http://service", transport=transport).kits() == [] and len(asked) == 6


def test_what_stays_is_given_up() -> None:
    transport, _ = in_trouble(busy)
    started = time.monotonic()
    with pytest.raises(ServiceError, match=r"the store does not answer, \d+ times") as caught:
        Client("http://service", patience_s=0.5, transport=transport).kits()
    assert caught.value.status == 503 and time.monotonic() - started < 2


def test_an_error_of_the_application_is_not_asked_for_again() -> None:
    data = {"title": "t", "status": 500, "detail": "an error that the service did not foresee"}
    headers = {"Content-Type": "application/problem+json"}
    transport, asked = in_trouble(lambda: httpx.Response(500, headers=headers, content=json.dumps(data)))
    with pytest.raises(ServiceError, match="did not foresee"):
        Client("http://service", transport=transport).kits()
    assert len(asked) == 1


@pytest.mark.parametrize(
    "trouble",
    [breaks, died, lambda: httpx.Response(502, text="gateway"), lambda: httpx.Response(504, text="late")],
)
def test_an_audit_that_may_have_been_taken_is_asked_for_again_by_the_same_key(
    trouble: Callable[[], httpx.Response],
    client: Client,
    place: Place,
    stranger: Stranger,
) -> None:
    """The service takes it, and its answer is lost on the way: one audit all the same."""
    through, keys = Through(place.client), []

    def lost(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers.get("Idempotency-Key"))
        answer = through.handle_request(request)
        return trouble() if len(keys) < 3 else answer

    before = len(client.audits())
    with Client("http://testserver", place.keys["all"], transport=httpx.MockTransport(lost)) as shaky:
        made = shaky.audit(place.id, {"url": stranger.url + "/v2/models/m/infer", "batch": 11})
    assert len(keys) == 3 and len(set(keys)) == 1 and keys[0], "sent again with its key"
    assert len(client.audits()) == before + 1 and client.audits()[0].id == made.id
    client.cancel(made.id)


def test_a_proxy_may_say_a_date() -> None:
    later = httpx.Response(503, headers={"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, text="later")
    transport, asked = in_trouble(lambda: later, lambda: httpx.Response(200, json={"kits": []}))
    assert Client("http://service", transport=transport).kits() == [] and len(asked) == 2
