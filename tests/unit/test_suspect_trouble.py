"""A suspect that does not answer, or an audit that waits for another one, says so at once, while it lasts."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.seaweed import free_ports
from tests.support.auditors import asked, ended, until
from tests.support.scripted import Asked, Reply, scripted
from tests.support.service import CLASSES, COPY
from tests.support.strangers import Stranger, serving
from zooaudit.cli.main import main
from zooaudit.serving import auditor as auditors
from zooaudit.serving.auditor import Auditor
from zooaudit.serving.settings import Settings
from zooaudit.suspects import outage as troubles
from zooaudit.suspects.outage import OutageReports, Trouble

SOON_S = 10.0


@pytest.fixture
def auditor(auditor_settings: Settings) -> Iterator[Auditor]:
    made = Auditor(auditor_settings)
    yield made
    made.close()


def progress(auditor: Auditor, id_: str, has: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """An audit's, as soon as it has something."""
    end = time.monotonic() + SOON_S
    while time.monotonic() < end:
        found: dict[str, Any] = (auditor.get(id_) or {})["progress"]
        if has(found):
            return found
        time.sleep(0.02)
    raise AssertionError(auditor.get(id_))


def test_a_suspect_that_cannot_be_reached_says_so_while_it_is_tried(
    auditor: Auditor, kit_store: tuple[str, str]
) -> None:
    (port,) = free_ports(1)
    id_ = auditor.submit("a", asked(kit_store[1], f"http://127.0.0.1:{port}", patience_s=60.0))["id"]
    found = progress(auditor, id_, lambda p: p.get("trouble", {}).get("times", 0) >= 3)["trouble"]
    assert "cannot be reached" in found["reason"] and "refused" in found["reason"]
    assert (
        found["next_try"] > time.time() - 5
        and time.time() + 30 < found["gives_up"] < time.time() + 61
        and found["tries"] == 9
    )
    assert re.search(
        r"refused\), \d times so far; next try in \d+ s, gives up after 9 tries, or at \d\d:\d\d:\d\d$",
        found["text"],
    ), found
    with serving(Stranger(COPY, CLASSES), port):
        progress(auditor, id_, lambda p: p["charged"] > 0 and "trouble" not in p)
        assert "trouble" not in ended(auditor, id_)["progress"], "and no more once it answers"


def test_a_suspect_that_says_nothing_says_so_while_its_answer_is_waited_for(
    auditor: Auditor, kit_store: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(troubles, "SILENT_S", 0.5)
    go_on = threading.Event()

    def mute(_: Asked) -> Reply:
        go_on.wait(20)
        return 503, {}, b""

    with scripted(mute) as url:
        id_ = auditor.submit("a", asked(kit_store[1], url, "/v1/models/m:predict", timeout_s=20.0))["id"]
        found = progress(auditor, id_, lambda p: "trouble" in p)["trouble"]
        assert (
            found["reason"].startswith("has not answered for")
            and found["next_try"] is None
            and found["times"] == 0
        )
        auditor.cancel(id_)
        go_on.set()


def test_an_audit_that_waits_for_another_one_says_for_which(
    auditor: Auditor, kit_store: tuple[str, str]
) -> None:
    with serving(Stranger(COPY, CLASSES)) as stranger:
        stranger.slow_s = 0.3
        first = auditor.submit("a", asked(kit_store[1], stranger.url, concurrency=1, batch=4))["id"]
        until(lambda: stranger.computed)
        second = auditor.submit("a", asked(kit_store[1], stranger.url, concurrency=1, batch=4))["id"]
        found = progress(auditor, second, lambda p: "waiting" in p)
        assert (found["waiting"], found["waiting_for"]) == (
            f"waiting for the audit {first} of the same suspect to end",
            first,
        )
        stranger.slow_s = 0.0
        done = ended(auditor, second)
        assert done["state"] == "done" and not {"waiting", "waiting_for"} & set(done["progress"])


def test_an_audit_without_a_place_says_what_it_waits_for(
    auditor: Auditor, kit_store: tuple[str, str]
) -> None:
    with serving(Stranger(COPY, CLASSES)) as stranger:
        stranger.slow_s = 0.5
        ids = [
            auditor.submit("a", asked(kit_store[1], stranger.url, batch=4, scale=1.0 + i / 1e6))["id"]
            for i in range(4)
        ]
        found = progress(auditor, ids[3], lambda p: "waiting" in p)["waiting"]
        assert "3 other audits of this key are under way, the most at a time" in found and all(
            i in found for i in ids[:3]
        )
        others = [
            auditor.submit("b", asked(kit_store[1], stranger.url, batch=4, scale=1.1 + i / 1e6))["id"]
            for i in range(2)
        ]
        found = progress(auditor, others[1], lambda p: "waiting" in p)["waiting"]
        assert found == (
            f"{auditors.AT_ONCE} audits are under way, the most that this service runs at a time"
        ), "whose they are is not told"
        for id_ in ids + others:
            auditor.cancel(id_)


def test_the_command_line_says_so_too(
    kit_store: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (port,) = free_ports(1)
    (tmp_path / "theirs.toml").write_text(f'url = "http://127.0.0.1:{port}/v1/models/m:predict"\nretries = 2')
    assert main(["score", "--store", kit_store[0], "--kit", kit_store[1], "--suspect", "theirs.toml"]) == 7
    lines = [line for line in capsys.readouterr().err.splitlines() if "so far; next try in" in line]
    assert len(lines) == 1 and "cannot be reached" in lines[0] and "gives up after 3 tries, or at" in lines[0]


def test_one_failure_that_passes_is_not_worth_a_word() -> None:
    said: list[str] = []
    rows: list[Trouble | None] = []
    reports = OutageReports("it", said.append, rows.append, 30.0)
    reports.failed(Trouble("answers 503", 1, time.time() + 0.1, time.time() + 60, 9), known=False)
    reports.answered()
    assert said == [] and rows == []
    reports.failed(Trouble("answers 429", 1, time.time() + 30, time.time() + 60, 9), known=False)
    reports.failed(Trouble("answers 429", 2, time.time() + 30, time.time() + 60, 9), known=False)
    reports.answered()
    assert len(said) == 1 and said[0].startswith(
        "it answers 429, 1 time so far; next try in 30 s, gives up after 9 tries, or at "
    )
    assert [t and t.times for t in rows] == [1, 2, None]
