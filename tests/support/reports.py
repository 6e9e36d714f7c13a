"""The finished audit of the digits and its report, read back; variants of it; for the report's tests."""

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.farms import Untouched, quiet
from tests.support.finished import Finished
from zooaudit.auditing.context import Context
from zooaudit.auditing.pipeline import run_audit
from zooaudit.auditing.results import Audit, Suspect
from zooaudit.data.resolve import load_digits
from zooaudit.paper.t_test import PaperDecision
from zooaudit.recipes.named import get_recipe
from zooaudit.reporting import canvas, projection
from zooaudit.reporting.report import write_report
from zooaudit.reporting.summary import RunFacts
from zooaudit.storage.opening import open_store
from zooaudit.verdict.twin_test import TwinTest
from zooaudit.zoo.build import Status
from zooaudit.zoo.spec import Role

FACTS = RunFacts(
    12.34567, 3 * 2**29, {"Python": "3.11"}, "2 cores", "zooaudit audit digits", "2026-01-02T03:04:05Z"
)
HOSTILE = '<script>alert("$x$")</script>'


class Page(HTMLParser):
    """Tags with attributes, text, and each table that has an id as rows of cells."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.tables: dict[str, list[list[str]]] = {}
        self._table = ""
        self._code = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._code = tag in ("script", "style")
        if tag == "table":
            self._table = dict(attrs).get("id") or ""
        rows = self.tables.setdefault(self._table, []) if self._table else []
        if tag == "tr":
            rows.append([])
        if self._table and tag in ("td", "th"):
            rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._table = "" if tag == "table" else self._table
        self._code = False

    def handle_data(self, data: str) -> None:
        if not self._code:
            self.text += data
        if self._table and self.tables[self._table] and self.tables[self._table][-1]:
            self.tables[self._table][-1][-1] += data.rstrip("\n")

    @property
    def verdicts(self) -> list[list[str]]:
        """The paper's decisions."""
        return self.tables["verdicts"]

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attrs for tag, attrs in self.tags if tag == name]


@pytest.fixture(scope="session")
def audit(finished: Finished) -> Audit:
    return run_audit(
        Context(get_recipe("digits"), load_digits(), open_store(str(finished.store)), Untouched(), quiet)
    )


PLACED: dict[bytes, np.ndarray] = {}


@pytest.fixture
def placed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fingerprints that were placed on a map stay where they are: the variants of an audit
    differ in other things."""
    place = projection.tsne

    def placed(rows: np.ndarray) -> np.ndarray:
        if (key := rows.tobytes()) not in PLACED:
            PLACED[key] = place(rows)
        return PLACED[key]

    monkeypatch.setattr(projection, "tsne", placed)


@pytest.fixture
def undrawn(placed_once: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """No picture is drawn, no map made, which takes longer than all else on the page: for
    tests that look at its words."""
    monkeypatch.setattr(projection, "tsne", lambda rows: rows[:, :2])
    monkeypatch.setattr(canvas, "rendered", lambda *_, **__: b"<svg/>")


@pytest.fixture(scope="session")
def report_folder(audit: Audit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A written report."""
    out = tmp_path_factory.mktemp("reports") / "made" / "on-demand"
    assert write_report(audit, "a-run", FACTS, out) == out / "report.html"
    return out


@pytest.fixture(scope="session")
def report_html(report_folder: Path) -> str:
    return (report_folder / "report.html").read_text()


@pytest.fixture(scope="session")
def report_page(report_html: str) -> Page:
    return Page(report_html)


def words(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def with_verdicts(audit: Audit, decide: Callable[[Suspect], PaperDecision], **changes: Any) -> Audit:
    """The same audit with other decisions."""
    return replace(
        audit,
        suspects=[
            replace(s, verdict=replace(s.verdict, decision=decide(s), **changes)) for s in audit.suspects
        ],
    )


def with_twin_test(audit: Audit, test: TwinTest) -> Audit:
    """The same audit as another twin test judges the answers that the suspects gave."""
    suspects = [replace(s, examined=test.judge(s.examined.answers)) for s in audit.suspects]
    return replace(
        audit,
        kit=replace(audit.kit, twin_test=test),
        suspects=suspects,
        itself=test.judge(audit.itself.answers),
    )


def with_twins(audit: Audit, twins: int) -> Audit:
    """The same audit with the first of its twins only."""
    test, kept = audit.kit.twin_test, slice(twins + 1)
    behind = None if test.behind is None else test.behind[:, kept]
    predicted = None if test.predicted is None else test.predicted[kept]
    changed = replace(
        test, candidates=test.candidates[kept], answers=test.answers[kept], behind=behind, predicted=predicted
    )
    return with_twin_test(audit, changed)


def without(audit: Audit, role: Role) -> Audit:
    return replace(audit, suspects=[s for s in audit.suspects if s.spec.role is not role])


def with_failure(audit: Audit, id_: str, reason: str) -> Audit:
    """The same audit with one model that did not learn."""
    records = audit.zoo.records | {id_: replace(audit.zoo.records[id_], status=Status.FAILED, reason=reason)}
    kept = [s for s in audit.suspects if s.spec.id != id_]
    return replace(audit, zoo=replace(audit.zoo, records=records), suspects=kept)


def with_own_victim(audit: Audit, id_: str) -> Audit:
    """The same audit of a user's own model: it has a record, but no spec."""
    old, zoo = audit.zoo.plan.victim, audit.zoo
    plan = replace(zoo.plan, victim=id_, specs=tuple(s for s in zoo.plan.specs if s.id != old))
    records = {id_ if k == old else k: r for k, r in zoo.records.items()}
    answers = {id_ if k == old else k: a for k, a in audit.answers.items()}
    return replace(
        audit,
        zoo=replace(zoo, plan=plan, records=records),
        answers=answers,
        kit=replace(audit.kit, victim=id_),
    )


def accuse_everyone(_: Suspect) -> PaperDecision:
    return PaperDecision.PIRACY


def no_constant(name: str) -> None:
    raise AssertionError(f"{name} is not strict JSON")
