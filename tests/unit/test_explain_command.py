"""``zooaudit explain``: from a score's evidence to what is shown of it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.cases import Capture, kit_of, suspect
from tests.support.reports import no_constant
from zooaudit.cli.explain import lines
from zooaudit.cli.main import main
from zooaudit.reporting.explained import Explanation, Look, Placed
from zooaudit.verdict.decision import Asked, cannot_tell


def told(store: Path, evidence: str, capsys: Capture, *options: str) -> str:
    capsys.readouterr()
    assert main(["explain", evidence, "--store", str(store), *options]) == 0
    return capsys.readouterr().out


def test_a_scores_evidence_is_explained_as_it_was_judged(
    scored: dict[str, Any], case_store: Path, tmp_path: Path, capsys: Capture
) -> None:
    page = tmp_path / "pages" / "why.html"
    found = json.loads(
        told(case_store, scored["evidence"], capsys, "--json", "--out", str(page), "--questions", "3"),
        parse_constant=no_constant,
    )
    assert found["evidence"] == scored["evidence"] and found["kit"] == kit_of(case_store).id
    assert {k: found["verdict"][k] for k in ("decision", "p_value", "rank", "queries", "reason")} == {
        k: scored[k] for k in ("decision", "p_value", "rank", "queries", "reason")
    }
    assert sorted(c["statistic"] for c in found["candidates"]) == pytest.approx(sorted(scored["statistics"]))
    assert [c["victim"] for c in found["candidates"]].count(True) == 1
    assert len(found["questions"]) == 3 and found["looks"][-1]["queries"] == scored["queries"]
    html = page.read_text()
    assert html.count('<img class="asked"') == 3 and found["page"] == str(page)
    assert [p.name for p in page.parent.iterdir()] == ["why.html"]


def test_people_are_told_the_same(scored: dict[str, Any], case_store: Path, capsys: Capture) -> None:
    text = told(case_store, scored["evidence"][:12], capsys)
    assert f"{scored['decision']}: {scored['reason']}" in text
    assert len(re.findall(r"^  [* ] \S+ +-?\d+\.\d\d ", text, re.MULTILINE)) == len(scored["statistics"])
    assert len(re.findall(r"^  \* ", text, re.MULTILINE)) == 1
    assert len(re.findall(r"^  question \d+ \(", text, re.MULTILINE)) == 10
    by = "statistic:Comparison.of", "ranking:ranked", "decision:decide"
    assert f"decided by {', '.join(f'zooaudit.verdict.{name}' for name in by)}" in text


def test_a_verdict_at_a_lax_level_is_marked_as_weak_wherever_it_is_told(
    case_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    asked = [
        "score",
        "--store",
        str(case_store),
        "--kit",
        kit_of(case_store).id,
        "--level",
        "0.2",
        *suspect(case_store, tmp_path, "piracy"),
    ]
    said = "a model made without yours is called this in at most 1 of 5 cases"
    capsys.readouterr()
    assert main(asked) == 0
    text = capsys.readouterr().out
    assert text.startswith("stolen (weak evidence): ") and f"  level 0.2: {said}\n" in text
    assert main([*asked, "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)
    assert (scored["headline"], scored["frequency"], scored["weak"]) == ("stolen (weak evidence)", said, True)
    page, pack = tmp_path / "why.html", tmp_path / "case.zip"
    text = told(case_store, scored["evidence"], capsys, "--out", str(page))
    assert "\nstolen (weak evidence): " in text and said in text
    html = page.read_text()
    assert (
        html.count("stolen (weak evidence)") >= 3 and said in html and "<strong>stolen</strong>" not in html
    )
    assert (
        main(["evidence", "export", str(pack), "--evidence", scored["evidence"], "--store", str(case_store)])
        == 0
    )
    assert main(["evidence", "verify", str(pack)]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.split()[1:2] == ["verdict"]]
    assert "stolen (weak evidence): " in line and said in line


def test_what_cannot_be_explained_is_one_line(
    scored: dict[str, Any], case_store: Path, tmp_path: Path, capsys: Capture
) -> None:
    for arguments, code, expected in (
        (["zz"], 2, "evidence 'zz' in .*: none has an id that starts so; there are: "),
        ([scored["evidence"], "--questions", "0"], 2, "--questions 0; expected 1 or more"),
        ([scored["evidence"], "--out", str(tmp_path)], 3, "page .* cannot be written"),
    ):
        capsys.readouterr()
        assert main(["explain", *arguments, "--store", str(case_store)]) == code
        out, err = capsys.readouterr()
        assert out == "" and re.search(expected, err) and err.count("\n") == 1, err


def test_evidence_of_an_innocent_model(
    case_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    asked = ["--kit", kit_of(case_store).id, *suspect(case_store, tmp_path, "homologous"), "--json"]
    capsys.readouterr()
    assert main(["score", "--store", str(case_store), *asked]) == 0
    scored = json.loads(capsys.readouterr().out)
    text = told(case_store, scored["evidence"], capsys)
    assert "innocence: that theft is not shown does not rule it out" in text or scored["decision"] == "stolen"


# The terminal's lines


def explanation(statistics: list[float]) -> Explanation:
    verdict = cannot_tell("why not", len(statistics) - 1, 0.05, Asked("label", 10, 20))
    placed = tuple(Placed(f"model-{i}", t, i == 0) for i, t in enumerate(statistics))
    look = Look(10, statistics[0], "model-1", statistics[1])
    return Explanation(verdict, placed, (look,), True, (), ("a:b", "c:d"), ("this",))


def test_bars_start_at_nought_and_are_as_long_as_the_numbers() -> None:
    text = lines(explanation([4.0, 1.0, 0.0, -2.0]), "theirs", "kit", "mine")
    bars = [line for line in text if "model-" in line and "|" in line]
    drawn = [re.sub(r"^.*\d\.\d\d ", "", line) for line in bars]
    assert drawn == [f"{'':12}|{'#' * 24}", f"{'':12}|{'#' * 6}", f"{'':12}|", f"{'#' * 12}|"]
    assert [line.split()[0] for line in bars] == ["*", "model-1", "model-2", "model-3"]
    assert "  after 10 questions: victim 4.00, best twin 1.00 (model-1)" in text
    assert text[1] == "cannot tell: why not" and "  this" in text


def test_long_ids_do_not_push_the_bars_away() -> None:
    found = explanation([1.0, -1.0])
    long = Explanation(
        **(vars(found) | {"candidates": (Placed("x" * 200, 1.0, True), Placed("short", -1.0, False))})
    )
    bars = [line for line in lines(long, "theirs", "kit", "mine") if "|" in line]
    assert len({line.index("|") for line in bars}) == 1 and max(map(len, bars)) < 110
