"""``zooaudit score`` on suspects behind an API and on answers that came back, against a finished audit's kit."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.cases import Capture, kit_of
from tests.strangers import Stranger, read_png, serving
from zooaudit.cli import main
from zooaudit.kit import Kit, load_kit
from zooaudit.storage.artifacts import open_store
from zooaudit.storage.models import load_module
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.zoo.spec import Role


@pytest.fixture
def kit(case_store: Path) -> Kit:
    return load_kit(open_store(str(case_store)), kit_of(case_store).id)


@pytest.fixture
def thief(case_store: Path, kit: Kit) -> Iterator[Stranger]:
    """A stolen model behind HTTP."""
    artifacts = open_store(str(case_store))
    specs = {i: artifacts.load("model", i).meta["spec"] for i in artifacts.ids("model") if i.startswith(Role.PIRACY)}
    id_ = next(i for i, spec in specs.items() if spec["group"] == "suspect" and spec["architecture"] == "C")
    with serving(Stranger(load_module(artifacts, id_), kit.classes, inputs=[-1, *kit.image_shape])) as served:
        yield served


def scored(capsys: Capture, store: Path, *options: str) -> tuple[int, dict[str, Any], str]:
    capsys.readouterr()
    code = main(["score", "--store", str(store), "--kit", kit_of(store).id, "--json", *options])
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else {}, err


def test_a_stolen_model_behind_an_api(
    case_store: Path, thief: Stranger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    url = thief.url + "/v2/models/m/infer"
    code, told, _ = scored(capsys, case_store, "--suspect", url)
    assert code == 0 and told["call"] == "stolen" and told["charged"] == told["queries"] == thief.computed and told["lost"] == 0
    assert Path(told["ledger"]).is_file() and Path(told["ledger"]).parent == Path("ledgers")
    before = thief.computed
    code, again, _ = scored(capsys, case_store, "--suspect", url)
    assert code == 0 and again["p_value"] == told["p_value"] and thief.computed == before, "a second audit pays nothing"
    assert main(["score", "--store", str(case_store), "--kit", kit_of(case_store).id, "--suspect", url]) == 0
    assert f"charged {before} queries in all runs, 0 of them lost on the way; ledger ledgers/" in capsys.readouterr().out


def test_a_suspect_that_lies_about_its_order_of_classes(
    case_store: Path, kit: Kit, thief: Stranger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    thief.order = tuple(reversed(range(kit.num_classes)))
    code, told, _ = scored(capsys, case_store, "--suspect", thief.url + "/v2/models/m/infer")
    assert code == 0 and told["call"] == "cannot tell" and "accuracy" in told["reason"]
    assert told["hint"].endswith(f"columns = {list(thief.order)}")
    (tmp_path / "theirs.toml").write_text(f'url = "{thief.url}/v2/models/m/infer"\ncolumns = {list(thief.order)}\n')
    code, told, _ = scored(capsys, case_store, "--suspect", "theirs.toml")
    assert code == 0 and told["call"] == "stolen" and "hint" not in told


def test_a_budget_too_small_is_said_and_nothing_is_lost(
    case_store: Path, thief: Stranger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    url = thief.url + "/v2/models/m/infer"
    code, told, err = scored(capsys, case_store, "--suspect", url, "--budget", "50")
    assert code == 7 and not told and "the budget is 50 queries" in err and thief.computed <= 50
    paid = set(thief.answered)
    code, told, _ = scored(capsys, case_store, "--suspect", url)
    assert code == 0 and told["call"] == "stolen" and all(thief.answered[i] == 1 for i in paid)


def asked_of(path: Path, kit: Kit) -> torch.Tensor:
    """The images of a file of questions, as whoever was sent it sees them."""
    if path.suffix == ".parquet":
        return torch.tensor(pq.read_table(path)["image"].to_pylist()).view(-1, *kit.image_shape)
    with zipfile.ZipFile(path) as archive:
        names = sorted(n for n in archive.namelist() if n.endswith(".png"))
        return torch.cat([read_png(archive.read(n)) for n in names])


@pytest.mark.parametrize("format_", ["parquet", "zip"])
def test_answers_that_came_back_give_the_same_verdict(
    format_: str, case_store: Path, kit: Kit, thief: Stranger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    id_, questions = kit_of(case_store).id, tmp_path / f"q.{format_}"
    assert main(["kit", "queries", "--store", str(case_store), "--kit", id_, "--out", str(questions), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["queries"] == kit.probe.budget and questions.is_file()
    answers = TorchBlackBox(thief.model, kit.num_classes).ask(asked_of(questions, kit))
    pq.write_table(pa.table({"query": range(len(answers)), "probabilities": answers.tolist(), "kit": [id_] * len(answers)}), "a.parquet")
    code, told, _ = scored(capsys, case_store, "--answers", "a.parquet")
    expected = kit.probe.examine(TorchBlackBox(thief.model, kit.num_classes), early=False)
    assert code == 0 and told["p_value"] == expected.verdict.p_value and told["call"] == "stolen" and told["queries"] == kit.probe.budget


def test_answers_to_some_views_of_the_papers_test(
    case_store: Path, kit: Kit, thief: Stranger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    views, id_ = kit.verdict.fingerprints, kit_of(case_store).id
    options = ["kit", "queries", "--store", str(case_store), "--kit", id_, "--views", str(views)]
    assert main([*options, "--out", "q.parquet"]) == 0
    table = pq.read_table("q.parquet")
    images = torch.tensor(table["image"].to_pylist()).view(-1, *kit.image_shape)
    assert torch.equal(images, kit.questions(views).flatten(0, 2))
    answers = TorchBlackBox(thief.model, kit.num_classes).ask(images)
    pq.write_table(pa.table({"query": range(len(answers)), "probabilities": answers.tolist()}), "a.parquet")
    code, told, _ = scored(capsys, case_store, "--answers", "a.parquet", "--method", "paper")
    expected = kit.score_answers("a.parquet", kit.shaped(answers))[1]
    assert code == 0 and told["paper"]["p_value"] == expected.p_value and told["paper"]["queries"] == len(answers)
    assert main([*options[:-1], "1", "--out", "none.parquet"]) == 2
    assert "which the paper's test draws" in capsys.readouterr().err


def test_what_score_needs_is_said(case_store: Path, capsys: Capture) -> None:
    for options, says in (
        ([], "whom do you suspect?"),
        (["--answers", "a.csv", "--method", "both"], "answers are to one method's questions"),
        (["--suspect", "http://127.0.0.1:9/ask"], "does not show its protocol"),
        (["--suspect", "gone.toml"], "gone.toml cannot be read"),
    ):
        code, _, err = scored(capsys, case_store, *options)
        assert code == 2 and says in err
    assert main(["kit", "queries", "--store", str(case_store)]) == 2
    assert "which kit do you want the questions of?" in capsys.readouterr().err


@pytest.mark.processes
def test_an_audit_killed_in_the_middle_pays_nothing_twice(case_store: Path, kit: Kit, thief: Stranger, tmp_path: Path) -> None:
    thief.slow_s, thief.flaky = 0.15, 0.2
    (tmp_path / "theirs.toml").write_text(f'url = "{thief.url}/v2/models/m/infer"\nbatch = 5\nconcurrency = 1\n')
    command = [
        sys.executable,
        "-m",
        "zooaudit",
        "score",
        "--store",
        str(case_store),
        "--kit",
        kit_of(case_store).id,
        "--suspect",
        "theirs.toml",
    ]
    first = subprocess.Popen(command, cwd=tmp_path, start_new_session=True, env={**os.environ, "PYTHONPATH": os.getcwd()})
    while thief.computed < 40:
        assert first.poll() is None
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    time.sleep(0.5)  # what was under way is answered to nobody
    done = subprocess.run(
        [*command, "--json", "--budget", "200"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    told = json.loads(done.stdout)
    assert told["call"] == "stolen" and told["charged"] == told["queries"] + told["lost"]
    assert told["lost"] <= 5 and thief.computed <= told["charged"], "at most the one request that was under way"
    assert sum(count > 1 for count in thief.answered.values()) <= told["lost"]
