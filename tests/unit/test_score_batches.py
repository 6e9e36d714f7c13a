"""Many suspects scored at once, of which some are broken."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.cases import FACTORY, Capture, copied, kit_of, score_of, stolen, suspect
from tests.support.strangers import Stranger
from zooaudit.cli.main import main
from zooaudit.kits.kit import Kit
from zooaudit.storage.opening import open_store
from zooaudit.suspects.blackbox import TorchBlackBox


def test_a_level_that_the_twins_do_not_allow_is_no_accusation(
    case_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    code, output, _ = score_of(capsys, case_store, *stolen(case_store, tmp_path), "--level", "0.01")
    assert code == 0 and output["decision"] == "cannot tell" and output["p_value"] is None
    assert output["queries"] == 0 and output["evidence"] is None, (
        "there is no use in asking, and it may cost money"
    )
    assert (
        "19 twins allow no p under 0.05; level 0.01 needs 99" in output["reason"]
        and "--p-value normal" in output["reason"]
    )
    code, output, _ = score_of(capsys, case_store, *stolen(case_store, tmp_path), "--p-value", "normal")
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
    code, output, _ = score_of(capsys, case_store, *options)
    assert code == 0 and output["queries"] == output["budget"] == 50
    assert open_store(str(case_store)).load("evidence", output["evidence"]).meta["horizon"] == 50
    answers = TorchBlackBox(copied(case_store), case_kit.num_classes).ask(case_kit.twin_test.questions())
    pq.write_table(
        pa.table({"query": range(len(answers)), "probabilities": answers.tolist()}), tmp_path / "a.parquet"
    )
    code, output, _ = score_of(
        capsys, case_store, "--answers", str(tmp_path / "a.parquet"), "--queries", "50"
    )
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
    code, output, err = score_of(
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
    code, output, err = score_of(capsys, case_store, "--suspect", "gone.toml")
    assert code == 7 and not output and "cannot be reached" in err, "alone it is an error, as ever"


def test_a_suspect_with_other_classes(
    case_store: Path, case_kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    answers = TorchBlackBox(copied(case_store), case_kit.num_classes).ask(case_kit.twin_test.questions())
    finer = torch.cat([answers[:, :9], answers[:, 9:] * 0.7, answers[:, 9:] * 0.3], 1)
    pq.write_table(pa.table({"query": range(len(finer)), "probabilities": finer.tolist()}), "finer.parquet")
    code, output, err = score_of(capsys, case_store, "--answers", "finer.parquet")
    assert (
        code == 2
        and not output
        and "11 numbers for image 0; expected 10" in err
        and "--suspect-classes 11" in err
    )
    code, output, _ = score_of(capsys, case_store, "--answers", "finer.parquet", "--suspect-classes", "11")
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
    code, _, err = score_of(capsys, case_store, *options)
    assert code == 2 and "expected (2, 10)" in err and "--suspect-classes 12" in err
    code, output, _ = score_of(capsys, case_store, *options, "--suspect-classes", "12")
    assert (
        code == 0 and open_store(str(case_store)).load("evidence", output["evidence"]).meta["columns"] == 12
    )
