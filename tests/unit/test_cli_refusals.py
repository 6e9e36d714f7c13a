"""What is wrong on the command line is one line with an exit code."""

import json
from pathlib import Path

import pytest
import torch

from tests.support.finished import Finished
from tests.support.terminal import Capture, one_line, snapshot
from zooaudit.cli.main import main
from zooaudit.recipes.named import DIGITS, RECIPES

BAD_INPUT = {
    "unknown recipe": (["audit", "--recipe", "cifar-huge"], 2, ", ".join(sorted(RECIPES))),
    "victim is missing": (
        ["audit", "--recipe", "digits", "--victim", "nowhere.pt2"],
        2,
        "nowhere.pt2 does not exist",
    ),
    "victim is a pickle": (
        ["audit", "--recipe", "digits", "--victim", "pickled.safetensors", "--factory", "x:y"],
        2,
        "never opened",
    ),
    "factory without victim": (["audit", "--recipe", "digits", "--factory", "x:y"], 2, "--victim"),
    "data folder is missing": (
        ["audit", "--recipe", "digits", "--data", "nowhere"],
        2,
        "nowhere is not a folder",
    ),
    "data folder is empty": (["data", "--data", "."], 2, "expected train.npz"),
    "unknown dataset": (["data", "--dataset", "imagenet"], 2, "known: digits, fashion-mnist"),
    "run name": (["audit", "--recipe", "digits", "--run", "../up"], 2, "cannot name a run"),
    "store is a file": (
        ["audit", "--recipe", "digits", "--store", "pickled.safetensors"],
        3,
        "cannot be made",
    ),
    "store of the future": (["store", "ls", "--store", "future"], 3, "format 99"),
    "store of no kind": (
        ["store", "ls", "--store", "ftp://bucket"],
        3,
        "expected a local folder, s3://bucket/prefix or memory:",
    ),
    "no bucket": (["store", "ls", "--store", "s3://"], 2, "expected s3://bucket/prefix"),
    "grace below zero": (["store", "gc", "--grace-hours", "-1"], 2, "expected 0 or more"),
    "share of a GPU below zero": (
        ["zoo", "--recipe", "digits", "--gpus-per-worker", "-0.5"],
        2,
        "gpus_per_worker is -0.5; expected 0 for none, or a share of one",
    ),
    "more than a GPU": (
        ["zoo", "--recipe", "digits", "--gpus-per-worker", "1.5"],
        2,
        "gpus_per_worker is 1.5; expected 0 for none, or a share of one",
    ),
    "share of a GPU that is not a number": (
        ["zoo", "--recipe", "digits", "--gpus-per-worker", "nan"],
        2,
        "gpus_per_worker is nan; expected 0 for none, or",
    ),
    "no workers": (
        ["zoo", "--recipe", "digits", "--workers", "0"],
        2,
        "RayFarm.workers is 0; expected at least 1",
    ),
    "no victim workers": (
        ["zoo", "--recipe", "digits", "--victim-workers", "0"],
        2,
        "victim_workers is 0; expected at least 1",
    ),
    "victim workers without Ray": (
        ["audit", "--recipe", "digits", "--victim-workers", "2"],
        2,
        "--victim-workers 2 needs --farm ray",
    ),
    "twins of no kit": (["kit", "add-twins"], 2, "which kit do you add twins to?"),
    "no store": (["score", "--kit", "abc", "--suspect", "x.pt2"], 3, "there is no store at"),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_is_one_line_with_the_exit_code(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": torch.zeros(1)}, "pickled.safetensors")
    (tmp_path / "future").mkdir()
    (tmp_path / "future" / "zooaudit.json").write_text('{"format": 99}')
    arguments, code, message = BAD_INPUT[name]
    more = [] if "--store" in arguments or arguments[0] == "data" else ["--store", "store"]
    assert main([*arguments, *more, *(["--farm", "serial"] if arguments[0] == "audit" else [])]) == code
    assert message in one_line(capsys)
    store = tmp_path / "store"
    assert not store.exists() or snapshot(store) == {}


UNKNOWN = {
    "kit show": (["kit", "show", "--kit", "zz"], "kit 'zz'"),
    "kit commit": (["kit", "commit", "--kit", "zz"], "kit 'zz'"),
    "score": (["score", "--kit", "zz", "--answers", "a.csv"], "kit 'zz'"),
    "explain": (["explain", "zz"], "evidence 'zz'"),
    "evidence": (["evidence", "export", "case.zip", "--evidence", "zz"], "evidence 'zz'"),
    "report": (["report", "--run", "zz"], "run zz is unknown"),
    "store show": (["store", "show", "kit", "zz"], "has no kit zz"),
    "store copy": (["store", "copy", "--run", "zz", "--to", "other"], "run zz is unknown"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_name_that_the_store_lacks_is_bad_input(
    name: str, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, message = UNKNOWN[name]
    capsys.readouterr()
    assert main([*arguments, "--store", str(finished.store)]) == 2
    assert message in one_line(capsys)
    assert not list(tmp_path.iterdir())


def test_an_option_is_not_taken_for_a_longer_one(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["kit", "add-twins", "--train", "m:train"])  # there is --train-timeout
    assert ended.value.code == 2 and "unrecognized arguments: --train;" in capsys.readouterr().err


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown recipe"):
        main(["audit", "--recipe", "nothing", "--store", str(tmp_path), "--debug"])


def test_fallback_when_the_data_is_not_to_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("ZOOAUDIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", "/nowhere")  # no apt-get
    monkeypatch.setattr("urllib.request._opener", None)  # it remembers the proxies of its first use
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # every download is refused at once
    arguments = [
        "uap",
        "--recipe",
        "fmnist-quick",
        "--store",
        str(tmp_path / "store"),
        "--farm",
        "serial",
        "--json",
    ]
    assert main(arguments) == 2
    assert "fashion-mnist cannot be had here" in one_line(capsys)
    assert main([*arguments, "--fallback", "digits"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["epsilon"] == DIGITS.uap.epsilon and "falling back to recipe digits" in err
