"""Answers of many suspects judged at once in the console."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support.console import COLOUR, Desk, Wire, judge, to
from tests.support.kits import K
from tests.support.service import COPY, INNOCENT
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.verdict.ranking import twins_for

pytestmark = pytest.mark.browser


def test_many_files_give_a_table_and_those_that_are_refused_spoil_no_other(
    page: Page, desk: Desk, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("?")
    (tmp_path / "broken.json").write_text('{"answers": [[-1, 2, 0, 0]]}')
    files = [
        tmp_path / "notes.txt",
        desk.answers(tmp_path, COPY, "taken"),
        tmp_path / "broken.json",
        desk.answers(tmp_path, INNOCENT, "own"),
    ]
    judge(page, desk, files)
    expect(page.locator("#score-error")).to_have_text("2 of 4 files were refused; the table says why")
    expect(page.locator("#result-title")).to_have_text("Verdicts on 2 suspects; 2 files were refused")
    rows = page.locator("#result tbody tr")
    result = rows.all_text_contents()
    assert [
        line.startswith(name) for line, name in zip(result, ("notes", "taken", "broken", "own"), strict=True)
    ] == [True] * 4
    assert "refused: notes.txt: no known ending; expected .parquet" in result[0] and "stolen" in result[1]
    assert "refused" in result[2] and "negative values" in result[2] and "not shown" in result[3]
    rows.nth(3).locator("a").click()
    expect(page.locator("h1")).to_have_text("Verdict on own")
    page.go_back()
    expect(page.locator("#score-form")).to_be_visible()


def test_what_many_suspects_mean_is_said_above_their_table(page: Page, desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{}")
    files = [
        tmp_path / "broken.json",
        desk.answers(tmp_path, COPY, "taken"),
        desk.answers(tmp_path, INNOCENT, "own"),
    ]
    judge(page, desk, files)
    innocent = "2 suspects, each judged by itself. Of 2 innocent ones up to {} are called stolen on average;"
    none = (
        "Corrected for their number, this kit can call none of them stolen: that takes {} twins; it has 19."
    )
    expect(page.locator("#many")).to_contain_text(innocent.format("0.1"))
    expect(page.locator("#many")).to_contain_text("zooaudit score --answers A B corrects for their number.")
    expect(page.locator("#many")).to_contain_text(none.format(twins_for(0.05 / 2)))
    expect(page.locator("#result-title")).to_have_text("Verdicts on 2 suspects; 1 file was refused")
    amber = page.locator("#many").evaluate(COLOUR)
    assert (
        amber
        == page.locator("#many").evaluate("(n) => getComputedStyle(n).borderTopColor")
        == "rgb(122, 82, 0)"
    )
    notice, table_ = page.locator("#many").bounding_box(), page.locator("#result table").bounding_box()
    assert notice and table_ and notice["y"] + notice["height"] <= table_["y"]
    judge(page, desk, files, level="0.2")  # that of the form, though the first file was refused
    expect(page.locator("#many")).to_contain_text(innocent.format("0.4"))
    assert "none of them" not in (page.text_content("#many") or ""), "19 twins are enough for two at .2"
    judge(page, desk, files[:2])
    expect(page.locator("#result-title")).to_have_text("Verdict on 1 suspect; 1 file was refused")
    assert page.locator("#many").count() == 0


def test_as_many_twins_are_asked_for_as_the_correction_takes(page: Page) -> None:
    cases = [(n, level) for n in range(1, 60) for level in (0.001, 0.01, 0.025, 0.03, 0.05, 0.1, 0.2, 0.3)]
    js = (
        "async (cases) => { const { twinsFor } = await import('/console/files/words.js'); return"
        " cases.map(([n, l]) => twinsFor(n, l)); }"
    )
    assert page.evaluate(js, cases) == [twins_for(level / n) for n, level in cases]


def test_files_of_one_stem_are_told_apart(page: Page, desk: Desk, tmp_path: Path) -> None:
    parquet = desk.answers(tmp_path, COPY, "same")
    answers = TorchBlackBox(INNOCENT, K).ask(desk.kit.twin_test.questions()).tolist()
    (tmp_path / "same.json").write_text(json.dumps({"answers": answers}))
    judge(page, desk, [parquet, tmp_path / "same.json"])
    expect(page.locator("#result tbody td:first-child")).to_have_text(["same.parquet", "same.json"])
    expect(page.locator("#result tbody .decision")).to_have_text(["stolen", "not shown"])


def test_files_are_dropped(page: Page, desk: Desk) -> None:
    answers = TorchBlackBox(COPY, K).ask(desk.kit.twin_test.questions()).tolist()
    to(page, desk, f"/kits/{desk.id}/judge", "#score-form")
    dropped = page.evaluate_handle(
        "(text) => { const d = new DataTransfer(); for (const n of ['a.json', 'b.json']) d.items.add(new"
        " File([text], n)); return d; }",
        json.dumps({"answers": answers}),
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": dropped})
    expect(page.locator("#drop")).to_contain_text("2 files: a.json, b.json")
    page.click("#score-form button")
    expect(page.locator("#result tbody .decision")).to_have_text(["stolen", "stolen"])


def test_a_blip_while_answers_are_sent_is_said_and_sent_again(page: Page, desk: Desk, tmp_path: Path) -> None:
    wire = Wire(page, r"/score\?", "POST")
    wire.cut = True
    judge(page, desk, desk.answers(tmp_path, COPY), suspect="blip")
    expect(page.locator("#under-way")).to_contain_text(
        re.compile(r"^The service cannot be reached\. Next try in [12] s\.")
    )
    wire.cut = False
    page.wait_for_selector(".verdict .decision")
    assert wire.seen >= 2 and page.locator("#under-way").count() == 0


def test_what_is_judged_while_the_service_is_away_can_be_cancelled(
    page: Page, desk: Desk, tmp_path: Path
) -> None:
    wire = Wire(page, r"/score\?", "POST")
    files = [desk.answers(tmp_path, COPY, "first"), desk.answers(tmp_path, INNOCENT, "second")]
    judge(page, desk, files[0])
    page.wait_for_selector(".verdict .decision")
    wire.cut = True
    page.click("#score-form > fieldset > button")
    expect(page.locator("#under-way")).to_contain_text("The service cannot be reached. Next try in")
    page.click("text=Cancel")
    expect(page.locator("#result-title")).to_have_text("first: cancelled")
    expect(page.locator("#result-title")).to_be_focused()
    asked = wire.seen
    expect(page.locator("#score-form > fieldset > button")).to_have_text("Judge")
    page.wait_for_timeout(2500)
    assert wire.seen == asked, "nothing is sent any more"
    wire.cut, wire.stopped = False, True
    page.set_input_files("#file", files)
    page.click("#score-form > fieldset > button")
    waits = re.compile(r"^0 of 2 files judged\. The service has not answered for \d+ s\.")
    expect(page.locator("#under-way")).to_contain_text(waits, timeout=20_000)
    page.click("text=Cancel")
    expect(page.locator("#result-title")).to_have_text("No verdict; 2 files were cancelled")
    wire.stopped = False
    page.click("#score-form > fieldset > button")
    expect(page.locator("#result tbody .decision")).to_have_text(["stolen", "not shown"])


def test_other_files_end_what_is_judged(page: Page, desk: Desk, tmp_path: Path) -> None:
    wire = Wire(page, r"/score\?", "POST")
    wire.stopped = True
    judge(page, desk, desk.answers(tmp_path, COPY, "first"))
    page.wait_for_selector("#under-way")
    wire.stopped = False
    page.set_input_files("#file", desk.answers(tmp_path, INNOCENT, "second"))
    expect(page.locator("#under-way")).to_have_count(0)
    page.click("#score-form > fieldset > button")
    expect(page.locator("#result-title")).to_have_text("Verdict on second")
