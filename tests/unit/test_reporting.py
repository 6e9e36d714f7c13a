"""The report: what it must say, whatever the audit found, and what it must never do."""

import base64
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from tests.support.reports import (
    FACTS,
    Page,
    accuse_everyone,
    no_constant,
    with_twins,
    with_verdicts,
    without,
    words,
)
from zooaudit.auditing.results import Audit
from zooaudit.config import EncoderConfig
from zooaudit.errors import StoreError
from zooaudit.reporting import findings, pictures, projection
from zooaudit.reporting.facts import gather_facts
from zooaudit.reporting.report import render, write_report
from zooaudit.reporting.summary import detailed, summarise, to_json
from zooaudit.reporting.wording import DASH, duration, memory, number, p_value, percent, setting
from zooaudit.verdict import wording
from zooaudit.zoo.spec import Role

pytestmark = pytest.mark.usefixtures("placed_once")

# --- files
# ----------------------------------------------------------------------------------------------------


def test_four_whole_files_and_nothing_else(report_folder: Path) -> None:
    assert sorted(p.name for p in report_folder.iterdir()) == [
        "audit.json",
        "models.parquet",
        "report.html",
        "scores.parquet",
    ]
    assert (report_folder / "report.html").stat().st_size < 3_000_000


def test_failed_write_keeps_the_old_report_and_leaves_nothing_partial(
    audit: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "audit.json").write_text("old")
    monkeypatch.setattr(
        Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(StoreError, match=f"{re.escape(str(tmp_path))} cannot be written: No space left"):
        write_report(audit, "a-run", FACTS, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["audit.json"]
    assert (tmp_path / "audit.json").read_text() == "old"


def test_report_folder_that_is_a_file_is_an_error_of_ours(audit: Audit, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(StoreError, match="out cannot be written"):
        write_report(audit, "a-run", FACTS, tmp_path / "out")


# --- the numbers
# ----------------------------------------------------------------------------------------------------


TWIN_TEST = ("level", "twin_test", "finding", "called_stolen", "victim_itself")


def test_summary_is_exactly_what_was_promised(audit: Audit) -> None:
    summary = summarise(audit, "a-run", FACTS, "x/report.html")
    assert list(summary) == [
        "run",
        "kit",
        "seconds",
        "peak_rss_bytes",
        "models",
        "victim",
        "uap",
        "auc",
        *TWIN_TEST,
        "verdicts",
        "report",
    ]
    assert (summary["run"], summary["seconds"], summary["peak_rss_bytes"], summary["report"]) == (
        "a-run",
        12.346,
        3 * 2**29,
        "x/report.html",
    )
    assert summary["models"] == {
        "trained": 0,
        "reused": len(audit.zoo.plan.specs),
        "failed": len(audit.zoo.failed),
    }
    assert summary["victim"] == {"accuracy": audit.zoo.records[audit.zoo.plan.victim].accuracy}
    assert summary["uap"] == {"epsilon": 0.35, "norm": "linf", "fooling_rate": audit.uap.fooling_rate}
    keys = (
        "model role architecture optimiser attack modification way truth decision similarity p_value twins"
        " reference_models"
    )
    keys += " reference_above reason"
    assert {tuple(v) for v in summary["verdicts"]} == {tuple(keys.split())}
    truths = {(v["role"], v["truth"], v["attack"]) for v in summary["verdicts"]}
    expected = {
        ("piracy", "stolen", "cloudleak"),
        ("homologous", "innocent", None),
        ("look-alike", "innocent", "cloudleak"),
    }
    assert truths == expected


def test_verdicts_are_told_as_everywhere(audit: Audit) -> None:
    summary = summarise(audit, "a-run", FACTS, "x/report.html")
    test = audit.kit.twin_test
    assert [v["twins"] for v in summary["verdicts"]] == [
        wording.facts(s.examined.verdict) for s in audit.suspects
    ]
    assert summary["victim_itself"] == wording.facts(audit.itself.verdict)
    data = summary["twin_test"]
    assert (data["twins"], data["looks"], data["accuses_nobody"]) == (test.twins, list(test.looks), None)
    assert sum(data["references"].values()) == len(test.references)
    assert sum(data["questions"].values()) == test.budget
    few = summarise(with_twins(audit, 3), "a-run", FACTS, "x/report.html")
    assert few["twin_test"]["accuses_nobody"].startswith("3 twins allow no p under 0.25")
    assert {v["twins"]["decision"] for v in few["verdicts"]} == {"cannot tell"}
    json.loads(to_json(few), parse_constant=no_constant)


def test_counts_in_the_json_are_those_of_the_calls(report_folder: Path, audit: Audit) -> None:
    data = json.loads((report_folder / "audit.json").read_text(), parse_constant=no_constant)
    for role, (stolen, of) in data["called_stolen"].items():
        rows = [c for c in data["called"] if c["role"] == role]
        assert (sum(c["stolen"] for c in rows), sum(c["total"] for c in rows)) == (stolen, of)
        calls = [v["twins"]["decision"] for v in data["verdicts"] if v["role"] == role]
        assert (calls.count("stolen"), len(calls)) == (stolen, of)
    assert [c["check"] for c in data["checks"]][-1] == "resembles many models"
    assert data["log_alone"] == []


def test_json_is_strict_and_matches_the_tables(audit: Audit, report_folder: Path) -> None:
    data = json.loads((report_folder / "audit.json").read_text(), parse_constant=no_constant)
    scores = pq.read_table(report_folder / "scores.parquet").to_pylist()
    models = {r["id"]: r for r in pq.read_table(report_folder / "models.parquet").to_pylist()}
    assert data["report"] == str(report_folder / "report.html")
    assert len(scores) == len(audit.suspects) * audit.recipe.fingerprint.views

    views = {s.spec.id: [r["similarity"] for r in scores if r["model"] == s.spec.id] for s in audit.suspects}
    assert [v["model"] for v in data["verdicts"]] == [d["model"] for d in data["suspects"]] == list(views)
    for verdict, detail in zip(data["verdicts"], data["suspects"], strict=True):
        assert verdict["similarity"] == pytest.approx(np.mean(views[verdict["model"]]), abs=1e-6)
        assert verdict["role"] == models[verdict["model"]]["role"]
        assert detail["accuracy"] == models[detail["model"]]["accuracy"]
        assert detail["similarities"] == views[detail["model"]]
    for role, key in (("homologous", "homologous"), ("look-alike", "look_alike")):
        pair = [v for v in data["verdicts"] if v["role"] in ("piracy", role)]
        oracle = roc_auc_score([v["truth"] == "stolen" for v in pair], [v["similarity"] for v in pair])
        assert data["auc"][key] == pytest.approx(oracle)


def test_models_table_has_every_model_with_its_history(audit: Audit, report_folder: Path) -> None:
    rows = {r["id"]: r for r in pq.read_table(report_folder / "models.parquet").to_pylist()}
    assert list(rows) == [s.id for s in audit.zoo.plan.specs]
    for spec in audit.zoo.plan.specs:
        row, record = rows[spec.id], audit.zoo.records[spec.id]
        assert (row["parent"], row["attack"]) == (
            spec.parent,
            spec.extraction.attack if spec.extraction else None,
        )
        assert (row["status"], row["recovery_rate"], row["queries"]) == (
            record.status,
            record.recovery_rate,
            record.queries,
        )


def test_numbers_that_json_cannot_say_become_null(audit: Audit) -> None:
    summary = summarise(with_verdicts(audit, accuse_everyone, p_value=math.nan), "r", FACTS, "")
    data = json.loads(to_json(summary), parse_constant=no_constant)
    assert {v["p_value"] for v in data["verdicts"]} == {None}
    assert {v["decision"] for v in data["verdicts"]} == {"piracy"}
    with pytest.raises(ValueError, match="JSON"):
        to_json({"x": math.nan})


# --- pictures
# ----------------------------------------------------------------------------------------------------


def decode(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,"))))


def test_examples_are_changed_datapoints_of_different_classes(audit: Audit) -> None:
    shown = pictures.examples(audit.kit, audit.dataset.classes, most=5)
    assert len({e.before.label for e in shown}) == len(shown) == 5
    assert all(e.before.label != e.after.label for e in shown)
    first = shown[0]
    rows = audit.kit.victim_answers.flatten(0, 1)
    row = next(
        i
        for i, a in enumerate(rows)
        if a[0].argmax() == int(first.before.label) and a[1].argmax() != a[0].argmax()
    )
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


def test_the_papers_own_encoder_is_reported_beside(audit: Audit, report_html: str) -> None:
    assert audit.recipe.encoder.name == "hellinger" and audit.by_paper is not None
    found = detailed(audit, "a-run", FACTS, "x/report.html")
    assert found["encoder"] == "hellinger"
    paper = audit.by_paper
    assert paper.kit.encoder_config == EncoderConfig("paper")
    assert [s.spec for s in paper.suspects] == [s.spec for s in audit.suspects]
    assert found["paper"]["auc"] == {
        "homologous": paper.auc(Role.HOMOLOGOUS),
        "look_alike": paper.auc(Role.LOOK_ALIKE),
    }
    assert found["paper"]["called_piracy"] == {
        str(r): [paper.accused(r), len(paper.scores(r))]
        for r in (Role.PIRACY, Role.HOMOLOGOUS, Role.LOOK_ALIKE)
    }
    alone = detailed(replace(audit, by_paper=None), "a-run", FACTS, "x/report.html")
    assert alone["paper"] is None
    assert "own encoder" in report_html
    assert "own encoder" not in render(replace(audit, by_paper=None), "a-run", FACTS)
