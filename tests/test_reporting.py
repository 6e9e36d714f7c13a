"""The report: what it must say, whatever the audit found, and what it must never do."""

import base64
import io
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from zooaudit.data.resolve import load_digits
from zooaudit.errors import StoreError
from zooaudit.farm import SerialFarm
from zooaudit.pipeline import Audit, Suspect, run_audit
from zooaudit.recipes import get_recipe
from zooaudit.reporting import findings, pictures, projection
from zooaudit.reporting.facts import gather_facts
from zooaudit.reporting.report import render, write_report
from zooaudit.reporting.summary import RunFacts, summarise, to_json
from zooaudit.reporting.wording import DASH, duration, memory, number, p_value, percent, setting
from zooaudit.storage.artifacts import open_store
from zooaudit.verdict.paper import Decision
from zooaudit.zoo.build import Status
from zooaudit.zoo.spec import Role

FACTS = RunFacts(12.34567, 3 * 2**29, {"Python": "3.11"}, "2 cores", "zooaudit audit digits", "2026-01-02T03:04:05Z")
HOSTILE = '<script>alert("$x$")</script>'


class Page(HTMLParser):
    """Tags with attributes, text, and the verdict table as rows of cells."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.verdicts: list[list[str]] = []
        self._table = False
        self._code = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._code = tag in ("script", "style")
        self._table = self._table or (tag == "table" and dict(attrs).get("id") == "verdicts")
        if self._table and tag == "tr":
            self.verdicts.append([])
        if self._table and tag in ("td", "th"):
            self.verdicts[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._table = self._table and tag != "table"
        self._code = False

    def handle_data(self, data: str) -> None:
        if not self._code:
            self.text += data
        if self._table and self.verdicts and self.verdicts[-1]:
            self.verdicts[-1][-1] += data.rstrip("\n")

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attrs for tag, attrs in self.tags if tag == name]


@pytest.fixture(scope="session")
def audit() -> Audit:
    return run_audit(get_recipe("digits"), load_digits(), open_store("memory:"), SerialFarm(), lambda _: None)


@pytest.fixture(scope="session")
def folder(audit: Audit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A written report."""
    out = tmp_path_factory.mktemp("reports") / "made" / "on-demand"
    assert write_report(audit, "a-run", FACTS, out) == out / "report.html"
    return out


@pytest.fixture(scope="session")
def html(folder: Path) -> str:
    return (folder / "report.html").read_text()


@pytest.fixture(scope="session")
def page(html: str) -> Page:
    return Page(html)


def words(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def with_verdicts(audit: Audit, decide: Callable[[Suspect], Decision], **changes: Any) -> Audit:
    """The same audit with other decisions."""
    return replace(audit, suspects=[replace(s, verdict=replace(s.verdict, decision=decide(s), **changes)) for s in audit.suspects])


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
    return replace(audit, zoo=replace(zoo, plan=plan, records=records), answers=answers, kit=replace(audit.kit, victim=id_))


def accuse_everyone(_: Suspect) -> Decision:
    return Decision.PIRACY


def no_constant(name: str) -> None:
    raise AssertionError(f"{name} is not strict JSON")


# --- files ---------------------------------------------------------------------------------------------------------------------


def test_four_whole_files_and_nothing_else(folder: Path) -> None:
    assert sorted(p.name for p in folder.iterdir()) == ["audit.json", "models.parquet", "report.html", "scores.parquet"]
    assert (folder / "report.html").stat().st_size < 3_000_000


def test_failed_write_keeps_the_old_report_and_leaves_nothing_partial(
    audit: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "audit.json").write_text("old")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StoreError, match=f"{re.escape(str(tmp_path))} cannot be written: No space left"):
        write_report(audit, "a-run", FACTS, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["audit.json"]
    assert (tmp_path / "audit.json").read_text() == "old"


def test_report_folder_that_is_a_file_is_an_error_of_ours(audit: Audit, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(StoreError, match="out cannot be written"):
        write_report(audit, "a-run", FACTS, tmp_path / "out")


# --- the numbers ---------------------------------------------------------------------------------------------------------------


def test_summary_is_exactly_what_was_promised(audit: Audit) -> None:
    summary = summarise(audit, "a-run", FACTS, "x/report.html")
    assert list(summary) == ["run", "seconds", "peak_rss_bytes", "models", "victim", "uap", "auc", "verdicts", "report"]
    assert (summary["run"], summary["seconds"], summary["peak_rss_bytes"], summary["report"]) == (
        "a-run",
        12.346,
        3 * 2**29,
        "x/report.html",
    )
    assert summary["models"] == {"trained": len(audit.zoo.plan.specs), "reused": 0, "failed": len(audit.zoo.failed)}
    assert summary["victim"] == {"accuracy": audit.zoo.records[audit.zoo.plan.victim].accuracy}
    assert summary["uap"] == {"epsilon": 0.35, "norm": "linf", "fooling_rate": audit.uap.fooling_rate}
    keys = "model role architecture optimiser attack truth decision similarity p_value reference_models reference_above reason"
    assert {tuple(v) for v in summary["verdicts"]} == {tuple(keys.split())}
    truths = {(v["role"], v["truth"], v["attack"]) for v in summary["verdicts"]}
    expected = {("piracy", "stolen", "cloudleak"), ("homologous", "innocent", None), ("look-alike", "innocent", "cloudleak")}
    assert truths == expected


def test_json_is_strict_and_matches_the_tables(audit: Audit, folder: Path) -> None:
    told = json.loads((folder / "audit.json").read_text(), parse_constant=no_constant)
    scores = pq.read_table(folder / "scores.parquet").to_pylist()
    models = {r["id"]: r for r in pq.read_table(folder / "models.parquet").to_pylist()}
    assert told["report"] == str(folder / "report.html")
    assert len(scores) == len(audit.suspects) * audit.recipe.fingerprint.views

    views = {s.spec.id: [r["similarity"] for r in scores if r["model"] == s.spec.id] for s in audit.suspects}
    assert [v["model"] for v in told["verdicts"]] == [d["model"] for d in told["suspects"]] == list(views)
    for verdict, detail in zip(told["verdicts"], told["suspects"], strict=True):
        assert verdict["similarity"] == pytest.approx(np.mean(views[verdict["model"]]), abs=1e-6)
        assert verdict["role"] == models[verdict["model"]]["role"]
        assert detail["accuracy"] == models[detail["model"]]["accuracy"]
        assert detail["similarities"] == views[detail["model"]]
    for role, key in (("homologous", "homologous"), ("look-alike", "look_alike")):
        pair = [v for v in told["verdicts"] if v["role"] in ("piracy", role)]
        oracle = roc_auc_score([v["truth"] == "stolen" for v in pair], [v["similarity"] for v in pair])
        assert told["auc"][key] == pytest.approx(oracle)


def test_models_table_has_every_model_with_its_history(audit: Audit, folder: Path) -> None:
    rows = {r["id"]: r for r in pq.read_table(folder / "models.parquet").to_pylist()}
    assert list(rows) == [s.id for s in audit.zoo.plan.specs]
    for spec in audit.zoo.plan.specs:
        row, record = rows[spec.id], audit.zoo.records[spec.id]
        assert (row["parent"], row["attack"]) == (spec.parent, spec.extraction.attack if spec.extraction else None)
        assert (row["status"], row["recovery_rate"], row["queries"]) == (record.status, record.recovery_rate, record.queries)


def test_numbers_that_json_cannot_say_become_null(audit: Audit) -> None:
    summary = summarise(with_verdicts(audit, accuse_everyone, p_value=math.nan), "r", FACTS, "")
    told = json.loads(to_json(summary), parse_constant=no_constant)
    assert {v["p_value"] for v in told["verdicts"]} == {None}
    assert {v["decision"] for v in told["verdicts"]} == {"piracy"}
    with pytest.raises(ValueError, match="JSON"):
        to_json({"x": math.nan})


# --- the page says what must be said -------------------------------------------------------------------------------------------


def test_every_suspect_has_its_verdict_in_the_table(audit: Audit, page: Page) -> None:
    header, *rows = page.verdicts
    assert header[1:4] == ["Suspect", "Truth", "Decision"]
    assert len(rows) == len(audit.suspects)
    for suspect in audit.suspects:
        (row,) = [r for r in rows if suspect.spec.id in r[1]]
        verdict = suspect.verdict
        assert ("stolen" if suspect.spec.role.stolen else "innocent") in row[2]
        assert row[3] == verdict.decision
        assert row[4] == f"{verdict.similarity:.4f}"
        assert words(row[6]).startswith(f"{verdict.reference_above} of {verdict.reference_models} score as high; no claim below")
        assert f"{(verdict.reference_above + 1) / (verdict.reference_models + 1):.2f}" in row[6]


def test_wrong_verdicts_come_first_and_are_marked(audit: Audit) -> None:
    mixed = with_verdicts(audit, lambda s: Decision.PIRACY if s.spec.role is not Role.PIRACY else Decision.INCONCLUSIVE)
    first = mixed.suspects[-1]
    mixed = replace(mixed, suspects=[replace(first, verdict=replace(first.verdict, decision=Decision.INCONCLUSIVE)), *mixed.suspects[:-1]])
    rows = findings.verdict_rows(mixed)
    assert [r.outcome.wrong for r in rows] == [True] * (len(rows) - 1) + [False]
    assert [r.suspect.spec.role for r in rows[:2]] == [Role.LOOK_ALIKE, Role.HOMOLOGOUS]  # the worst mistakes before the missed ones
    shown = Page(render(mixed, "r", FACTS)).all("tr")
    assert sum(a.get("class") == "wrong" and "data-role" in a for a in shown) == len(rows) - 1


def test_accused_look_alikes_are_counted_out_loud(audit: Audit) -> None:
    total = len(audit.scores(Role.LOOK_ALIKE))
    text = words(Page(render(with_verdicts(audit, accuse_everyone, p_value=1e-9), "r", FACTS)).text)
    assert "Do not accuse anyone on this result alone" in text
    assert f"It accused {total} of {total} look-alikes" in text
    assert f"an AUC of {audit.auc(Role.LOOK_ALIKE):.3f}" in text
    innocent = total + len(audit.scores(Role.HOMOLOGOUS))
    assert f"Of the {len(audit.suspects)} models that it accused, {innocent} were innocent" in text
    assert "The smallest p here is 1e-09, and it belongs to an innocent model" in text


def test_sparing_the_look_alikes_does_not_clear_the_method(audit: Audit) -> None:
    text = words(Page(render(with_verdicts(audit, lambda _: Decision.INCONCLUSIVE), "r", FACTS)).text)
    assert "It accused none of 2 look-alikes" in text
    assert "may still be as high as 84 %" in text  # 1 - 0.025 ** (1 / 2)
    assert "It accused nobody" in text
    assert "must not be used to accuse" in text


def test_without_look_alikes_the_page_says_what_it_cannot_say(audit: Audit) -> None:
    bare = without(audit, Role.LOOK_ALIKE)
    assert summarise(bare, "r", FACTS, "")["auc"]["look_alike"] is None
    text = words(Page(render(bare, "r", FACTS)).text)
    assert "This run cannot say how often it accuses the wrong person's copy" in text
    assert "none tested" in text


def test_without_piracy_suspects_there_is_no_curve(audit: Audit) -> None:
    assert "Not available: no piracy suspect learnt" in words(Page(render(without(audit, Role.PIRACY), "r", FACTS)).text)


def test_a_failed_model_is_listed_with_its_reason_and_left_out(audit: Audit, tmp_path: Path) -> None:
    id_ = audit.zoo.plan.of(Role.PIRACY)[-1].id
    failed = with_failure(audit, id_, "recovery rate 0.123 is under the floor <0.7>")
    shown = Page(write_report(failed, "r", FACTS, tmp_path).read_text())
    text = words(shown.text)
    assert f"1 of {len(audit.zoo.plan.specs)} models did not learn their task and are in no statistic above: 1 piracy" in text
    assert "recovery rate 0.123 is under the floor <0.7>" in text
    assert id_ in text
    assert all(id_ not in row[1] for row in shown.verdicts)
    told = json.loads((tmp_path / "audit.json").read_text())
    assert told["models"]["failed"] == 1
    assert [f["model"] for f in told["failed"]] == [id_]
    (row,) = [r for r in pq.read_table(tmp_path / "models.parquet").to_pylist() if r["id"] == id_]
    assert (row["status"], row["reason"]) == ("failed", "recovery rate 0.123 is under the floor <0.7>")


def test_the_users_own_victim_has_a_row(audit: Audit, tmp_path: Path) -> None:
    own = with_own_victim(audit, "victim-own-0123456789abcdef")
    text = write_report(own, "r", FACTS, tmp_path).read_text()
    assert "victim-own-0123456789abcdef" in text
    (row,) = [r for r in pq.read_table(tmp_path / "models.parquet").to_pylist() if r["role"] == "victim"]
    assert row["id"] == "victim-own-0123456789abcdef"
    assert row["architecture"] is None
    assert row["accuracy"] == audit.zoo.records[audit.zoo.plan.victim].accuracy
    assert findings.accuracy_rows(own)[0].architecture == "own"


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
    (row,) = [r for r in findings.accuracy_rows(with_failure(audit, id_, "no")) if (r.architecture, r.role) == ("C", Role.PIRACY)]
    assert row.models == len(specs)
    assert row.mean == pytest.approx(sum(audit.zoo.records[s.id].accuracy for s in specs) / len(specs))


def test_settings_and_digests_are_all_there(audit: Audit, page: Page) -> None:
    text = words(page.text)
    for expected in (audit.dataset.digest, audit.recipe.digest, audit.zoo.plan.victim, audit.kit_id, FACTS.command, FACTS.hardware):
        assert expected in text
    names = [f"{section}.{name}" for section, values in findings.settings(audit.recipe) for name, _ in values]
    assert len(names) == len(set(names))
    assert {"recipe.seed", "zoo.extraction.seed_size", "uap.epsilon", "verdict.level"} <= set(names)


# --- the page as a file --------------------------------------------------------------------------------------------------------


def test_page_asks_the_network_for_nothing(html: str, page: Page) -> None:
    assert not re.search(r"https?:|url\(|@import|\bsrcset\b", html)
    assert all((a["src"] or "").startswith("data:image/") for a in page.all("img"))
    assert all((a["href"] or "").startswith("#") for a in page.all("a"))
    assert not page.all("link")
    assert all("src" not in a for a in page.all("script"))
    (policy,) = [a["content"] or "" for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")


def test_page_is_accessible(page: Page) -> None:
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert all((a["href"] or "")[1:] in ids for a in page.all("a"))
    assert all(a["aria-labelledby"] in ids for _, a in page.tags if "aria-labelledby" in a)
    assert len(page.all("img")) > 8
    assert all(a.get("alt") for a in page.all("img"))
    assert all(a.get("scope") in ("col", "row", "rowgroup") for a in page.all("th"))


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


def test_page_is_the_same_each_time(audit: Audit, html: str) -> None:
    assert render(audit, "a-run", FACTS) == html


# --- pictures ------------------------------------------------------------------------------------------------------------------


def decode(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,"))))


def test_examples_are_changed_datapoints_of_different_classes(audit: Audit) -> None:
    shown = pictures.examples(audit.kit, audit.dataset.classes, most=5)
    assert len({e.before.label for e in shown}) == len(shown) == 5
    assert all(e.before.label != e.after.label for e in shown)
    first = shown[0]
    rows = audit.kit.victim_answers.flatten(0, 1)
    row = next(i for i, a in enumerate(rows) if a[0].argmax() == int(first.before.label) and a[1].argmax() != a[0].argmax())
    assert first.after.confidence == pytest.approx(float(rows[row, 1].max()))
    assert np.array_equal(np.asarray(decode(first.clean)), audit.kit.points.flatten(0, 1)[row, 0].numpy())


def test_colour_images_stay_in_colour(audit: Audit) -> None:
    kit = replace(audit.kit, points=audit.kit.points.repeat(1, 1, 3, 1, 1), v=audit.kit.v.repeat(3, 1, 1))
    assert decode(pictures.examples(kit, audit.dataset.classes)[0].perturbed).mode == "RGB"
    assert decode(pictures.uap_picture(kit.v)).mode == "RGB"
    assert decode(pictures.uap_picture(audit.kit.v)).mode == "L"


def test_effect_counts_changed_labels(audit: Audit) -> None:
    before, after = audit.kit.victim_answers.argmax(-1).flatten(0, 1).unbind(1)
    effect = pictures.effect(audit.kit, audit.dataset.classes)
    assert effect.changed == pytest.approx(float((before != after).float().mean()))
    kit = replace(audit.kit, victim_answers=audit.kit.victim_answers[:, :, :1].repeat(1, 1, 2, 1))
    assert pictures.effect(kit, audit.dataset.classes) == pictures.Effect(0.0, None, 0.0)
    assert pictures.examples(kit, audit.dataset.classes) == []
    assert "so there is no example to show" in words(Page(render(replace(audit, kit=kit), "r", FACTS)).text)


def test_large_zoos_are_mapped_with_fewer_views(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    assert projection.views_drawn(audit) == audit.recipe.fingerprint.views
    monkeypatch.setattr(projection, "MOST_ROWS", 3 * (1 + len(audit.suspects)))
    assert projection.views_drawn(audit) == 3


def test_facts_of_this_machine() -> None:
    facts = gather_facts(1.5, 10, ["audit", "digits", "--data", "my data"])
    assert (facts.seconds, facts.peak_rss_bytes) == (1.5, 10)
    assert facts.command == "zooaudit audit digits --data 'my data'"
    assert facts.versions["torch"].startswith("2.")
    assert "cores" in facts.hardware
    assert facts.finished.endswith("+00:00")


def test_an_interval_of_nobody_says_nothing(audit: Audit) -> None:
    nobody = findings.family(without(audit, Role.LOOK_ALIKE), Role.LOOK_ALIKE)
    assert (nobody.total, nobody.low, nobody.high) == (0, 0.0, 1.0)
    all_of_two = findings.family(with_verdicts(audit, accuse_everyone), Role.LOOK_ALIKE)
    assert all_of_two.low == pytest.approx(0.025 ** (1 / 2))
    assert all_of_two.high == 1.0


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (percent(0.5), "50.0\N{NO-BREAK SPACE}%"),
        (percent(None), DASH),
        (number(math.nan), DASH),
        (p_value(0.0), "< 1e-300"),
        (p_value(0.0481), "0.048"),
        (duration(4.25), "4.2 s"),
        (duration(185), "3 min 5 s"),
        (duration(7800), "2 h 10 min"),
        (memory(3 * 2**29), "1.50 GiB"),
        (setting((("A", 6), ("C", 10))), "A: 6, C: 10"),
        (setting(()), DASH),
        (setting(0.35), "0.35"),
    ],
)
def test_numbers_in_words(said: str, expected: str) -> None:
    assert said == expected
