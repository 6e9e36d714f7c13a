"""The console for everybody: WCAG 2.2 AA by axe-core and by measuring, from 360 to 1,920
pixels, light and dark, by keyboard alone.

ZOOAUDIT_SHOTS=DIR keeps a picture of each page.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.console import Desk, judge, sign_in, to, violations
from tests.support.places import SUPPORT
from tests.support.service import COPY, INNOCENT
from tests.support.strangers import Stranger

pytestmark = pytest.mark.browser

MEASURES = (SUPPORT / "console_measures.js").read_text()


class Walk:
    """Through all pages; notes what is wrong with each."""

    def __init__(self, page: Page, desk: Desk, name: str) -> None:
        self.page, self.desk, self._name = page, desk, name
        self.wrong: list[str] = []

    def look(self, what: str) -> None:
        self.wrong += [f"{what}: {v}" for v in [*violations(self.page), *self.page.evaluate(MEASURES)]]
        if folder := os.environ.get("ZOOAUDIT_SHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=f"{folder}/{what}-{self._name}.png", full_page=True)

    def open(self, what: str, path: str, waits: str) -> None:
        to(self.page, self.desk, path, waits)
        self.look(what)


@pytest.fixture
def visit(browser: Browser, desk: Desk) -> Iterator[Any]:
    contexts = []

    def begin(width: int, scheme: Any) -> Page:
        contexts.append(browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme))
        contexts[-1].set_default_timeout(60_000)
        page = contexts[-1].new_page()
        page.goto(desk.address)
        return page

    yield begin
    for context in contexts:
        context.close()


@pytest.mark.parametrize(
    ("width", "scheme"), [(360, "light"), (768, "dark"), (1280, "light"), (1920, "light"), (360, "dark")]
)
def test_every_page_is_without_violations(
    width: int, scheme: str, visit: Any, desk: Desk, stranger: Stranger, tmp_path: Path
) -> None:
    page: Page = visit(width, scheme)
    walk = Walk(page, desk, f"{width}-{scheme}")
    page.wait_for_selector("#key")
    walk.look("key")
    sign_in(page, desk)
    walk.open("kits", "", f"#kit-{desk.id}")
    to(page, desk, f"/kits/{desk.id}", "#kit")
    page.click("#kit summary")
    walk.look("kit")
    judge(page, desk, desk.answers(tmp_path, COPY), suspect="theirs")
    page.wait_for_selector(".verdict .decision")
    page.click(".verdict figure summary")
    walk.look("judged")
    (tmp_path / "bad.json").write_text("{}")
    judge(
        page,
        desk,
        [
            desk.answers(tmp_path, COPY, "taken"),
            desk.answers(tmp_path, INNOCENT, "own"),
            tmp_path / "bad.json",
        ],
        level="0.2",
    )
    page.wait_for_selector("#score-error")
    walk.look("batch")
    page.click("#result tbody a >> nth=0")
    page.wait_for_selector(".verdict svg")
    walk.look("verdict")
    page.click("text=Why this verdict?")
    page.wait_for_selector("img.asked")
    walk.look("why")
    to(page, desk, f"/kits/{desk.id}/audit", "#audit-form")
    page.click("#audit-form summary")
    walk.look("start")
    stranger.slow_s = 0.1
    page.fill("#audit-form textarea", f'{{"batch": 4, "concurrency": 1, "scale": 1.{width}{len(scheme)}}}')
    page.fill("#audit-form input[name=url]", stranger.url + "/v2/models/m/infer")
    page.click("#audit-form button")
    expect(page.locator("#progress-text")).to_contain_text("running")
    walk.look("running")
    stranger.slow_s = 0.0
    page.wait_for_selector(".verdict .decision")
    walk.look("audit")
    walk.open("list", "/verdicts", "tbody tr")
    walk.open("reports", "/reports", ".empty")
    assert walk.wrong == []
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(251, 251, 250)") == (scheme == "light")


def test_from_the_key_to_the_verdict_by_keyboard_alone(visit: Any, desk: Desk, tmp_path: Path) -> None:
    page: Page = visit(1000, "light")
    page.wait_for_selector("#key")

    def tab_to(wanted: str) -> None:
        here = (
            "(s) => document.activeElement.matches(s) &&"
            " getComputedStyle(document.activeElement).outlineStyle !== 'none'"
        )
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate(here, wanted):
                return
        raise AssertionError(f"no Tab leads, visibly, to {wanted}")

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    tab_to("#key")
    page.keyboard.type(desk.keys["all"])
    page.keyboard.press("Enter")
    page.wait_for_selector(f"#kit-{desk.id}")
    tab_to(f"#kit-{desk.id} a")
    page.keyboard.press("Enter")
    page.wait_for_selector("#kit")
    tab_to(".steps a[href$='/judge']")
    page.keyboard.press("Enter")
    page.wait_for_selector("#score-form")
    tab_to("#score-form input[name=suspect]")
    page.keyboard.type("by keyboard")
    tab_to("#score-form select[name=access]")
    tab_to("#file")
    page.set_input_files("#file", desk.answers(tmp_path, COPY))  # the system's own dialogue
    tab_to("#score-form button")
    page.keyboard.press("Enter")
    page.wait_for_selector(".verdict .decision")
    tab_to(".verdict figure summary")
    page.keyboard.press("Enter")
    expect(page.locator(".verdict figure tbody tr")).to_have_count(20)
    tab_to("a[href$='/why']")
    page.keyboard.press("Enter")
    page.wait_for_selector("img.asked")


def test_the_measures_see_what_is_faint_small_wide_or_cut(visit: Any, desk: Desk) -> None:
    page: Page = visit(400, "light")
    page.wait_for_selector("#key")
    assert page.evaluate(MEASURES) == []
    rules = [
        "input { border-color: #d8dcdf !important; min-height: 0 !important; height: 16px !important;"
        " padding: 0 !important }"
    ]
    rules += [
        "::placeholder { color: #bbb !important }",
        "main { width: 500px }",
        ".x { width: 60px }",
        ".y { white-space: nowrap !important }",
    ]
    page.evaluate("(rules) => rules.forEach((r) => document.styleSheets[0].insertRule(r))", rules)
    cut = "<select class='x'><option>longer than it</option></select>"
    cut += "<div class='scroll'><table class='cards'><td class='y'>" + "0.05 " * 40 + "</td></table></div>"
    page.evaluate("(cut) => document.querySelector('main').insertAdjacentHTML('beforeend', cut)", cut)
    found = " ".join(page.evaluate(MEASURES))
    wrong = (
        "edge 1.3",
        "placeholder",
        "target",
        "pixels too wide",
        'cut option "longer than it"',
        'cut: <div class="scroll"',
        "cut: <td",
    )
    assert all(word in found for word in wrong), found


def test_on_a_phone_rows_are_cards_and_no_word_or_tab_is_torn(visit: Any, desk: Desk, tmp_path: Path) -> None:
    page: Page = visit(360, "light")
    page.wait_for_selector("#key")
    one_line = "(words) => words.every((word) => word.getClientRects().length === 1)"
    assert page.locator("code .word").evaluate_all(one_line)
    sign_in(page, desk)
    (tmp_path / "broken.json").write_text('{"answers": [[-1, 2, 0, 0]]}')
    judge(page, desk, [desk.answers(tmp_path, COPY, "taken"), tmp_path / "broken.json"], level="0.2")
    page.wait_for_selector("#score-error")
    cells = page.locator("#result tbody tr").first.locator("td")
    titles = ["Suspect", "Decision", "p", "Level", "Page"]
    assert cells.evaluate_all("(cells) => cells.map((c) => c.dataset.label)") == titles
    assert cells.evaluate_all("(cells) => cells.map((c) => getComputedStyle(c, '::before').content)") == [
        f'"{t}"' for t in titles
    ]
    tops = cells.evaluate_all("(cells) => cells.map((c) => c.getBoundingClientRect().top)")
    assert tops == sorted({*tops}), "one below the other"
    assert (
        page.locator("#result [role=row]").count() == 3
        and page.locator("#result [role=cell]:visible").count() == 7
    )
    tabs = page.locator("nav.steps a").evaluate_all(
        "(tabs) => tabs.map((t) => [t.getBoundingClientRect().top, t.getBoundingClientRect().right])"
    )
    assert len({top for top, _ in tabs}) == 1 and all(right <= 360 for _, right in tabs)
