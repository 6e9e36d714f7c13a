"""The report as a file: alone, accessible, the same each time."""

import re
from dataclasses import replace

import pytest

from tests.support.reports import FACTS, HOSTILE, PLACED, Page, with_failure, words
from zooaudit.auditing.results import Audit
from zooaudit.reporting import findings
from zooaudit.reporting.report import render
from zooaudit.zoo.spec import Role

pytestmark = pytest.mark.usefixtures("placed_once")


def test_paper_numbers_only_beside_the_papers_data(audit: Audit) -> None:
    assert all(r.paper is None for r in findings.accuracy_rows(audit))
    fashion = replace(audit, dataset=replace(audit.dataset, name="fashion-mnist"))
    stated = {(r.architecture, r.role): r.paper for r in findings.accuracy_rows(fashion)}
    assert stated["A", Role.VICTIM] == 0.898
    assert (stated["B", Role.HOMOLOGOUS], stated["B", Role.PIRACY]) == (0.856, 0.879)
    assert stated["B", Role.LOOK_ALIKE] is None


def test_mean_accuracies_leave_failed_models_out(audit: Audit) -> None:
    id_ = audit.zoo.plan.of(Role.PIRACY)[-1].id
    specs = [s for s in audit.zoo.plan.of(Role.PIRACY) if s.architecture == "C" and s.id != id_]
    (row,) = [
        r
        for r in findings.accuracy_rows(with_failure(audit, id_, "no"))
        if (r.architecture, r.role) == ("C", Role.PIRACY)
    ]
    assert row.models == len(specs)
    assert row.mean == pytest.approx(sum(audit.zoo.records[s.id].accuracy for s in specs) / len(specs))


def test_settings_and_digests_are_all_there(audit: Audit, report_page: Page) -> None:
    text = words(report_page.text)
    for expected in (
        audit.dataset.digest,
        audit.recipe.digest,
        audit.zoo.plan.victim,
        audit.kit_id,
        FACTS.command,
        FACTS.hardware,
    ):
        assert expected in text
    names = [f"{section}.{name}" for section, values in findings.settings(audit.recipe) for name, _ in values]
    assert len(names) == len(set(names))
    assert {"recipe.seed", "zoo.extraction.seed_size", "uap.epsilon", "verdict.level"} <= set(names)


def test_page_asks_the_network_for_nothing(report_html: str, report_page: Page) -> None:
    assert not re.search(r"https?:|url\(|@import|\bsrcset\b", report_html)
    assert all((a["src"] or "").startswith("data:image/") for a in report_page.all("img"))
    assert all((a["href"] or "").startswith("#") for a in report_page.all("a"))
    assert not report_page.all("link")
    assert all("src" not in a for a in report_page.all("script"))
    (policy,) = [
        a["content"] or ""
        for a in report_page.all("meta")
        if a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'")


def test_page_is_accessible(report_page: Page) -> None:
    ids = [a["id"] for _, a in report_page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert all((a["href"] or "")[1:] in ids for a in report_page.all("a"))
    assert all(a["aria-labelledby"] in ids for _, a in report_page.tags if "aria-labelledby" in a)
    assert len(report_page.all("img")) > 8
    assert all(a.get("alt") for a in report_page.all("img"))
    assert all(a.get("scope") in ("col", "row", "rowgroup") for a in report_page.all("th"))


def test_hostile_names_are_text(audit: Audit) -> None:
    dataset = replace(audit.dataset, name=HOSTILE, classes=tuple(f"{HOSTILE}{i}" for i in range(10)))
    facts = replace(FACTS, command=HOSTILE, hardware=HOSTILE, versions={HOSTILE: HOSTILE})
    hostile = with_failure(replace(audit, dataset=dataset), audit.zoo.plan.of(Role.LOOK_ALIKE)[0].id, HOSTILE)
    html = render(hostile, HOSTILE, facts)
    assert "<script>alert" not in html
    assert html.count("<script") == 1
    shown = Page(html)
    assert HOSTILE in shown.text
    assert any(HOSTILE in (a["alt"] or "") for a in shown.all("img"))


def test_page_is_the_same_each_time(audit: Audit, report_html: str) -> None:
    PLACED.clear()
    assert render(audit, "a-run", FACTS) == report_html
