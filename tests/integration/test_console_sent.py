"""Verdicts that are explained, sent on and verified."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support.console import Desk, judge
from tests.support.service import COPY
from zooaudit.cli.main import main

pytestmark = pytest.mark.browser


def test_a_verdict_is_sent_as_a_page_and_as_a_pack_that_is_verified(
    page: Page, desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judge(page, desk, desk.answers(tmp_path, COPY), suspect="sent", level="0.2")
    page.click("text=This verdict's own page")
    expect(page.locator("h1")).to_have_text("Verdict on sent")
    shown = page.text_content("main") or ""
    for name, button in {"verdict.html": "print or send", "case.zip": "Evidence pack"}.items():
        with page.expect_download() as download:
            page.click(f"main button:has-text('{button}')")
        download.value.save_as(tmp_path / name)
    html = (tmp_path / "verdict.html").read_text()
    digests = [line for line in shown.split() if len(line) == 64]
    for digest in page.locator("dd").all_text_contents():
        assert len(digest) != 64 or digest in html
    assert "sent: stolen" in html and "<svg" in html, digests
    assert main(["evidence", "verify", str(tmp_path / "case.zip"), "--store", str(tmp_path / "mine")]) == 0
    assert "nothing speaks against it" in capsys.readouterr().out


def test_a_verdict_is_explained_by_the_victim_among_its_twins(page: Page, desk: Desk, tmp_path: Path) -> None:
    judge(page, desk, desk.answers(tmp_path, COPY), suspect="why")
    page.click("text=Why this verdict?")
    page.wait_for_selector("img.asked")
    assert "/console/verdicts/" in page.url and page.url.endswith("/why")
    assert page.locator("svg circle.twin").count() == 19 and page.locator("svg path.victim").count() == 1
    assert (
        page.locator("img.asked").count() == 10
        and page.locator("img.asked").first.evaluate("(i) => i.naturalWidth") > 0
    )
    assert "rank among 20" in (page.text_content("main") or "")
    page.click("figure summary")
    candidates = dict(
        page.locator("figure tbody tr").evaluate_all(
            "(rows) => rows.map((r) => [r.cells[0].textContent, r.cells[2].textContent])"
        )
    )
    names = ["victim", *(f"twin {i}" for i in range(1, 20))]
    assert candidates == dict(zip(names, [c.id for c in desk.kit.twin_test.candidates], strict=True))
    looks = page.locator("[aria-label=Looks] tbody td:last-child").all_text_contents()
    assert len(looks) == len(desk.kit.twin_test.looks) and {*looks} <= {*names[1:]}, "one name for each"
    for button, name in {"print or send": "verdict-", "Evidence pack": "evidence-"}.items():
        with page.expect_download() as download:
            page.click(f"main button:has-text('{button}')")
        assert download.value.suggested_filename.startswith(name)
    page.reload()
    page.wait_for_selector("img.asked")
    page.click("text=Back to the verdict")
    expect(page.locator("h1")).to_have_text("Verdict on why")
