"""``zooaudit score`` on suspects behind an API and on answers that came back, against a
finished audit's kit."""

import json
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.support.cases import Capture, kit_of, score_of
from tests.support.strangers import Stranger, read_png
from zooaudit.cli.main import main
from zooaudit.kits.kit import Kit
from zooaudit.suspects.blackbox import TorchBlackBox


def test_a_stolen_model_behind_an_api(
    case_store: Path, case_thief: Stranger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    url = case_thief.url + "/v2/models/m/infer"
    code, output, _ = score_of(capsys, case_store, "--suspect", url)
    assert (
        code == 0
        and output["decision"] == "stolen"
        and output["charged"] == output["queries"] == case_thief.computed
        and output["lost"] == 0
    )
    assert Path(output["ledger"]).is_file() and Path(output["ledger"]).parent == Path("ledgers")
    before = case_thief.computed
    code, again, _ = score_of(capsys, case_store, "--suspect", url)
    assert code == 0 and again["p_value"] == output["p_value"] and case_thief.computed == before, (
        "a second audit pays nothing"
    )
    assert main(["score", "--store", str(case_store), "--kit", kit_of(case_store).id, "--suspect", url]) == 0
    assert (
        f"charged {before} queries in all runs, 0 of them lost on the way; ledger ledgers/"
        in capsys.readouterr().out
    )


def test_a_suspect_that_lies_about_its_order_of_classes(
    case_store: Path,
    case_kit: Kit,
    case_thief: Stranger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    monkeypatch.chdir(tmp_path)
    case_thief.order = tuple(reversed(range(case_kit.num_classes)))
    code, output, _ = score_of(capsys, case_store, "--suspect", case_thief.url + "/v2/models/m/infer")
    assert (
        code == 0
        and output["decision"] == "cannot tell"
        and output["charged"] == case_kit.twin_test.control_questions
    ), "noticed before it costs"
    assert (
        output["hint"].endswith(f"columns = {list(case_thief.order)}") and output["hint"] in output["reason"]
    )
    code, output, _ = score_of(
        capsys, case_store, "--suspect", case_thief.url + "/v2/models/m/infer", "--ask-everything"
    )
    assert (
        code == 0
        and output["decision"] == "not shown"
        and output["queries"] == output["charged"] == case_kit.twin_test.budget
    )
    (tmp_path / "theirs.toml").write_text(
        f'url = "{case_thief.url}/v2/models/m/infer"\ncolumns = {list(case_thief.order)}\n'
    )
    code, output, _ = score_of(capsys, case_store, "--suspect", "theirs.toml")
    assert code == 0 and output["decision"] == "stolen" and "hint" not in output


def test_a_budget_too_small_is_said_and_nothing_is_lost(
    case_store: Path, case_thief: Stranger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    url = case_thief.url + "/v2/models/m/infer"
    code, output, err = score_of(capsys, case_store, "--suspect", url, "--budget", "30")
    assert code == 7 and not output and "the budget is 30 queries" in err and case_thief.computed <= 30
    paid = set(case_thief.answered)
    code, output, _ = score_of(capsys, case_store, "--suspect", url)
    assert code == 0 and output["decision"] == "stolen" and all(case_thief.answered[i] == 1 for i in paid)


def asked_of(path: Path, kit: Kit) -> torch.Tensor:
    """The images of a file of questions, as whoever was sent it sees them."""
    if path.suffix == ".parquet":
        return torch.tensor(pq.read_table(path)["image"].to_pylist()).view(-1, *kit.image_shape)
    with zipfile.ZipFile(path) as archive:
        names = sorted(n for n in archive.namelist() if n.endswith(".png"))
        return torch.cat([read_png(archive.read(n)) for n in names])


@pytest.mark.parametrize("format_", ["parquet", "zip"])
def test_answers_that_came_back_give_the_same_verdict(
    format_: str,
    case_store: Path,
    case_kit: Kit,
    case_thief: Stranger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    monkeypatch.chdir(tmp_path)
    id_, questions = kit_of(case_store).id, tmp_path / f"q.{format_}"
    assert (
        main(["kit", "queries", "--store", str(case_store), "--kit", id_, "--out", str(questions), "--json"])
        == 0
    )
    assert json.loads(capsys.readouterr().out)["queries"] == case_kit.twin_test.budget and questions.is_file()
    answers = TorchBlackBox(case_thief.model, case_kit.num_classes).ask(asked_of(questions, case_kit))
    pq.write_table(
        pa.table(
            {"query": range(len(answers)), "probabilities": answers.tolist(), "kit": [id_] * len(answers)}
        ),
        "a.parquet",
    )
    code, output, _ = score_of(capsys, case_store, "--answers", "a.parquet")
    expected = case_kit.twin_test.examine(TorchBlackBox(case_thief.model, case_kit.num_classes), early=False)
    assert (
        code == 0
        and output["p_value"] == expected.verdict.p_value
        and output["decision"] == "stolen"
        and output["queries"] == case_kit.twin_test.budget
    )


def test_answers_to_some_views_of_the_papers_test(
    case_store: Path,
    case_kit: Kit,
    case_thief: Stranger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    monkeypatch.chdir(tmp_path)
    views, id_ = case_kit.verdict.fingerprints, kit_of(case_store).id
    options = ["kit", "queries", "--store", str(case_store), "--kit", id_, "--views", str(views)]
    assert main([*options, "--out", "q.parquet"]) == 0
    table = pq.read_table("q.parquet")
    images = torch.tensor(table["image"].to_pylist()).view(-1, *case_kit.image_shape)
    assert torch.equal(images, case_kit.questions(views).flatten(0, 2))
    answers = TorchBlackBox(case_thief.model, case_kit.num_classes).ask(images)
    pq.write_table(pa.table({"query": range(len(answers)), "probabilities": answers.tolist()}), "a.parquet")
    code, output, _ = score_of(capsys, case_store, "--answers", "a.parquet", "--method", "paper")
    expected = case_kit.score_answers("a.parquet", case_kit.shaped(answers))[1]
    assert (
        code == 0
        and output["paper"]["p_value"] == expected.p_value
        and output["paper"]["queries"] == len(answers)
    )
    assert main([*options[:-1], "1", "--out", "none.parquet"]) == 2
    assert "which the paper's test draws" in capsys.readouterr().err


def test_what_score_needs_is_said(case_store: Path, capsys: Capture) -> None:
    for options, says in (
        ([], "whom do you suspect?"),
        (["--answers", "a.csv", "--method", "both"], "answers are to one method's questions"),
        (["--suspect", "http://127.0.0.1:9/ask"], "does not show its protocol"),
        (["--suspect", "gone.toml"], "gone.toml cannot be read"),
        (["--suspect", "a", "a"], "named twice"),
        (
            ["--suspect", "a", "--suspect-classes", "1"],
            "expected the suspect's number of classes, at least 2",
        ),
        (
            ["--suspect", "a", "--suspect-classes", "11", "--method", "both"],
            "the paper's test compares class by class",
        ),
        (["--suspect", "a", "b", "--level", "0.7"], "share of innocent models"),
        (["--suspect", "a", "b", "--queries", "60"], "60 questions; expected one of 50, 100"),
        (["--suspect", "a", "b", "--access", "top"], "access 'top' is unknown"),
    ):
        code, _, err = score_of(capsys, case_store, *options)
        assert code == 2 and says in err
    assert main(["kit", "queries", "--store", str(case_store)]) == 2
    assert "which kit do you want the questions of?" in capsys.readouterr().err

    # Which decision is no matter: at level .05 one untrained net in twenty is called stolen.
