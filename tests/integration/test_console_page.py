"""The console in a real browser: a kit, answers judged one by one and many at once, what a
verdict says, is refused, is sent on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from playwright.sync_api import Page, expect

from tests.support.bodies import as_parquet, table
from tests.support.console import COLOUR, Desk, Wire, judge, to, too_few_twins
from tests.support.kits import K
from tests.support.onnx_files import export_onnx
from tests.support.service import COPY, INNOCENT
from zooaudit.kits.kit import save_kit
from zooaudit.storage.opening import open_store
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.verdict.decision import TwinVerdict
from zooaudit.verdict.wording import checked, promise

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(("model", "decision"), [(COPY, "stolen"), (INNOCENT, "not shown")])
def test_an_answers_file_gives_the_verdict_and_the_suspects_place(
    model: torch.nn.Module, decision: str, page: Page, desk: Desk, tmp_path: Path
) -> None:
    judge(page, desk, desk.answers(tmp_path, model), suspect="<b>theirs</b>")
    page.wait_for_selector(".verdict .decision")
    assert page.text_content(".verdict .decision") == decision
    ink = page.evaluate("getComputedStyle(document.body).color")
    assert (page.locator(".verdict .decision").evaluate(COLOUR) == ink) == (decision == "not shown"), (
        "not shown is not a clearance: it has no colour"
    )
    assert page.text_content("#result-title") == "Verdict on <b>theirs</b>", "shown as text, never as markup"
    shown = page.text_content("#result") or ""
    expected = desk.kit.twin_test.judge(TorchBlackBox(model, K).ask(desk.kit.twin_test.questions()))
    assert expected.verdict.reason in shown and desk.id in shown
    assert f"{expected.verdict.rank} of 20" in shown and promise(expected.verdict) == page.text_content(
        ".promise"
    )
    expect(page.locator("#result-title")).to_be_focused()  # a screen reader is taken to the verdict
    shown_as_a_picture(expected.verdict, page)


def shown_as_a_picture(verdict: TwinVerdict, page: Page) -> None:
    """Each twin a ring, the victim a diamond, each where its statistic is; and all of it in words."""
    victim, *twins = verdict.statistics
    label = page.get_attribute(".verdict svg", "aria-label") or ""
    assert (
        f"the victim {victim:.2f}, rank {verdict.rank} of 20; its 19 twins from {min(twins):.2f} to"
        f" {max(twins):.2f}" in label
    )
    places = (
        "(marks) => marks.map((m) => { const box = m.getBoundingClientRect(); return [box.x + box.width / 2,"
        " box.y + box.height / 2]; })"
    )
    rings = page.locator(".verdict svg circle.twin").evaluate_all(places)
    (diamond,) = page.locator(".verdict svg path.victim").evaluate_all(places)
    assert np.allclose(
        np.argsort(np.argsort([*(x for x, _ in rings), diamond[0]])),
        np.argsort(np.argsort([*sorted(twins), victim])),
    )
    apart = [np.hypot(a[0] - b[0], a[1] - b[1]) for i, a in enumerate([*rings, diamond]) for b in rings[:i]]
    assert min(apart) > 9, "none hides another"
    page.click(".verdict figure summary")
    rows = page.locator(".verdict figure tbody tr").all_text_contents()
    assert len(rows) == 20 and f"victim{round(victim, 3):g}" in rows


def test_a_refused_file_leaves_no_verdict_of_another_and_is_said_beside_the_button(
    page: Page, desk: Desk, tmp_path: Path
) -> None:
    page.set_viewport_size({"width": 1000, "height": 500})
    judge(page, desk, desk.answers(tmp_path, COPY), suspect="theirs")
    page.wait_for_selector(".verdict .decision")
    (tmp_path / "a.json").write_text('{"answers": [[-1, 2, 0, 0]]}')
    page.set_input_files("#file", tmp_path / "a.json")
    assert page.locator(".verdict").count() == 0, "another file is chosen: what was said is of the one before"
    page.click("#score-form button")
    error = page.wait_for_selector("#score-error")
    assert (
        error and "negative values" in (error.text_content() or "") and error.get_attribute("role") == "alert"
    )
    assert page.locator(".verdict").count() == 0 and page.locator("#result").count() == 0
    expect(page.locator("#score-error")).to_be_focused()
    button, output = page.locator("#score-form button").bounding_box(), error.bounding_box()
    assert button and output and 0 <= output["y"] - button["y"] < 60, "beside the button that caused it"
    assert output["y"] + output["height"] <= 501, "within the window"
    page.fill("#score-form input[name=suspect]", "other")
    assert page.locator("#score-error").count() == 0, "what is changed has not been refused"


def test_a_file_with_no_known_ending_is_not_sent(page: Page, desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("?")
    judge(page, desk, tmp_path / "a.txt")
    expect(page.locator("#score-error")).to_contain_text("a.txt: no known ending; expected .parquet")


@pytest.mark.parametrize(
    ("level", "says", "weak"),
    [("", "1 of 20 cases", False), ("0.2", "1 of 5 cases", True), ("0.06", "3 of 50 cases", True)],
)
def test_a_level_is_a_frequency_and_a_weak_one_looks_weak(
    level: str, says: str, weak: bool, page: Page, desk: Desk, tmp_path: Path
) -> None:
    judge(page, desk, desk.answers(tmp_path, COPY), level=level, suspect=f"at {level}")
    expect(page.locator(".verdict .decision")).to_contain_text("stolen")
    assert f"a model made without yours is called stolen in at most {says}" in (
        page.text_content(".verdict .frequency") or ""
    )
    assert ("weak" in (page.text_content(".verdict .decision") or "")) == weak
    red = page.locator(".verdict .decision").evaluate(COLOUR) == "rgb(163, 38, 15)"
    assert red != weak, "not the red of what holds at .05"
    to(page, desk, f"/verdicts?text={'at ' + level}", "tbody tr")
    assert ("weak" in (page.text_content("tbody tr") or "")) == weak and says.removesuffix(" cases") in (
        page.text_content("tbody tr") or ""
    )


def test_what_is_off_with_a_kit_is_said(page: Page, desk: Desk) -> None:
    to(page, desk, f"/kits/{desk.id}", "#kit")
    assert page.locator("#nobody").count() == 0
    page.click("#kit details summary")
    result = page.locator("#checked tbody tr").all_text_contents()
    rows = checked(desk.kit.twin_test.exchangeability, desk.kit.twin_test.hub())
    assert len(result) == len(rows) and all(
        row["check"] in line and row["text"].split(": ")[-1] in line
        for row, line in zip(rows, result, strict=True)
    )
    alone = too_few_twins(desk)
    try:
        to(page, desk, "", f"#kit-{alone}")
        assert "nobody" in (page.text_content(f"#kit-{alone}") or "")
        page.click(f"#kit-{alone} a")
        expect(page.locator("#nobody")).to_contain_text(
            "This kit accuses nobody: 9 twins allow no p under 0.1"
        )
    finally:
        open_store(str(desk.folder / "store")).remove("kit", alone)


def test_nobody_is_to_be_accused_by_a_trial_recipes_kit(page: Page, desk: Desk) -> None:
    store = open_store(str(desk.folder / "store"))
    trial = save_kit(
        store, replace(desk.kit, facts=desk.kit.facts | {"recipe": {"name": "digits", "dataset": "digits"}})
    ).id
    try:
        to(page, desk, "", f"#kit-{trial}")
        row = page.text_content(f"#kit-{trial}") or ""
        assert (
            "digits" in row
            and "nobody" in row
            and "digits" not in (page.text_content(f"#kit-{desk.id}") or "")
        )
        for path in ("", "/judge", "/audit"):
            to(page, desk, f"/kits/{trial}{path}", "#nobody")
            expect(page.locator("#nobody")).to_have_text(
                "Made by the trial recipe digits: accuse nobody by it."
            )
    finally:
        store.remove("kit", trial)


def test_fewer_questions_and_the_normal_distribution_are_asked_for(
    page: Page, desk: Desk, tmp_path: Path
) -> None:
    test = desk.kit.twin_test
    to(page, desk, f"/kits/{desk.id}/judge", "#score-form")
    assert page.locator("#score-form select[name=queries] option").all_text_contents() == [
        "all",
        *map(str, test.looks[:-1]),
    ]
    given = TorchBlackBox(INNOCENT, K).ask(test.questions()[: test.looks[0]])
    (tmp_path / "answers.parquet").write_bytes(as_parquet(table(given)))
    page.select_option("#score-form select[name=queries]", str(test.looks[0]))
    page.select_option("#score-form select[name=p_value]", "normal")
    page.set_input_files("#file", tmp_path / "answers.parquet")
    page.click("#score-form button")
    page.wait_for_selector(".verdict .decision")
    shown = page.text_content("#result") or ""
    assert "by the normal distribution" in shown and f"{test.looks[0]} of at most {test.looks[0]}" in shown


def test_questions_are_downloaded(page: Page, desk: Desk, tmp_path: Path) -> None:
    to(page, desk, f"/kits/{desk.id}", "#downloads")
    with page.expect_download() as download:
        page.click("#downloads button:has-text('Parquet')")
    download.value.save_as(tmp_path / "q.parquet")
    assert len(pq.read_table(tmp_path / "q.parquet")) == desk.kit.twin_test.budget


def test_a_page_whose_service_says_nothing_for_a_minute_says_so(page: Page, desk: Desk) -> None:
    wire = Wire(page, r"/verdicts\?")
    wire.stopped = True
    page.clock.install()
    to(page, desk, "/verdicts")
    expect(page.locator("main")).to_contain_text("Loading")
    page.wait_for_timeout(300)
    page.clock.fast_forward(61_000)
    expect(page.locator(".stale")).to_contain_text("The service does not answer. Next try in 1 s.")
    wire.stopped = False
    page.clock.fast_forward(2_000)
    expect(page.locator(".stale")).to_have_count(0)


def test_judge_is_pressed_twice_and_judges_once(page: Page, desk: Desk, tmp_path: Path) -> None:
    wire = Wire(page, r"/score\?", "POST")
    to(page, desk, f"/kits/{desk.id}/judge", "#score-form")
    page.set_input_files("#file", desk.answers(tmp_path, COPY))
    page.dblclick("#score-form button")
    page.wait_for_selector(".verdict .decision")
    assert wire.seen == 1


def test_the_page_may_load_and_do_nothing_from_elsewhere(page: Page, desk: Desk) -> None:
    asked: list[str] = []
    page.on("request", lambda r: asked.append(r.url))
    to(page, desk, "", f"#kit-{desk.id}")
    assert asked and all(url.startswith(desk.address) for url in asked)
    reply = page.request.get(f"{desk.address}/console")
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    loaded = [url for url in asked if "/console/files/" in url]
    assert len(loaded) == 15
    for url in loaded:
        reply = page.request.get(url)
        text = reply.text().replace("http://www.w3.org/", "").replace("https://models.example", "")
        assert (
            reply.headers["x-content-type-options"] == "nosniff"
            and "http://" not in text
            and "https://" not in text
        )
        assert url.endswith(("preact.js", "htm.js")) or "innerHTML" not in text


def test_a_model_file_is_judged_where_it_may_be(page: Page, desk: Desk, tmp_path: Path) -> None:
    judge(page, desk, export_onnx(COPY, tmp_path / "theirs.onnx"))
    expect(page.locator(".verdict .decision")).to_have_text("stolen", timeout=60_000)
    page.click("text=This verdict's own page")
    expect(page.locator("dl")).to_contain_text("Model, SHA-256")
    to(page, desk, f"/kits/{desk.id}/judge", "#score-form")
    (tmp_path / "w.safetensors").write_bytes(b"?")
    page.set_input_files("#file", tmp_path / "w.safetensors")
    page.fill("input[name=factory]", "os:getcwd")
    page.click("#score-form button")
    expect(page.locator("#score-error")).to_contain_text("expected timm:NAME or torchvision:NAME")
