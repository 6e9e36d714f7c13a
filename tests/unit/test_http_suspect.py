"""Suspects behind prediction APIs: asked in their words, as fast as they like, nothing paid
twice, never over the budget."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from tests.support.asking import CLASSES, MODEL, THEIRS, K
from tests.support.http_suspects import replies
from tests.support.strangers import Stranger, serving
from zooaudit.errors import AnswersError, InputError, SuspectError
from zooaudit.suspects.api import ApiBlackBox
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.suspects.http_transport import HttpTransport, client_of
from zooaudit.suspects.ledger import ANSWERED, LOST, REFUSED, Ledger, name_of
from zooaudit.suspects.rate_limit import RateLimit
from zooaudit.suspects.remote import remote_of

ROUTES: dict[str, dict[str, Any]] = {
    "/v2/models/m/infer": {},
    "/v1/models/m:predict": {},
    "/predictions/m": {"classes": list(THEIRS)},
    "/classify": {
        "protocol": "template",
        "request": {"payload": {"pictures": "$pngs"}},
        "answers": "results[*].scores",
        "classes": list(THEIRS),
    },
}


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    with serving(Stranger(MODEL, THEIRS)) as served:
        yield served


Asking = Callable[..., ApiBlackBox]


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Asking]:
    """A suspect at an address, with the ledger of this test."""
    opened: list[Any] = []

    def make(url: str, budget: int = 10_000, ledger: str = "l.sqlite", **settings: Any) -> ApiBlackBox:
        while opened:
            opened.pop().close()
        remote = remote_of({"url": url, "batch": 8, "patience_s": 20, **settings}, CLASSES)
        opened.append(Ledger(tmp_path / ledger, remote.about, budget))
        opened.append(client_of(remote))
        return ApiBlackBox(
            remote,
            opened[0],
            HttpTransport(remote, opened[1]),
            rate_limit=RateLimit(remote.rate, first_s=0.01),
        )

    yield make
    while opened:
        opened.pop().close()


@pytest.mark.parametrize("route", ROUTES)
def test_every_protocol_gives_what_the_model_gives(
    route: str, asked_images: torch.Tensor, stranger: Stranger, asking: Asking
) -> None:
    box = asking(stranger.url + route, **ROUTES[route])
    expected = TorchBlackBox(MODEL, K).ask(asked_images)
    assert torch.allclose(box.ask(asked_images), expected, atol=1e-6) and box.queries == len(asked_images)
    assert set(stranger.answered.values()) == {1} and stranger.most_at_once <= 4


def test_several_requests_are_under_way_at_once(
    asked_images: torch.Tensor, stranger: Stranger, asking: Asking
) -> None:
    stranger.slow_s = 0.1
    asking(stranger.url + "/v2/models/m/infer", concurrency=3).ask(asked_images)
    assert stranger.most_at_once == 3


def test_a_label_is_a_label(asked_images: torch.Tensor, stranger: Stranger, asking: Asking) -> None:
    box = asking(stranger.url + "/label", **ROUTES["/classify"] | {"answers": "results"})
    expected = TorchBlackBox(MODEL, K).ask(asked_images)
    assert torch.equal(box.ask(asked_images), torch.nn.functional.one_hot(expected.argmax(1), K).float())


def test_only_the_likeliest_classes(asked_images: torch.Tensor, stranger: Stranger, asking: Asking) -> None:
    stranger.top = 2
    answers = asking(stranger.url + "/predictions/m", classes=list(THEIRS)).ask(asked_images)
    assert bool(((answers > 0).sum(1) == 2).all())


def test_columns_in_another_order(asked_images: torch.Tensor, stranger: Stranger, asking: Asking) -> None:
    stranger.order = (2, 0, 3, 1)  # its column 0 is the kit's class 2
    expected = TorchBlackBox(MODEL, K).ask(asked_images)
    right = asking(stranger.url + "/v2/models/m/infer", columns=[1, 3, 0, 2])
    assert torch.allclose(right.ask(asked_images), expected, atol=1e-6)


def test_flaky_slow_and_limited_is_answered_and_charged_once(
    asked_images: torch.Tensor, stranger: Stranger, asking: Asking
) -> None:
    stranger.flaky, stranger.slow_s, stranger.limit = 0.2, 0.01, 40
    box = asking(stranger.url + "/v2/models/m/infer", budget=len(asked_images), batch=4)
    assert torch.allclose(box.ask(asked_images), TorchBlackBox(MODEL, K).ask(asked_images), atol=1e-6)
    assert sum(stranger.answered.values()) == stranger.computed == len(asked_images)


def test_what_is_lost_on_the_way_counts_and_the_budget_holds(
    asked_images: torch.Tensor, stranger: Stranger, asking: Asking
) -> None:
    stranger.lost = 0.5
    box = asking(stranger.url + "/v2/models/m/infer", budget=len(asked_images), batch=4)
    with pytest.raises(SuspectError, match=r"the budget is 60 queries, \d+ are spent .* raise --budget"):
        box.ask(asked_images)
    assert stranger.computed <= len(asked_images)
    stranger.lost, before = 0.0, dict(stranger.answered)
    again = asking(stranger.url + "/v2/models/m/infer", budget=200, batch=4)
    assert torch.allclose(again.ask(asked_images), TorchBlackBox(MODEL, K).ask(asked_images), atol=1e-6)
    assert all(stranger.answered[i] == 1 for i in before), "what was answered is not asked again"


def test_an_audit_that_was_cut_off_goes_on(
    asked_images: torch.Tensor, stranger: Stranger, asking: Asking
) -> None:
    url = stranger.url + "/v2/models/m/infer"
    asking(url).ask(asked_images[:30])
    box = asking(url)
    assert torch.allclose(box.ask(asked_images), TorchBlackBox(MODEL, K).ask(asked_images), atol=1e-6)
    assert set(stranger.answered.values()) == {1} and stranger.computed == len(asked_images)


def test_a_cancelled_audit_asks_no_more(
    asked_images: torch.Tensor, stranger: Stranger, tmp_path: Path
) -> None:
    stranger.slow_s = 0.05
    remote = remote_of({"url": stranger.url + "/v2/models/m/infer", "batch": 2, "concurrency": 1}, CLASSES)
    stop = threading.Event()
    with Ledger(tmp_path / "l.sqlite", remote.about, 1000) as ledger, client_of(remote) as client:
        threading.Thread(target=lambda: stop.set() if _until(lambda: stranger.computed > 4) else None).start()
        with pytest.raises(SuspectError, match="was stopped"):
            ApiBlackBox(remote, ledger, HttpTransport(remote, client), cancelled=stop.is_set).ask(
                asked_images
            )
        assert 0 < ledger.spent < len(asked_images)


def _until(seen: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not seen() and time.monotonic() < end:
        time.sleep(0.01)
    return True


def test_a_suspect_that_stays_away_is_left(
    asked_images: torch.Tensor, stranger: Stranger, asking: Asking
) -> None:
    stranger.flaky = 1.0
    with pytest.raises(SuspectError, match=r"answers 503, 3 times in .* repeat the command to go on"):
        asking(stranger.url + "/v2/models/m/infer", retries=2).ask(asked_images)
    stranger.limit = 0.5
    with pytest.raises(SuspectError, match="asks for a pause of 1 s"):
        asking(stranger.url + "/v2/models/m/infer", patience_s=0.5).ask(asked_images)
    with pytest.raises(SuspectError, match="cannot be reached"):
        asking("http://127.0.0.1:9/v2/models/m/infer", retries=1, ledger="other.sqlite").ask(asked_images)


def test_what_it_will_never_answer_is_said_at_once(
    asked_images: torch.Tensor, stranger: Stranger, asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = asking(stranger.url + "/v2/models/other/infer")
    with pytest.raises(SuspectError, match="answers 404"):
        wrong.ask(asked_images)
    assert wrong._ledger.spent == 0, "nobody answered"
    with pytest.raises(
        AnswersError, match=r"the class '[a-z]+'; expected one of ankle boot.*classes = \[\.\.\.\]"
    ):
        asking(stranger.url + "/predictions/m", ledger="names.sqlite").ask(asked_images)
    assert stranger.computed == 1, "a wrong setting is paid for once"
    stranger.key = "k1"
    monkeypatch.setenv("SUSPECT_KEY", "wrong")
    with pytest.raises(SuspectError, match="answers 401; is the key in SUSPECT_KEY"):
        asking(stranger.url + "/v2/models/m/infer", key_env="SUSPECT_KEY", ledger="key.sqlite").ask(
            asked_images
        )
    monkeypatch.setenv("SUSPECT_KEY", "k1")
    assert len(
        asking(stranger.url + "/v2/models/m/infer", key_env="SUSPECT_KEY", ledger="key.sqlite").ask(
            asked_images
        )
    ) == len(asked_images)


def test_a_ledger_is_of_one_suspect_and_one_process(tmp_path: Path) -> None:
    with (
        Ledger(tmp_path / "l.sqlite", {"kit": "a"}, 10),
        pytest.raises(SuspectError, match="another audit is using"),
    ):
        Ledger(tmp_path / "l.sqlite", {"kit": "a"}, 10)
    with pytest.raises(InputError, match=r"is for .*\"a\".*expected .*\"b\""):
        Ledger(tmp_path / "l.sqlite", {"kit": "b"}, 10)
    (tmp_path / "text.sqlite").write_text("no database, though long enough to be taken for one" * 50)
    with pytest.raises(InputError, match="is not a ledger"):
        Ledger(tmp_path / "text.sqlite", {}, 10)


def test_the_ledger_counts(tmp_path: Path) -> None:
    image = torch.rand(1, 4, 4)
    with Ledger(tmp_path / "l.sqlite", {}, 10) as ledger:
        first, second, third = ledger.charge(4), ledger.charge(3), ledger.charge(3)
        with pytest.raises(SuspectError, match="10 are spent"):
            ledger.charge(1)
        ledger.not_answered(first, REFUSED)
        ledger.not_answered(second, LOST)
        ledger.answered(third, [name_of(image)], torch.tensor([[0.25, 0.75]]), "list")
        assert (ledger.spent, ledger.lost) == (6, 3)
        ledger.charge(4)
    with Ledger(tmp_path / "l.sqlite", {}, 10) as again:
        assert (again.spent, again.lost) == (10, 7), "what was under way may have been answered"
        row, form = again.known([name_of(image)])[name_of(image)]
        assert row.tolist() == [0.25, 0.75] and form == "list"
        assert again.known([name_of(image + 1)]) == {} and ANSWERED == "answered"


def test_pace_keeps_the_rate_and_waits_when_told() -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    pace = RateLimit(rate=10, clock=lambda: now[0], sleep=sleep, dice=lambda: 1.0)
    assert pace.take(0)
    for _ in range(5):
        pace.take(4)
    assert now[0] == pytest.approx(1.6), "the first at once, 0.4 s for each of the others"
    pace.back_off(1, asked_s=7)
    pace.take(1)
    assert now[0] == pytest.approx(8.6)
    pace.back_off(3)
    pace.take(1)
    assert now[0] == pytest.approx(8.6 + 0.2 * 8)


def test_trouble_with_one_request_stops_the_others(
    asked_images: torch.Tensor, stranger: Stranger, asking: Asking
) -> None:
    """Sixty images one by one: the third answer cannot be read, and no more than those
    under way are asked after it."""
    stranger.garbled_after = 2
    with pytest.raises(AnswersError):
        asking(stranger.url + "/v2/models/m/infer", batch=1, concurrency=2).ask(asked_images)
    assert stranger.computed <= 6


def test_a_long_wait_ends_when_the_audit_is_stopped(asked_images: torch.Tensor, tmp_path: Path) -> None:
    def busy() -> httpx.Response:
        return httpx.Response(503, stream=httpx.ByteStream(b""), headers={"Retry-After": "60"})

    remote = remote_of({"url": "http://a.example/v1/models/m:predict"}, CLASSES)
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    started = time.monotonic()
    with (
        Ledger(tmp_path / "l.sqlite", remote.about, 1000) as ledger,
        pytest.raises(SuspectError, match="was stopped"),
    ):
        ApiBlackBox(
            remote,
            ledger,
            HttpTransport(remote, httpx.Client(transport=replies(busy))),
            cancelled=stop.is_set,
        ).ask(asked_images[:2])
    assert time.monotonic() - started < 5


def test_a_ledger_leaves_files_beside_it_alone(tmp_path: Path) -> None:
    (tmp_path / "poetry.lock").write_text("mine")
    with Ledger(tmp_path / "poetry.sqlite", {}, 10) as ledger:
        ledger.charge(3)
    assert (tmp_path / "poetry.lock").read_text() == "mine"
    with Ledger(tmp_path / "x.lock", {}, 10) as odd:
        odd.charge(5)
    with Ledger(tmp_path / "x.lock", {}, 10) as again:
        assert again.spent == 5
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        Ledger(tmp_path / "file" / "l.sqlite", {}, 10)
