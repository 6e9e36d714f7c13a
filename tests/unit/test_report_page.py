"""The report's page: what it must say, whatever the audit found."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support.reports import (
    FACTS,
    Page,
    accuse_everyone,
    with_failure,
    with_own_victim,
    with_twin_test,
    with_twins,
    with_verdicts,
    without,
    words,
)
from zooaudit.auditing.results import Audit
from zooaudit.config import Start
from zooaudit.paper.t_test import PaperDecision
from zooaudit.reporting import findings
from zooaudit.reporting.fitness import finding
from zooaudit.reporting.report import render, write_report
from zooaudit.reporting.summary import summarise
from zooaudit.reporting.wording import DASH
from zooaudit.verdict import wording
from zooaudit.verdict.decision import Decision
from zooaudit.zoo.spec import Role

pytestmark = pytest.mark.usefixtures("placed_once")


def test_every_suspect_has_its_verdict_in_the_table(audit: Audit, report_page: Page) -> None:
    header, *rows = report_page.verdicts
    assert header[1:4] == ["Suspect", "Truth", "Decision"]
    assert len(rows) == len(audit.suspects)
    for suspect in audit.suspects:
        (row,) = [r for r in rows if suspect.spec.id in r[1]]
        verdict = suspect.verdict
        assert ("stolen" if suspect.spec.role.stolen else "innocent") in row[2]
        assert row[3] == verdict.decision
        assert row[4] == f"{verdict.similarity:.4f}"
        assert words(row[6]).startswith(
            f"{verdict.reference_above} of {verdict.reference_models} score as high, so no p below"
        )
        assert f"{(verdict.reference_above + 1) / (verdict.reference_models + 1):.2f}" in row[6]


def test_every_suspect_has_its_call_in_the_table(audit: Audit, report_page: Page) -> None:
    header, *rows = report_page.tables["calls"]
    assert header[1:7] == ["Suspect", "Truth", "Decision", "Victim's rank", "p", "Queries"]
    assert len(rows) == len(audit.suspects)
    for suspect in audit.suspects:
        (row,) = [r for r in rows if suspect.spec.id in r[1]]
        verdict = suspect.examined.verdict
        assert ("stolen" if suspect.spec.role.stolen else "innocent") in row[2]
        place = DASH if verdict.rank is None else f"{verdict.rank} of {verdict.twins + 1}"
        p = DASH if verdict.p_value is None else f"{verdict.p_value:.2g}"
        assert row[3:7] == [wording.headline(verdict), place, p, str(verdict.queries)]
        assert row[7].startswith(verdict.reason)


def test_it_begins_with_what_was_found_the_level_and_whether_the_kit_is_fit(
    audit: Audit, report_page: Page
) -> None:
    found, text = finding(audit), words(report_page.text)
    assert (
        "nothing off. Made by the trial recipe digits: accuse nobody by it." in found.text
        and "fit for use" not in text
    )
    assert not report_page.all("strong")[0].get("class"), "no clearance in green"
    assert (
        text.index(found.text) < text.index("Recipe digits")
        and summarise(audit, "r", FACTS, "p")["finding"]["text"] == found.text
    )


@pytest.mark.usefixtures("undrawn")
def test_no_folder_of_this_machine_is_in_a_report(audit: Audit) -> None:
    command = (
        "zooaudit audit --store /home/me/models/store --data '/home/me/my data/set' --victim=../v.safetensors"
        " --out s3://b/p"
    )
    recipe = replace(
        audit.recipe,
        zoo=replace(audit.recipe.zoo, start=Start("timm:lite0=/home/me/lite0.safetensors", "0" * 64)),
    )
    test = replace(
        audit.kit.twin_test, procedure="by the owner's own command: python /home/me/train.py --seed {seed}"
    )
    result = replace(
        audit,
        recipe=recipe,
        dataset=replace(audit.dataset, source="/home/me/data"),
        kit=replace(audit.kit, twin_test=test),
    )
    id_ = audit.suspects[0].spec.id
    text = Page(
        render(with_failure(result, id_, "OSError: /home/me/x.py: no"), "r", replace(FACTS, command=command))
    ).text
    assert "/home" not in text and "my data" not in text and ".." not in text
    assert "zooaudit audit --store store --data set --victim=v.safetensors --out s3://b/p" in text
    assert (
        "python train.py --seed {seed}" in text
        and "timm:lite0=lite0.safetensors" in text
        and "OSError: x.py: no" in text
    )
    assert re.search(r"10 classes; data\b", text)


def test_at_a_lax_level_calls_are_marked_as_weak(audit: Audit, report_page: Page, undrawn: None) -> None:
    assert (
        "a model made without yours is called stolen in at most 1 of 20 cases." in words(report_page.text)
        and "weak" not in report_page.text
    )
    lax = with_twin_test(audit, replace(audit.kit.twin_test, level=0.2))
    found = Page(render(lax, "run", FACTS))
    assert "is called stolen in at most 1 of 5 cases: that is weak evidence" in words(found.text)
    called = {s.spec.id: s.examined.verdict.decision for s in lax.suspects}
    assert Decision.STOLEN in called.values()
    for row in found.tables["calls"][1:]:
        (call,) = [c for id_, c in called.items() if id_ in row[1]]
        assert row[3] == ("stolen (weak evidence)" if call is Decision.STOLEN else call)


def test_the_first_section_says_what_was_asked_promised_and_checked(audit: Audit, report_page: Page) -> None:
    test, text = audit.kit.twin_test, words(report_page.text)
    assert text.index("The twin test", text.index("Glossary")) < text.index(
        "The paper's test", text.index("Glossary")
    )
    assert wording.promise(audit.itself.verdict) in text
    assert (
        f"{test.budget} at most: {test.families.count('natural')} natural, {test.families.count('foreign')}"
        " foreign" in text
    )
    assert f"looked at after {', '.join(map(str, test.looks))} of them" in text
    assert test.procedure in text and "This kit accuses nobody" not in text
    checks = report_page.tables["checks-table"][1:]
    assert [row[0] for row in checks] == [
        row["check"] for row in wording.checked(test.exchangeability, test.hub())
    ]
    for row, check in zip(checks, test.exchangeability, strict=False):
        assert row[4] == check.line.removeprefix(f"{check.name}: ")


def test_the_victim_is_drawn_among_its_twins_for_itself_and_every_suspect(
    audit: Audit, report_page: Page
) -> None:
    rows = [a["aria-label"] or "" for a in report_page.all("svg") if a.get("role") == "img"]
    ranked = [s for s in audit.suspects if s.examined.verdict.rank is not None]
    assert ranked
    for suspect in ranked:
        (alt,) = [t for t in rows if t.startswith(f"{suspect.spec.id}: ")]
        assert f"rank {suspect.examined.verdict.rank} of {audit.kit.twin_test.twins + 1}" in alt
    assert sum(t.startswith("the victim itself: ") for t in rows) == (audit.itself.verdict.rank is not None)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("twins", [0, 3])
def test_a_kit_that_accuses_nobody_says_so_first_and_what_to_do(twins: int, audit: Audit) -> None:
    text = words(Page(render(with_twins(audit, twins), "r", FACTS)).text)
    box = text.index("This kit accuses nobody:")
    assert box < text.index("Stolen models called stolen")
    assert ("audit again with --train" if twins == 0 else "add some by 'zooaudit kit add-twins'") in text[
        box:
    ]
    assert "Nothing to draw:" in text
    assert "0 of" in text and "cannot tell" in text


@pytest.mark.usefixtures("undrawn")
def test_a_kit_that_misses_the_victim_itself_says_so_first(audit: Audit) -> None:
    statistics = tuple(float(-i) for i in range(audit.kit.twin_test.twins + 1))
    missed = replace(
        audit.itself,
        verdict=replace(audit.itself.verdict, decision=Decision.NOT_SHOWN, rank=4, statistics=statistics),
    )
    text = words(Page(render(replace(audit, itself=missed), "r", FACTS)).text)
    assert text.index("The victim itself, asked like a suspect, is called not shown:") < text.index(
        "Stolen models called stolen"
    )


@pytest.mark.usefixtures("undrawn")
def test_what_came_of_the_query_log_alone_is_said(audit: Audit, report_html: str) -> None:
    assert "query log alone" not in report_html
    test = audit.kit.twin_test
    logged = replace(test, families=tuple("log" if f == "foreign" else f for f in test.families))
    text = words(Page(render(with_twin_test(audit, logged), "r", FACTS)).text)
    assert "The query log aloneBy its images only, the victim comes first of all candidates for" in text


def test_the_glossary_has_the_terms_of_the_test_and_none_that_are_gone(report_page: Page) -> None:
    terms = report_page.text[report_page.text.rindex("Glossary") :].splitlines()
    for term in ("Twin", "Candidate", "Reference", "Exchangeable", "Statistic", "Rank"):
        assert any(line.startswith(term) for line in terms), term
    assert not re.search(r"calibrat|\bprobe\b|discriminant", report_page.text, re.IGNORECASE)


@pytest.mark.usefixtures("undrawn")
def test_wrong_verdicts_come_first_and_are_marked(audit: Audit) -> None:
    mixed = with_verdicts(
        audit,
        lambda s: PaperDecision.PIRACY if s.spec.role is not Role.PIRACY else PaperDecision.INCONCLUSIVE,
    )
    first = mixed.suspects[-1]
    mixed = replace(
        mixed,
        suspects=[
            replace(first, verdict=replace(first.verdict, decision=PaperDecision.INCONCLUSIVE)),
            *mixed.suspects[:-1],
        ],
    )
    rows = findings.verdict_rows(mixed)
    assert [r.outcome.wrong for r in rows] == [True] * (len(rows) - 1) + [False]
    # One look-alike is spared; the worst mistakes come before the missed ones.
    worst = [Role.LOOK_ALIKE, Role.HOMOLOGOUS]
    assert [r.suspect.spec.role for r in rows[:2]] == worst
    shown = Page(render(mixed, "r", FACTS)).all("tr")
    assert sum(a.get("class") == "wrong" and "data-role" in a for a in shown) == len(rows) - 1


@pytest.mark.usefixtures("undrawn")
def test_accused_look_alikes_are_counted_out_loud(audit: Audit) -> None:
    total = len(audit.scores(Role.LOOK_ALIKE))
    text = words(Page(render(with_verdicts(audit, accuse_everyone, p_value=1e-9), "r", FACTS)).text)
    assert "Do not accuse anyone by the paper's test" in text
    assert f"It accused {total} of {total} look-alikes" in text
    assert f"an AUC of {audit.auc(Role.LOOK_ALIKE):.3f}" in text
    innocent = total + len(audit.scores(Role.HOMOLOGOUS))
    assert f"Of the {len(audit.suspects)} models that it accused, {innocent} were innocent" in text
    assert "The smallest p here is 1e-09, and it belongs to an innocent model" in text


@pytest.mark.usefixtures("undrawn")
def test_sparing_the_look_alikes_does_not_clear_the_method(audit: Audit) -> None:
    text = words(Page(render(with_verdicts(audit, lambda _: PaperDecision.INCONCLUSIVE), "r", FACTS)).text)
    assert "It accused none of 2 look-alikes" in text
    assert "may still be as high as 84 %" in text  # 1 - 0.025 ** (1 / 2)
    assert "It accused nobody" in text
    assert "must not be used to accuse" in text


@pytest.mark.usefixtures("undrawn")
def test_without_look_alikes_the_page_says_what_it_cannot_say(audit: Audit) -> None:
    bare = without(audit, Role.LOOK_ALIKE)
    assert summarise(bare, "r", FACTS, "")["auc"]["look_alike"] is None
    text = words(Page(render(bare, "r", FACTS)).text)
    assert "This run cannot say how often it accuses the wrong person's copy" in text
    assert "none tested" in text


def test_without_piracy_suspects_there_is_no_curve(audit: Audit) -> None:
    assert "Not available: no piracy suspect learnt" in words(
        Page(render(without(audit, Role.PIRACY), "r", FACTS)).text
    )


@pytest.mark.usefixtures("undrawn")
def test_a_failed_model_is_listed_with_its_reason_and_left_out(audit: Audit, tmp_path: Path) -> None:
    id_ = audit.zoo.plan.of(Role.PIRACY)[-1].id
    failed = with_failure(audit, id_, "recovery rate 0.123 is under the floor <0.7>")
    shown = Page(write_report(failed, "r", FACTS, tmp_path).read_text())
    text = words(shown.text)
    assert (
        f"1 of {len(audit.zoo.plan.specs)} models did not learn their task and are in no statistic above: 1"
        " piracy" in text
    )
    assert "recovery rate 0.123 is under the floor <0.7>" in text
    assert id_ in text
    assert all(id_ not in row[1] for row in shown.verdicts)
    data = json.loads((tmp_path / "audit.json").read_text())
    assert data["models"]["failed"] == 1
    assert [f["model"] for f in data["failed"]] == [id_]
    (row,) = [r for r in pq.read_table(tmp_path / "models.parquet").to_pylist() if r["id"] == id_]
    assert (row["status"], row["reason"]) == ("failed", "recovery rate 0.123 is under the floor <0.7>")


@pytest.mark.usefixtures("undrawn")
def test_the_users_own_victim_has_a_row(audit: Audit, tmp_path: Path) -> None:
    own = with_own_victim(audit, "victim-own-0123456789abcdef")
    text = write_report(own, "r", FACTS, tmp_path).read_text()
    assert "victim-own-0123456789abcdef" in text
    (row,) = [r for r in pq.read_table(tmp_path / "models.parquet").to_pylist() if r["role"] == "victim"]
    assert row["id"] == "victim-own-0123456789abcdef"
    assert row["architecture"] is None
    assert row["accuracy"] == audit.zoo.records[audit.zoo.plan.victim].accuracy
    assert findings.accuracy_rows(own)[0].architecture == "own"
