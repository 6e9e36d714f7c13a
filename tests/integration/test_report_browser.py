"""The report and the page of an explanation in a real browser: nothing is cut on a laptop, and a phone
scrolls tables only, and says so."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

from tests.support.cases import Capture, kit_of, suspect
from tests.support.console import browser as browser  # fixture
from tests.support.console import violations
from tests.support.reports import FACTS, with_failure, with_twin_test
from zooaudit.auditing.results import Audit
from zooaudit.cli.main import main
from zooaudit.reporting.report import render
from zooaudit.zoo.spec import Role

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("undrawn")]
CUT = (
    "[...document.querySelectorAll('.scroll')].filter(d => d.scrollWidth > d.clientWidth).map(d =>"
    " d.getAttribute('aria-labelledby'))"
)


LOOSE = """[...document.querySelectorAll('h2, h3, h4, :has(+ .scroll)')].filter(e => e.checkVisibility()
  && getComputedStyle(e).breakAfter !== 'avoid').map(e => e.outerHTML.slice(0, 80))"""
"""Headings, and what stands before a table, that a page may end with."""
CLIPPED = (
    "[...document.querySelectorAll('.scroll')].filter(d => getComputedStyle(d).overflow !== 'visible' ||"
    " d.clientHeight < d.scrollHeight)"
)


def seen(browser: Browser, html: str, width: int) -> Page:
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.set_content(html)
    return page


def check(browser: Browser, html: str) -> None:
    page = seen(browser, html, 1280)
    assert page.locator(".scroll").count() > 0
    assert page.evaluate(CUT) == []
    for width in (1280, 360):
        page = seen(browser, html, width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert violations(page) == []
        check_hints(page, "Width")
        check_hints(page, "Height")
        page.close()
    check_print(browser, html)


def check_hints(page: Page, along: str) -> None:
    """Each box that hides a part of its table, to the right or below, has a shadow there
    until one has scrolled to it."""
    boxes = page.locator(".scroll")
    for i in range(boxes.count()):
        box = boxes.nth(i)
        if box.evaluate(f"e => e.scroll{along} - e.client{along}") > 1:
            before = edge(box.screenshot(), along)
            box.evaluate(
                "e => e.scrollTo(%s)" % ("e.scrollWidth, 0" if along == "Width" else "0, e.scrollHeight")
            )
            assert edge(box.screenshot(), along) - before > 20, box.get_attribute("aria-labelledby")


def edge(image: bytes, along: str) -> float:
    """How bright the brightest part of the last pixels is, but for the corners."""
    pixels = np.asarray(Image.open(io.BytesIO(image)).convert("L"), dtype=float)
    strip = pixels[20:-20, -4:-2] if along == "Width" else pixels[-4:-2, 20:-20].T
    return float(np.median(strip))


def check_print(browser: Browser, html: str) -> None:
    page = seen(browser, html, 680)  # what A4 leaves between our margins
    page.emulate_media(media="print")
    assert page.evaluate(LOOSE) == []
    assert page.evaluate(f"{CLIPPED}.map(d => d.getAttribute('aria-labelledby'))") == []
    assert page.evaluate(CUT) == []
    page.close()


def test_a_report_is_not_cut(audit: Audit, browser: Browser) -> None:
    check(browser, render(audit, "digits", FACTS))


def test_nor_is_one_with_failures_long_names_and_weak_calls(audit: Audit, browser: Browser) -> None:
    lax = with_twin_test(audit, replace(audit.kit.twin_test, level=0.2))
    id_ = next(s.spec.id for s in lax.suspects if s.spec.role is Role.PIRACY)
    failed = with_failure(lax, id_, f"test accuracy 0.214 under the floor of 0.5, {'of a long reason ' * 8}")
    check(browser, render(failed, "a-run-of-a-long-name-with-many-parts", FACTS))


def test_the_first_thing_to_read_is_what_was_found(audit: Audit, browser: Browser) -> None:
    page = seen(browser, render(audit, "digits", FACTS), 1280)
    lead = page.locator("#finding").bounding_box()
    assert lead is not None and lead["y"] < 150
    assert page.locator("#finding").inner_text().startswith("The twin test called ")


def test_nor_is_the_page_of_an_explanation(
    case_store: Path, browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    asked = ["--kit", kit_of(case_store).id, *suspect(case_store, tmp_path, "piracy"), "--json"]
    capsys.readouterr()
    assert main(["score", "--store", str(case_store), *asked]) == 0
    evidence = json.loads(capsys.readouterr().out)["evidence"]
    assert main(["explain", evidence, "--store", str(case_store), "--out", str(tmp_path / "why.html")]) == 0
    html = (tmp_path / "why.html").read_text()
    check(browser, html)
    page = seen(browser, html, 1280)
    assert (
        page.evaluate(
            "(e => e.scrollHeight - e.clientHeight)(document.querySelector('[aria-labelledby=candidates]'))"
        )
        <= 1
    )
