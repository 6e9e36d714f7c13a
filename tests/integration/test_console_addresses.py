"""Every page of the console has an address that outlives reload and Back; one key for all tabs; what a key
may not do; pages with nothing on them; lists that are live."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, Page, expect

from tests.support.console import Desk, Wire, judge, sign_in, to, violations
from tests.support.kits import K
from tests.support.service import COPY
from tests.support.serving import listening
from zooaudit.serving.application import make_app
from zooaudit.serving.auditor import Auditor
from zooaudit.serving.service import InProcess
from zooaudit.serving.settings import Settings
from zooaudit.storage.opening import open_store
from zooaudit.suspects.blackbox import TorchBlackBox

pytestmark = pytest.mark.browser


def score(desk: Desk, suspect: str, key: str = "all") -> str:
    """Judged by somebody else; the verdict's id."""
    answers = TorchBlackBox(COPY, K).ask(desk.kit.twin_test.questions()).numpy().astype("<f4").tobytes()
    headers = {"Authorization": f"Bearer {desk.keys[key]}", "Content-Type": "application/octet-stream"}
    request = urllib.request.Request(
        f"{desk.address}/kits/{desk.id}/score?suspect={suspect}", answers, headers
    )
    found: str = json.loads(urllib.request.urlopen(request).read())["id"]
    return found


@contextmanager
def open_to_all(store: str, data: Path) -> Iterator[str]:
    """A service that wants no keys and may ask no host: its address."""
    auditor = Auditor(Settings(store, data=data))
    app = make_app(auditor._settings, audits=InProcess(auditor))
    with TestClient(app), listening(app) as address:
        yield address
    auditor.close()


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[str]:
    """A service that is open to all, with a store that has nothing."""
    open_store(str(tmp_path / "store")).save("other", "thing", {"a": b"b"}, {})
    with open_to_all(str(tmp_path / "store"), tmp_path / "data") as address:
        yield address


def test_pages_have_addresses_titles_and_a_way_back(page: Page, desk: Desk) -> None:
    id_, seen = score(desk, "addressed"), []
    page.click(f"#kit-{desk.id} a")
    expect(page.locator("#kit")).to_be_visible()
    expect(page.locator("h1")).to_be_focused()  # whoever followed a link is told where it led
    page.click("text=Judge answers")
    expect(page.locator("#score-form")).to_be_visible()
    page.click("nav >> text=Verdicts")
    page.click("text=addressed")
    expect(page.locator("h1")).to_have_text("Verdict on addressed")
    assert page.url == f"{desk.address}/console/verdicts/{id_}"
    expect(page).to_have_title("Verdict on addressed - zooaudit")
    page.reload()
    expect(page.locator(".verdict .decision")).to_have_text("stolen")
    expect(page.locator("dl")).to_contain_text("with the key “all”")
    for _ in range(4):
        page.go_back()
        page.wait_for_timeout(100)
        seen.append(page.url.removeprefix(desk.address))
    assert seen == [
        "/console/verdicts",
        f"/console/kits/{desk.id}/judge",
        f"/console/kits/{desk.id}",
        "/console",
    ]
    page.go_forward()
    expect(page.locator("#kit")).to_be_visible()


def test_the_old_address_leads_there_and_a_wrong_one_says_so(page: Page, desk: Desk) -> None:
    page.goto(desk.address)
    page.wait_for_url("**/console")
    to(page, desk, "/nowhere")
    expect(page.locator("h1")).to_have_text("There is no such page")
    to(page, desk, "/verdicts/0123456789abcdef")
    expect(page.locator(".alert")).to_contain_text("there is no such verdict")
    to(page, desk, "/audits/0123456789abcdef")
    expect(page.locator(".alert")).to_contain_text("there is no such audit")


def test_a_key_is_asked_for_once_and_forgotten_everywhere(page: Page, desk: Desk) -> None:
    expect(page.locator("#who")).to_contain_text("Key all: read, score, audit, admin, evidence")
    other = page.context.new_page()
    other.goto(f"{desk.address}/console/verdicts")
    expect(other.locator("#who")).to_contain_text("Key all")
    assert other.locator("#key").count() == 0
    page.click("text=Forget key")
    expect(page.locator("#key")).to_be_visible()
    expect(other.locator("#key")).to_be_visible()
    assert page.evaluate("localStorage.length") == 0, "nothing is left on the disk"


def test_a_wrong_key_is_said_where_it_was_typed_and_nothing_is_shown(browser: Browser, desk: Desk) -> None:
    page = browser.new_page()
    page.goto(f"{desk.address}/console/verdicts")
    page.fill("#key", "wrong")
    expect(page.locator("h1")).to_have_text("Paste your key")
    page.click("text=Sign in")
    expect(page.locator("#key-form .alert")).to_have_text("This service does not know that key.")
    expect(page.locator(".alert")).to_be_focused()
    assert page.locator("nav a").count() == 0
    sign_in(page, desk)
    expect(page.locator("h1")).to_have_text("Verdicts")
    page.close()


def test_forms_that_a_key_may_not_use_say_so_and_are_off(browser: Browser, desk: Desk) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(desk.address)
    sign_in(page, desk, "reader")
    for path, form, scope in (("judge", "#score-form", "score"), ("audit", "#audit-form", "audit")):
        to(page, desk, f"/kits/{desk.id}/{path}", form)
        assert (
            page.locator(f"{form} button").is_disabled() and page.locator(f"{form} input").first.is_disabled()
        )
        expect(page.locator(".note").first).to_contain_text(f"it has the scopes read, and this needs {scope}")
    expect(page.locator("#audit-form #off")).to_have_text("Off: it takes a key with the scope audit.")
    to(page, desk, "/verdicts")
    expect(page.locator(".note")).to_contain_text(
        "The key “reader” may not judge anybody: it has the scopes read, and this needs score"
    )
    page.click("text=Forget key")
    sign_in(page, desk, "scorer")
    to(page, desk, f"/verdicts/{score(desk, 'theirs', 'scorer')}", ".verdict")
    assert (
        page.locator("button:has-text('Evidence pack')").is_disabled()
        and page.locator("text=Why this verdict?").count() == 0
    )
    expect(page.locator("main")).to_contain_text("they take a key with the scope evidence")
    context.close()


def test_start_is_off_where_the_service_may_ask_no_host_and_says_why(
    browser: Browser, desk: Desk, tmp_path: Path
) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 800})
    page = context.new_page()
    with open_to_all(str(desk.folder / "store"), tmp_path / "data") as address:
        page.goto(f"{address}/console/kits/{desk.id}/audit")
        expect(page.locator("#audit-form button")).to_be_disabled()
        expect(page.locator("#audit-form .actions")).to_contain_text("Off: this service may ask no host.")
        expect(page.locator("#hosts")).to_contain_text(
            "its operator names them by zooaudit serve --suspects."
        )
        words = page.locator("#hosts .word").evaluate_all(
            "(words) => words.map((w) => [w.textContent, w.getClientRects().length])"
        )
        assert violations(page) == [], "what is off can be read"
        assert words == [
            ["zooaudit", 1],
            ["serve", 1],
            ["--suspects", 1],
        ], "no line ends within the option's name"
    context.close()


def test_pages_with_nothing_on_them_say_what_to_do(browser: Browser, empty: str) -> None:
    page = browser.new_page()
    for path, says in {
        "": "zooaudit audit --recipe digits",
        "/verdicts": "Nothing was judged with this key yet",
        "/reports": "There are no reports",
        "/verdicts?text=nobody": "Nothing fits this filter",
    }.items():
        page.goto(f"{empty}/console{path}")
        expect(page.locator(".empty")).to_contain_text(says)
    assert page.text_content("#who") == "Open to all: no keys"
    page.close()


def test_the_list_is_live_filtered_by_its_address_and_has_pages(page: Page, desk: Desk) -> None:
    for i in range(27):
        score(desk, f"paged-{i:02}")
    to(page, desk, "/verdicts", "tbody tr")
    page.fill("input[name=text]", "paged-")
    page.wait_for_url("**text=paged-")
    expect(page.locator("tbody tr")).to_have_count(25)
    expect(page.locator("[name=text]")).to_be_focused()  # whoever types goes on typing
    page.click("text=Older")
    expect(page.locator("tbody tr")).to_have_count(2)
    page.reload()
    expect(page.locator("tbody tr").last).to_contain_text("paged-00")
    page.go_back()
    expect(page.locator("tbody tr").first).to_contain_text("paged-26")
    score(desk, "paged-99")
    expect(page.locator("tbody tr").first).to_contain_text("paged-99")
    page.select_option("select[name=decision]", "not shown")
    expect(page.locator(".empty")).to_contain_text("Nothing fits this filter")
    assert "decision=not+shown" in page.url


def test_a_list_that_cannot_be_had_says_of_when_it_is(page: Page, desk: Desk) -> None:
    score(desk, "old")
    to(page, desk, "/verdicts", "tbody tr")
    wire = Wire(page, r"/verdicts\?")
    wire.cut = True
    expect(page.locator(".stale")).to_contain_text("What is shown is of ")
    wire.cut = False
    page.evaluate("window.dispatchEvent(new Event('online'))")
    expect(page.locator(".stale")).to_have_count(0)


def test_a_service_that_is_away_when_the_page_comes_is_asked_again(browser: Browser, desk: Desk) -> None:
    context = browser.new_context()
    page = context.new_page()
    wire = Wire(page, "/key$")
    wire.cut = True
    page.goto(desk.address)
    expect(page.locator("main")).to_contain_text("The service cannot be reached. Next try in ")
    wire.cut = False
    expect(page.locator("#key")).to_be_visible()
    context.close()


def test_a_reload_keeps_the_key_and_a_verdict_is_reached_from_a_bookmark(
    page: Page, desk: Desk, tmp_path: Path
) -> None:
    judge(page, desk, desk.answers(tmp_path, COPY), suspect="bookmarked")
    page.click("text=This verdict's own page")
    expect(page.locator("h1")).to_have_text("Verdict on bookmarked")
    address, other = page.url, page.context.new_page()
    other.goto(address)
    expect(other.locator("h1")).to_have_text("Verdict on bookmarked")
