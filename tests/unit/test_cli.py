"""The command line as a user meets it: exit codes, one-line errors, JSON on standard
output, nothing changed by bad input."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.support.finished import MODELS, Finished
from tests.support.terminal import Capture, audit, one_line, snapshot
from tests.support.zoos import TINY
from zooaudit.cli.main import main
from zooaudit.cli.subcommands import SUBCOMMANDS, found
from zooaudit.recipes.named import DIGITS, RECIPES
from zooaudit.storage.opening import open_store
from zooaudit.zoo.build import BuiltModel

BEFORE = ("run", "kit", "seconds", "peak_rss_bytes", "models", "victim", "uap", "auc")
TWIN_TEST = ("level", "twin_test", "finding", "called_stolen", "victim_itself")


def test_second_run_trains_nothing_and_gives_the_same_json(
    finished: Finished, tmp_path: Path, capsys: Capture
) -> None:
    assert finished.told["models"] == {"trained": MODELS, "reused": 0, "failed": 0}
    before = snapshot(finished.store)
    capsys.readouterr()
    assert audit(finished.store, tmp_path, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["models"] == {"trained": 0, "reused": MODELS, "failed": 0}
    assert found["verdicts"] == finished.told["verdicts"] and found["auc"] == finished.told["auc"]
    assert snapshot(finished.store) == before
    assert set(found) == {*BEFORE, *TWIN_TEST, "verdicts", "report"}
    assert Path(found["report"]).is_file() and found["peak_rss_bytes"] > 50e6


def test_report_comes_out_of_the_store_again(finished: Finished, tmp_path: Path, capsys: Capture) -> None:
    assert main(["report", "--store", str(finished.store), "--run", "digits", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "report.html").read_bytes() == (finished.report / "report.html").read_bytes()
    assert main(["report", "--store", str(finished.store), "--run", "nothing", "--out", str(tmp_path)]) == 2
    assert "digits" in capsys.readouterr().err


def test_a_run_name_stands_for_one_recipe(finished: Finished, tmp_path: Path, capsys: Capture) -> None:
    before = snapshot(finished.store)
    capsys.readouterr()
    assert audit(finished.store, tmp_path, "--seed", "5") == 2
    assert "recipe.seed: 0 there, 5 asked" in one_line(capsys)
    assert snapshot(finished.store) == before


def test_score_a_suspect_from_a_file(
    own_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    store = own_store
    main(["kit", "--store", str(store), "--json"])
    (kit,) = json.loads(capsys.readouterr().out)
    (tmp_path / "their_nets.py").write_text(
        "import torch\ndef make():\n    torch.manual_seed(0)\n    return"
        " torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))\n"
    )
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    save_file(
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)).state_dict(), "theirs.safetensors"
    )
    arguments = [
        "score",
        "--store",
        str(store),
        "--kit",
        kit[:6],
        "--suspect",
        "theirs.safetensors",
        "--json",
    ]
    assert main([*arguments, "--factory", "their_nets:make"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["decision"] in ("not shown", "cannot tell") and found["twins"] == 19, (
        "it never learnt the task"
    )
    assert (
        found["queries"] <= found["budget"] == DIGITS.twin_test.looks[-1]
        and found["level"] == DIGITS.twin_test.level
    )
    assert main([*arguments, "--factory", "their_nets:make", "--method", "paper"]) == 0
    paper = json.loads(capsys.readouterr().out)["paper"]
    assert paper["queries"] == DIGITS.fingerprint.points * DIGITS.fingerprint.views * 2
    assert paper["decision"] in ("piracy", "inconclusive") and 0 <= paper["similarity"] <= 1
    assert "look-alikes" in paper["caution"]
    assert main(arguments) == 2
    assert "--factory package.module:factory" in one_line(capsys)
    assert main([*arguments, "--factory", "their_nets:missing"]) == 2
    assert "their_nets:missing failed: AttributeError" in one_line(capsys)


def test_store_commands(finished: Finished, tmp_path: Path, capsys: Capture) -> None:
    store = str(finished.store)
    assert main(["store", "ls", "--store", store]) == 0
    assert f"model {MODELS}" in capsys.readouterr().out
    assert main(["store", "ls", "model", "--store", store]) == 0
    ids = capsys.readouterr().out.split()
    assert len(ids) == MODELS
    assert main(["store", "show", "model", ids[0], "--store", store]) == 0
    assert json.loads(capsys.readouterr().out)["meta"]["spec"]["architecture"] in "ABC"
    assert main(["store", "check", "--store", store]) == 0
    assert main(["store", "show", "--store", store]) == 2
    capsys.readouterr()
    assert main(["store", "gc", "--store", store]) == 0
    assert capsys.readouterr().out == "0 would be removed; --delete does it\n"


def test_store_gc_says_first_and_removes_when_told(tmp_path: Path, capsys: Capture) -> None:
    store = tmp_path / "store"
    artifacts = open_store(str(store))
    artifacts.save("thing", "one", {"a.bin": b"named"}, {})
    (store / "objects" / "aa").mkdir(exist_ok=True)
    loose = store / "objects" / "aa" / "aa11"
    loose.write_bytes(b"loose")
    gc = ["store", "gc", "--store", str(store), "--grace-hours", "0"]
    assert main(["store", "check", "--store", str(store)]) == 0
    orphaned, summary = capsys.readouterr().out.splitlines()
    assert orphaned.startswith("orphaned: objects/aa/aa11: ") and "zooaudit store gc --delete" in orphaned
    assert summary == "1 artifacts, 0 damaged; content that nothing names: 1"
    assert main(gc) == 0
    assert loose.exists()
    assert main([*gc, "--delete"]) == 0
    assert not loose.exists()
    assert (
        capsys.readouterr().out
        == "objects/aa/aa11\n1 would be removed; --delete does it\nobjects/aa/aa11\n1 removed\n"
    )
    assert artifacts.load("thing", "one").read("a.bin") == b"named"


def test_check_reports_damage_and_orphans_together_while_manifests_can_be_read(
    tmp_path: Path, capsys: Capture
) -> None:
    artifacts = open_store(str(tmp_path))
    sha = artifacts.save("thing", "one", {"a.bin": b"named"}, {}).files["a.bin"]["sha256"]
    for i in (2, 1):
        artifacts._store.create(f"objects/aa/aa{i}", b"loose")
    (tmp_path / "objects" / sha[:2] / sha).write_bytes(b"other")
    check = ["store", "check", "--store", str(tmp_path)]
    assert main(check) == 3
    damaged, *orphaned, summary = capsys.readouterr().out.splitlines()
    assert damaged.startswith("damaged: ") and "thing one" in damaged
    assert [line.split(": ")[:2] for line in orphaned] == [
        ["orphaned", "objects/aa/aa1"],
        ["orphaned", "objects/aa/aa2"],
    ]
    assert summary == "1 artifacts, 1 damaged; content that nothing names: 2"
    (tmp_path / "manifests" / "thing" / "one.json").write_text("{")
    assert main(check) == 3
    assert capsys.readouterr().out.splitlines()[1:] == [
        "1 artifacts, 1 damaged; content that nothing names: unknown"
    ]
    assert main([*check, "--repair"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "0 artifacts, 1 damaged; content that nothing names: 3"


def test_damage_is_found_removed_and_rebuilt(
    finished: Finished, own_store: Path, tmp_path: Path, capsys: Capture
) -> None:
    store = own_store
    model = next((store / "manifests" / "model").glob("homologous-*"))
    sha = json.loads(model.read_text())["files"]["weights.safetensors"]["sha256"]
    weights = store / "objects" / sha[:2] / sha
    damaged = bytearray(weights.read_bytes())
    damaged[-1] ^= 1
    weights.write_bytes(bytes(damaged))
    assert main(["store", "check", "--store", str(store)]) == 3
    assert model.stem in capsys.readouterr().out
    assert main(["store", "check", "--repair", "--store", str(store)]) == 0
    capsys.readouterr()
    assert audit(store, tmp_path / "report", "--json") == 0
    again = json.loads(capsys.readouterr().out)
    assert again["models"]["trained"] == 1 and again["verdicts"] == finished.told["verdicts"]


def test_own_victim_from_a_file(
    built: BuiltModel, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setitem(RECIPES, "digits", TINY)
    assert audit(tmp_path / "store", tmp_path / "out", "--victim", str(exported), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["victim"]["accuracy"] == pytest.approx(built.record.accuracy, abs=0.01)
    assert found["models"]["trained"] == 12
    assert {v["role"] for v in found["verdicts"]} == {"piracy", "homologous", "look-alike"}


@pytest.mark.parametrize(
    "command", ["audit", "zoo", "uap", "kit", "score", "report", "data", "store", "doctor"]
)
def test_help_shows_an_example(command: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert f"zooaudit {command}" in capsys.readouterr().out.partition("example:")[2]


def test_doctor_names_what_it_finds(tmp_path: Path, capsys: Capture) -> None:
    main(["doctor", "--store", str(tmp_path / "not" / "yet"), "--json"])
    found = {f["what"]: f for f in json.loads(capsys.readouterr().out)}
    assert {"zooaudit", "torch", "ray", "CPU", "GPU", "memory", "disk", "data: digits"} <= found.keys()
    assert not (tmp_path / "not").exists()


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], [], ["adit"], ["audit", "--help"]])
def test_only_what_is_needed_is_imported(arguments: list[str]) -> None:
    """Counted in modules, not in seconds. Help of one subcommand needs its options alone."""
    code = (
        "import sys; from zooaudit.cli.main import main\ntry: main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    modules = set(done.stderr.split())
    heavy = {"torch", "ray", "pyarrow", "scipy", "numpy"}
    assert "zooaudit.cli.main" in modules
    assert ("zooaudit.serving" in modules, heavy & modules) == (False, set()) or arguments[:1] == ["audit"]
    assert not {"zooaudit.cli.serve", "zooaudit.cli.study"} & modules


def test_what_subcommands_say_of_themselves_is_what_their_functions_say() -> None:
    for name, one in SUBCOMMANDS.items():
        summary = (found(one.run).__doc__ or "").strip().rstrip(".")
        assert " ".join(summary.split()) == one.summary, name
        assert (
            found(one.example)
            if ":" in one.example.split()[0]
            else one.example.startswith(f"zooaudit {name} ") or one.example == f"zooaudit {name}"
        )


def test_alone_it_shows_its_help(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 0 and "Audit a victim from end to end" in capsys.readouterr().out
