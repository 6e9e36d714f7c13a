"""Audits in the console: started once however often it is clicked, watched over a bad
network, stopped, waited for."""

import json
import re
import time
import urllib.request

import pytest
from playwright.sync_api import Page, expect

from tests.support.console import Desk, Wire, to
from tests.support.service import COPY, INNOCENT
from tests.support.strangers import Stranger

pytestmark = pytest.mark.browser
SO_FAR = re.compile(
    r"running: [1-9]\d* of at most 120 queries, [1-9]\d* charged; so far the victim is number \d+ of 20, p \d"
)
SLOW = {"batch": 4, "concurrency": 1}


def fill(page: Page, desk: Desk, url: str, **more: object) -> None:
    to(page, desk, f"/kits/{desk.id}/audit", "#audit-form")
    page.fill("#audit-form input[name=url]", url)
    page.click("#audit-form summary")
    page.fill("#audit-form textarea", json.dumps(more))


def started(page: Page, desk: Desk, stranger: Stranger, **more: object) -> str:
    """An audit's id, from its address."""
    fill(page, desk, f"{stranger.url}/v2/models/m/infer", **SLOW, **more)
    page.click("#audit-form button")
    page.wait_for_url("**/console/audits/*")
    return page.url.rsplit("/", 1)[1]


def told(desk: Desk, path: str) -> dict[str, object]:
    request = urllib.request.Request(
        desk.address + path, headers={"Authorization": f"Bearer {desk.keys['all']}"}
    )
    found: dict[str, object] = json.loads(urllib.request.urlopen(request).read())
    return found


@pytest.fixture(autouse=True)
def quick(stranger: Stranger, desk: Desk) -> None:
    """Nothing of the test before is under way."""
    stranger.slow_s, stranger.model = 0.0, COPY
    for _ in range(200):
        if not [a for a in told(desk, "/audits")["audits"] if a["state"] in ("queued", "running")]:  # type: ignore[attr-defined]
            return
        time.sleep(0.1)
    raise AssertionError("an audit does not end")


def test_an_audit_has_an_address_shows_its_progress_and_then_the_verdict(
    page: Page, stranger: Stranger, desk: Desk
) -> None:
    stranger.slow_s, stranger.model = 0.1, INNOCENT
    started(page, desk, stranger, scale=1.0000001)
    expect(page.locator("#progress-text")).to_contain_text(SO_FAR)
    assert page.evaluate("document.getElementById('bar').value") > 0
    page.reload()
    page.wait_for_selector("#progress-text")
    stranger.slow_s = 0.0
    page.wait_for_selector(".verdict .decision")
    assert page.text_content(".verdict .decision") == "not shown" and page.locator("#progress").count() == 0
    page.click("text=Why this verdict?")
    page.wait_for_selector("img.asked")
    page.go_back()
    expect(page.locator(".verdict .decision")).to_have_text("not shown")


def test_an_audit_is_cancelled(page: Page, stranger: Stranger, desk: Desk) -> None:
    stranger.slow_s = 0.2
    started(page, desk, stranger, scale=1.5)
    page.click("text=Cancel")
    expect(page.locator("main .decision")).to_have_text("cancelled")


def test_a_blip_of_the_network_ends_nothing(page: Page, stranger: Stranger, desk: Desk) -> None:
    stranger.slow_s = 0.1
    id_ = started(page, desk, stranger, scale=1.1)
    expect(page.locator("#progress-text")).to_contain_text("running")
    wire = Wire(page, f"/audits/{id_}$")
    wire.cut = True
    expect(page.locator(".stale")).to_contain_text(
        re.compile(r"The service cannot be reached\. Next try in \d s\. What is shown is of ")
    )
    stranger.slow_s = 0.0
    while told(desk, f"/audits/{id_}")["state"] == "running":
        time.sleep(0.1)
    assert page.locator("#progress-text").count() == 1
    wire.cut = False
    page.wait_for_selector(".verdict .decision")
    assert page.locator(".stale").count() == 0 and page.text_content(".verdict .decision") == "stolen"


def test_a_cancel_that_does_not_arrive_is_said_beside_it_and_the_page_shows_what_the_server_says(
    page: Page, stranger: Stranger, desk: Desk
) -> None:
    stranger.slow_s = 0.2
    id_ = started(page, desk, stranger, scale=1.2)
    wire = Wire(page, f"/audits/{id_}$", "DELETE")
    wire.cut = True
    page.click("text=Cancel")
    expect(page.locator("#progress .alert")).to_contain_text("The service cannot be reached")
    expect(page.locator("#progress-text")).to_contain_text("running")
    wire.cut = False
    page.click("text=Cancel")
    expect(page.locator("main .decision")).to_have_text("cancelled")
    assert told(desk, f"/audits/{id_}")["state"] == "cancelled"


def test_a_double_click_starts_one_audit(page: Page, stranger: Stranger, desk: Desk) -> None:
    wire, before = Wire(page, "/audits$", "POST"), len(told(desk, "/audits")["audits"])
    fill(page, desk, f"{stranger.url}/v2/models/m/infer", scale=1.3)
    page.dblclick("#audit-form button")
    page.wait_for_selector(".verdict .decision")
    assert wire.seen == 1 and len(told(desk, "/audits")["audits"]) == before + 1
    assert re.fullmatch("[0-9a-f]{32}", wire.headers[0]["idempotency-key"])


def test_a_start_that_did_not_arrive_is_sent_again_under_the_same_name(
    page: Page, stranger: Stranger, desk: Desk
) -> None:
    wire = Wire(page, "/audits$", "POST")
    wire.cut = True
    fill(page, desk, f"{stranger.url}/v2/models/m/infer", scale=1.4)
    page.click("#audit-form button")
    expect(page.locator("#audit-error")).to_contain_text(
        "The service cannot be reached. Press Start again: it is the same audit"
    )
    expect(page.locator("#audit-error")).to_be_focused()
    page.click("#audit-form button")
    wire.cut = False
    page.click("#audit-form button")
    page.wait_for_selector(".verdict .decision")
    names = [h["idempotency-key"] for h in wire.headers]
    assert len(names) >= 2 and len({*names}) == 1
    fill(page, desk, f"{stranger.url}/v2/models/m/infer", scale=1.45)
    page.click("#audit-form button")
    page.wait_for_url("**/console/audits/*")
    assert wire.headers[-1]["idempotency-key"] not in names, "another audit has another name"


def test_why_an_audit_waits_is_shown(page: Page, stranger: Stranger, desk: Desk) -> None:
    stranger.slow_s = 0.2
    first = started(page, desk, stranger, scale=1.6)
    started(page, desk, stranger, scale=1.6)
    expect(page.locator("#waiting")).to_have_text(
        f"It waits for the audit {first} of the same suspect to end."
    )
    stranger.slow_s = 0.0
    page.wait_for_selector(".verdict .decision")
    assert page.locator("#waiting").count() == 0


def test_a_suspect_that_does_not_answer_says_so_while_it_is_tried(
    page: Page, stranger: Stranger, desk: Desk
) -> None:
    stranger.flaky = 1.0
    started(page, desk, stranger, scale=1.7, patience_s=60)
    expect(page.locator("#trouble")).to_contain_text(
        re.compile(r"answers 503.* so far; next try in \d+ s, gives up"), timeout=20_000
    )
    stranger.flaky = 0.0
    page.wait_for_selector(".verdict .decision")
    assert page.locator("#trouble").count() == 0


def test_what_is_refused_is_said_beside_the_button(page: Page, desk: Desk) -> None:
    fill(page, desk, "http://elsewhere.example/infer")
    page.click("#audit-form button")
    expect(page.locator("#audit-error")).to_contain_text("may not ask the host")
    assert page.get_attribute("#audit-error", "role") == "alert" and "/console/kits/" in page.url
    page.fill("#audit-form textarea", "{")
    assert page.locator("#audit-error").count() == 0
    page.click("#audit-form button")
    expect(page.locator("#audit-error")).to_contain_text("The settings are not JSON")


def test_an_audit_that_fails_says_why(page: Page, desk: Desk, stranger: Stranger) -> None:
    fill(page, desk, f"{stranger.url}/v2/models/nobody/infer", patience_s=1)
    page.click("#audit-form button")
    expect(page.locator("main .decision")).to_have_text("failed")
    assert "404" in (page.text_content("main .alert") or "")
