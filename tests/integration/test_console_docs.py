"""docs/console.md, step by step in the browser: what it prints in bold is on the screen. ZOOAUDIT_PICTURES=1
takes its pictures anew."""

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.console import Desk, judge, sign_in, to
from tests.support.places import ROOT
from tests.support.service import COPY, INNOCENT
from tests.support.strangers import Stranger

pytestmark = pytest.mark.browser
TEXT = (ROOT / "docs" / "console.md").read_text()
BOLD = set(re.findall(r"\*\*([^*]+)\*\*", TEXT))
PICTURES = re.findall(r"\((console/[\w-]+\.png)\)", TEXT)


def test_what_it_names_is_on_the_screen(
    browser: Browser, desk: Desk, stranger: Stranger, tmp_path: Path
) -> None:
    context = browser.new_context(viewport={"width": 900, "height": 700})
    context.set_default_timeout(60_000)
    page, seen = context.new_page(), ""

    def look(picture: str = "") -> str:
        page.wait_for_timeout(100)
        if picture and os.environ.get("ZOOAUDIT_PICTURES"):
            page.screenshot(path=ROOT / "docs" / "console" / f"{picture}.png")
        return page.inner_text("body")

    page.goto(desk.address)
    page.wait_for_selector("#key")
    seen += look()
    sign_in(page, desk)
    seen += look()
    page.click(f"#kit-{desk.id} a")
    page.wait_for_selector("#downloads")
    seen += look()
    (tmp_path / "broken.json").write_text('{"answers": [[-1, 2, 0, 0]]}')
    files = [
        desk.answers(tmp_path, COPY, "taken"),
        desk.answers(tmp_path, INNOCENT, "own"),
        tmp_path / "broken.json",
    ]
    judge(page, desk, files, level="0.2")
    page.wait_for_selector("#score-error")
    page.locator("#result").scroll_into_view_if_needed()
    seen += look("batch")
    judge(page, desk, files[0], suspect="theirs")
    page.wait_for_selector(".verdict .decision")
    page.locator("#result").scroll_into_view_if_needed()
    page.click("text=This verdict's own page")
    expect(page.locator("h1")).to_have_text("Verdict on theirs")
    seen += look("verdict")
    page.click("text=Why this verdict?")
    page.wait_for_selector("img.asked")
    seen += look("why")
    seen += asked_over_http(page, desk, stranger)
    to(page, desk, "/verdicts", "tbody tr")
    seen += look("verdicts")
    assert {name for name in BOLD if name not in seen} == set()
    context.close()


def asked_over_http(page: Page, desk: Desk, stranger: Stranger) -> str:
    to(page, desk, f"/kits/{desk.id}/audit", "#audit-form")
    seen = page.inner_text("body")
    stranger.slow_s = 0.1
    page.click("#audit-form summary")
    page.fill("#audit-form textarea", '{"batch": 4, "concurrency": 1}')
    page.fill("#audit-form input[name=url]", stranger.url + "/v2/models/m/infer")
    page.click("#audit-form button")
    page.wait_for_selector("#progress-text")
    seen += page.inner_text("body")
    stranger.slow_s = 0.0
    page.wait_for_selector(".verdict .decision")
    return seen


def test_its_pictures_are_there() -> None:
    assert len(PICTURES) == 4 and all((ROOT / "docs" / name).stat().st_size < 200_000 for name in PICTURES)
