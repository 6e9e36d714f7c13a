"""``zooaudit score`` on suspects behind an API and on answers that came back, against a
finished audit's kit."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.cases import FACTORY, Capture, copied, kit_of, stolen, suspect
from tests.support.strangers import Stranger, read_png
from zooaudit.cli.main import main
from zooaudit.kits.kit import Kit
from zooaudit.storage.opening import open_store
from zooaudit.suspects.blackbox import TorchBlackBox


def scored(capsys: Capture, store: Path, *options: str) -> tuple[int, dict[str, Any], str]:
    capsys.readouterr()
    code = main(["score", "--store", str(store), "--kit", kit_of(store).id, "--json", *options])
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else {}, err


def test_a_stolen_model_behind_an_api(
    case_store: Path, case_thief: Stranger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    url = case_thief.url + "/v2/models/m/infer"
    code, output, _ = scored(capsys, case_store, "--suspect", url)
    assert (
        code == 0
        and output["decision"] == "stolen"
        and output["charged"] == output["queries"] == case_thief.computed
        and output["lost"] == 0
    )
    assert Path(output["ledger"]).is_file() and Path(output["ledger"]).parent == Path("ledgers")
    before = case_thief.computed
    code, again, _ = scored(capsys, case_store, "--suspect", url)
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
    code, output, _ = scored(capsys, case_store, "--suspect", case_thief.url + "/v2/models/m/infer")
    assert (
        code == 0
        and output["decision"] == "cannot tell"
        and output["charged"] == case_kit.twin_test.control_questions
    ), "noticed before it costs"
    assert (
        output["hint"].endswith(f"columns = {list(case_thief.order)}") and output["hint"] in output["reason"]
    )
    code, output, _ = scored(
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
    code, output, _ = scored(capsys, case_store, "--suspect", "theirs.toml")
    assert code == 0 and output["decision"] == "stolen" and "hint" not in output


def test_a_budget_too_small_is_said_and_nothing_is_lost(
    case_store: Path, case_thief: Stranger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    url = case_thief.url + "/v2/models/m/infer"
    code, output, err = scored(capsys, case_store, "--suspect", url, "--budget", "30")
    assert code == 7 and not output and "the budget is 30 queries" in err and case_thief.computed <= 30
    paid = set(case_thief.answered)
    code, output, _ = scored(capsys, case_store, "--suspect", url)
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
    code, output, _ = scored(capsys, case_store, "--answers", "a.parquet")
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
    code, output, _ = scored(capsys, case_store, "--answers", "a.parquet", "--method", "paper")
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
            "expected how many classes the suspect has, 2 at least",
        ),
        (
            ["--suspect", "a", "--suspect-classes", "11", "--method", "both"],
            "the paper's test compares class by class",
        ),
        (["--suspect", "a", "b", "--level", "0.7"], "share of innocent models"),
        (["--suspect", "a", "b", "--queries", "60"], "60 questions; expected one of 50, 100"),
        (["--suspect", "a", "b", "--access", "top"], "access 'top' is unknown"),
    ):
        code, _, err = scored(capsys, case_store, *options)
        assert code == 2 and says in err
    assert main(["kit", "queries", "--store", str(case_store)]) == 2
    assert "which kit do you want the questions of?" in capsys.readouterr().err


def test_a_level_that_the_twins_do_not_allow_is_no_accusation(
    case_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    code, output, _ = scored(capsys, case_store, *stolen(case_store, tmp_path), "--level", "0.01")
    assert code == 0 and output["decision"] == "cannot tell" and output["p_value"] is None
    assert output["queries"] == 0 and output["evidence"] is None, (
        "there is no use in asking, and it may cost money"
    )
    assert (
        "19 twins allow no p under 0.05; level 0.01 needs 99" in output["reason"]
        and "--p-value normal" in output["reason"]
    )
    code, output, _ = scored(capsys, case_store, *stolen(case_store, tmp_path), "--p-value", "normal")
    assert code == 0 and output["by"] == "normal" and output["queries"] == output["budget"], (
        "a claim by normality takes all questions"
    )
    assert output["decision"] == "cannot tell" or output["p_value"] >= output["normal"]["p_value"]
    kept = open_store(str(case_store)).load("evidence", output["evidence"])
    assert kept.meta["p_value"] == "normal"


def test_a_horizon_is_kept_to(
    case_store: Path, case_kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    options = [*suspect(case_store, tmp_path, "homologous"), "--queries", "50", "--ask-everything"]
    code, output, _ = scored(capsys, case_store, *options)
    assert code == 0 and output["queries"] == output["budget"] == 50
    assert open_store(str(case_store)).load("evidence", output["evidence"]).meta["horizon"] == 50
    answers = TorchBlackBox(copied(case_store), case_kit.num_classes).ask(case_kit.twin_test.questions())
    pq.write_table(
        pa.table({"query": range(len(answers)), "probabilities": answers.tolist()}), tmp_path / "a.parquet"
    )
    code, output, _ = scored(capsys, case_store, "--answers", str(tmp_path / "a.parquet"), "--queries", "50")
    assert code == 0 and output["queries"] == 50, "answers to later questions are not looked at"


def test_one_broken_suspect_ends_no_batch(
    case_store: Path,
    case_kit: Kit,
    case_thief: Stranger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    """NaN weights, no such file, an API that is gone, answers that are none: each in its
    place, and the good ones are judged."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    _, good, *factory = stolen(case_store, tmp_path)
    weights = load_file(good)
    next(iter(weights.values())).view(-1)[0] = float("nan")
    save_file(weights, "nan.safetensors")
    (tmp_path / "a.csv").write_text("query,probabilities\n0,[0.5]\n")
    gone = "http://127.0.0.1:9/v2/models/m/infer"
    (tmp_path / "gone.toml").write_text(f'url = "{gone}"\nretries = 0\n')
    api = case_thief.url + "/v2/models/m/infer"
    code, output, err = scored(
        capsys,
        case_store,
        "--suspect",
        "nan.safetensors",
        good,
        "missing.onnx",
        "gone.toml",
        api,
        "--answers",
        "a.csv",
        *factory,
        "--correction",
        "none",
    )
    assert code == 2 and "nan.safetensors: " in err
    calls = {s["suspect"]: s for s in output["suspects"]}
    assert list(calls) == ["nan.safetensors", good, "missing.onnx", "gone.toml", api, "a.csv"]
    for name, says in (
        ("nan.safetensors", "holds NaN or infinite values"),
        ("missing.onnx", "does not exist"),
        ("gone.toml", "cannot be reached"),
        ("a.csv", "1 numbers for image 0"),
    ):
        assert (
            calls[name]["decision"] == "cannot tell"
            and says in calls[name]["reason"]
            and calls[name]["error"] in calls[name]["reason"]
        )
        assert calls[name]["p_value"] is None and calls[name]["evidence"] is None
    for name in (good, api):
        assert calls[name]["decision"] == "stolen" and calls[name]["evidence"]
    assert calls[api]["charged"] == case_kit.twin_test.budget and calls["gone.toml"]["charged"] == 0
    kept = open_store(str(case_store)).load("evidence", calls[good]["evidence"]).meta["together"]
    assert kept["p_values"] == [None, 0.05, None, None, 0.05, None] and kept["index"] == 1


def test_a_broken_suspect_counts_as_asked_and_an_api_that_failed_is_code_7(
    case_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "gone.toml").write_text('url = "http://127.0.0.1:9/v2/models/m/infer"\nretries = 0\n')
    options = [*stolen(case_store, tmp_path)]
    options[2:2] = ["gone.toml"]
    capsys.readouterr()
    code = main(["score", "--store", str(case_store), "--kit", kit_of(case_store).id, *options])
    out = capsys.readouterr().out
    assert code == 7 and "gone.toml\ncannot tell: not judged: " in out
    assert (
        "cannot tell: p 0.05 by itself, 0.1 as one of 2 suspects (holm): 19 twins can single out none of 2"
        in out
    )
    code, output, err = scored(capsys, case_store, "--suspect", "gone.toml")
    assert code == 7 and not output and "cannot be reached" in err, "alone it is an error, as ever"


def test_a_suspect_with_other_classes(
    case_store: Path, case_kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    answers = TorchBlackBox(copied(case_store), case_kit.num_classes).ask(case_kit.twin_test.questions())
    finer = torch.cat([answers[:, :9], answers[:, 9:] * 0.7, answers[:, 9:] * 0.3], 1)
    pq.write_table(pa.table({"query": range(len(finer)), "probabilities": finer.tolist()}), "finer.parquet")
    code, output, err = scored(capsys, case_store, "--answers", "finer.parquet")
    assert (
        code == 2
        and not output
        and "11 numbers for image 0; expected 10" in err
        and "--suspect-classes 11" in err
    )
    code, output, _ = scored(capsys, case_store, "--answers", "finer.parquet", "--suspect-classes", "11")
    assert code == 0 and output["decision"] == "stolen" and "hint" not in output
    assert open_store(str(case_store)).load("evidence", output["evidence"]).meta["columns"] == 11
    (tmp_path / "strangers_more.py").write_text(
        FACTORY.format(architecture="C").replace("(1, 8, 8), 10", "(1, 8, 8), 12")
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import strangers_more  # type: ignore[import-not-found]

    save_file(
        {k: v.contiguous() for k, v in strangers_more.make().state_dict().items()}, "twelve.safetensors"
    )
    options = ["--suspect", "twelve.safetensors", "--factory", "strangers_more:make"]
    code, _, err = scored(capsys, case_store, *options)
    assert code == 2 and "expected (2, 10)" in err and "--suspect-classes 12" in err
    code, output, _ = scored(capsys, case_store, *options, "--suspect-classes", "12")
    assert (
        code == 0 and open_store(str(case_store)).load("evidence", output["evidence"]).meta["columns"] == 12
    )
    # Which decision is no matter: at level .05 one untrained net in twenty is called stolen.
