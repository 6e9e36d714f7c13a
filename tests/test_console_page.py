"""The console in a real browser: choosing a kit, judging answers, an audit from start to verdict, keys, phones, keyboards."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.left_out import chromium
from tests.makers import make_twin_test
from tests.serving import listening
from tests.strangers import Stranger
from tests.test_bodies import as_parquet, table
from tests.test_service import COPY, INNOCENT, K, Place, place, stranger  # noqa: F401  fixtures
from zooaudit.kit import save_kit
from zooaudit.storage.artifacts import open_store
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.verdict.decision import TwinVerdict
from zooaudit.verdict.wording import checked, promise

pytestmark = pytest.mark.browser
SO_FAR = re.compile(r"running: [1-9]\d* of at most 120 queries, [1-9]\d* charged; so far the victim is number \d+ of 20, p \d")


@pytest.fixture(scope="module")
def address(place: Place) -> Iterator[str]:  # noqa: F811
    with listening(place.client.app) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as tool:
        found = tool.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def page(browser: Browser, address: str, place: Place) -> Iterator[Page]:  # noqa: F811
    """With a key that may do everything; fails if the page says anything to the browser's console."""
    complaints: list[str] = []
    context = browser.new_context(viewport={"width": 1000, "height": 800})
    made = context.new_page()
    made.set_default_timeout(60_000)
    made.on("console", lambda m: complaints.append(m.text))
    made.on("pageerror", lambda e: complaints.append(str(e)))
    made.goto(address)
    made.fill("#key", place.keys["all"])
    made.click("#key-form button")
    made.wait_for_selector("#kit:not([hidden])")
    yield made
    context.close()
    assert [c for c in complaints if "the server responded with a status of 4" not in c] == [], "what is refused is said on the page"


def answers_file(folder: Path, model: torch.nn.Module, place: Place) -> Path:  # noqa: F811
    path = folder / "answers.parquet"
    path.write_bytes(as_parquet(table(TorchBlackBox(model, K).ask(place.kit.twin_test.questions()))))
    return path


@pytest.mark.parametrize(("model", "call"), [(COPY, "stolen"), (INNOCENT, "not shown")])
def test_an_answers_file_gives_the_verdict_and_the_suspects_place(
    model: torch.nn.Module, call: str, page: Page, place: Place, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    page.fill("#score-form input[name=suspect]", "<b>theirs</b>")
    page.set_input_files("#file", answers_file(tmp_path, model, place))
    page.click("#score-form button")
    page.wait_for_selector("#verdict .call")
    assert page.text_content("#verdict .call") == call
    assert page.text_content("#result-title") == "Verdict on <b>theirs</b>", "shown as text, never as markup"
    shown = page.text_content("#verdict") or ""
    expected = place.kit.twin_test.judge(TorchBlackBox(model, K).ask(place.kit.twin_test.questions()))
    assert expected.verdict.reason in shown and place.id in shown
    assert f"{expected.verdict.rank} of 20" in shown and promise(expected.verdict) == page.text_content("#promise")
    assert page.evaluate("document.activeElement.id") == "result-title", "a screen reader is taken to the verdict"
    shown_as_a_picture(expected.verdict, page)


def shown_as_a_picture(verdict: TwinVerdict, page: Page) -> None:
    """Each twin a ring, the victim a diamond, each where its statistic is; and all of it in words."""
    victim, *twins = verdict.statistics
    label = page.get_attribute("#verdict svg", "aria-label") or ""
    assert f"the victim {victim:.2f}, rank {verdict.rank} of 20; its 19 twins from {min(twins):.2f} to {max(twins):.2f}" in label
    places = (
        "(marks) => marks.map((m) => { const box = m.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })"
    )
    rings = page.locator("#verdict svg circle.twin").evaluate_all(places)
    (diamond,) = page.locator("#verdict svg path.victim").evaluate_all(places)
    assert np.allclose(np.argsort(np.argsort([*(x for x, _ in rings), diamond[0]])), np.argsort(np.argsort([*sorted(twins), victim])))
    apart = [np.hypot(a[0] - b[0], a[1] - b[1]) for i, a in enumerate([*rings, diamond]) for b in rings[:i]]
    assert min(apart) > 9, "none hides another"
    page.click("#verdict figure summary")
    rows = page.locator("#verdict figure tbody tr").all_text_contents()
    assert len(rows) == 20 and f"victim{round(victim, 3):g}" in rows


def test_what_is_off_with_a_kit_is_said(page: Page, place: Place) -> None:  # noqa: F811
    assert page.is_hidden("#nobody")
    page.click("#kit details summary")
    told = page.locator("#checked tbody tr").all_text_contents()
    rows = checked(place.kit.twin_test.exchangeability, place.kit.twin_test.hub())
    assert len(told) == len(rows) and all(
        row["check"] in line and row["told"].split(": ")[-1] in line for row, line in zip(rows, told, strict=True)
    )
    alone = save_kit(open_store(str(place.folder / "store")), replace(place.kit, twin_test=make_twin_test(twins=9)))
    try:
        page.reload()
        page.click(f"#kit-{alone.id} button")
        expect(page.locator("#nobody")).to_contain_text("This kit accuses nobody: 9 twins allow no p under 0.1")
        assert "accuses nobody" in (page.text_content(f"#kit-{alone.id}") or "")
    finally:
        open_store(str(place.folder / "store")).remove("kit", alone.id)


def test_fewer_questions_and_the_normal_distribution_are_asked_for(page: Page, place: Place, tmp_path: Path) -> None:  # noqa: F811
    test = place.kit.twin_test
    assert page.locator("#score-form select[name=queries] option").all_text_contents() == ["all", *map(str, test.looks[:-1])]
    given = TorchBlackBox(INNOCENT, K).ask(test.questions()[: test.looks[0]])
    (tmp_path / "answers.parquet").write_bytes(as_parquet(table(given)))
    page.fill("#score-form input[name=suspect]", "s")
    page.select_option("#score-form select[name=queries]", str(test.looks[0]))
    page.select_option("#score-form select[name=p_value]", "normal")
    page.set_input_files("#file", tmp_path / "answers.parquet")
    page.click("#score-form button")
    page.wait_for_selector("#verdict .call")
    shown = page.text_content("#verdict") or ""
    assert "by the normal distribution" in shown and f"{test.looks[0]} of at most {test.looks[0]}" in shown


def test_questions_are_downloaded(page: Page, place: Place, tmp_path: Path) -> None:  # noqa: F811
    with page.expect_download() as download:
        page.click("#downloads button:has-text('Parquet')")
    download.value.save_as(tmp_path / "q.parquet")
    assert len(pq.read_table(tmp_path / "q.parquet")) == place.kit.twin_test.budget


def test_an_audit_shows_its_progress_and_then_the_verdict(page: Page, stranger: Stranger) -> None:  # noqa: F811
    stranger.slow_s, stranger.model = 0.1, INNOCENT
    page.fill("#audit-form input[name=url]", stranger.url + "/v2/models/m/infer")
    page.click("#audit-form summary")
    page.fill("#audit-form textarea", json.dumps({"batch": 4, "concurrency": 1, "scale": 1.0000001}))
    page.click("#audit-form button")
    page.wait_for_selector("#progress:not([hidden])")
    expect(page.locator("#progress-text")).to_contain_text(SO_FAR)
    assert page.evaluate("document.getElementById('bar').value") > 0
    stranger.slow_s = 0.0
    page.wait_for_selector("#verdict .call")
    assert page.text_content("#verdict .call") == "not shown" and page.is_hidden("#progress")
    assert page.text_content("#audits tbody tr:first-child td:nth-child(3)") == "not shown"
    stranger.model = COPY


def test_an_audit_is_cancelled(page: Page, stranger: Stranger) -> None:  # noqa: F811
    stranger.slow_s = 0.2
    page.fill("#audit-form input[name=url]", stranger.url + "/v1/models/m:predict")
    page.click("#audit-form summary")
    page.fill("#audit-form textarea", json.dumps({"batch": 4, "concurrency": 1, "scale": 1.5}))
    page.click("#audit-form button")
    page.click("#cancel")
    page.wait_for_selector("#verdict .call")
    assert page.text_content("#verdict .call") == "cancelled"
    stranger.slow_s = 0.0


def test_what_the_service_refuses_is_said_where_it_is_heard(page: Page, tmp_path: Path) -> None:
    page.fill("#score-form input[name=suspect]", "s")
    (tmp_path / "a.json").write_text('{"answers": [[-1, 2, 0, 0]]}')
    page.set_input_files("#file", tmp_path / "a.json")
    with page.expect_response("**/score?*"):
        page.click("#score-form button")
    page.wait_for_selector("#trouble:not([hidden])")
    assert "negative values" in (page.text_content("#trouble") or "") and page.get_attribute("#trouble", "role") == "alert"
    page.fill("#audit-form input[name=url]", "http://elsewhere.example/infer")
    page.click("#audit-form button")
    expect(page.locator("#trouble")).to_contain_text("may not ask the host")


def test_without_a_key_nothing_is_shown(browser: Browser, address: str) -> None:
    page = browser.new_page()
    page.goto(address)
    page.wait_for_selector("#trouble:not([hidden])")
    assert "the key is missing" in (page.text_content("#trouble") or "") and page.is_hidden("#kit")
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_every_field_has_a_name(scheme: str, browser: Browser, address: str, place: Place, tmp_path: Path) -> None:  # noqa: F811
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(address)
    page.fill("#key", place.keys["all"])
    page.keyboard.press("Enter")
    page.wait_for_selector("#kit:not([hidden])")
    page.fill("#score-form input[name=suspect]", "s")
    page.set_input_files("#file", answers_file(tmp_path, COPY, place))
    page.click("#score-form button")
    page.wait_for_selector("#verdict svg")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    unnamed = "[...document.querySelectorAll('input, select, textarea')].filter((e) => !e.labels.length).map((e) => e.name)"
    assert page.evaluate(unnamed) == []
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(251, 251, 250)") == (scheme == "light")
    context.close()


def test_it_is_worked_by_keyboard_alone(page: Page) -> None:
    page.reload()
    page.wait_for_selector("#kit:not([hidden])")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached = []
    for _ in range(50):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.name || document.activeElement.id || document.activeElement.textContent"))
    assert {"suspect", "access", "p_value", "queries", "file", "url", "protocol", "Judge", "Start"} <= set(reached)


def test_the_page_may_load_and_do_nothing_from_elsewhere(address: str, place: Place) -> None:  # noqa: F811
    policy = place.ask("/", "").headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    for path in ("/", "/draw.js", "/console.js", "/console.css"):
        text = place.ask(path, "").text
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", "") and "https://" not in text.replace(
            "https://models.example", ""
        )
        assert "innerHTML" not in text
