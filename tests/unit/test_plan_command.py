"""``zooaudit plan``: the command."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from tests.support.places import ROOT
from zooaudit.cli.arguments.plans import SIZES
from zooaudit.cli.main import main
from zooaudit.data.images import Dataset
from zooaudit.planning.given import Devices
from zooaudit.planning.measured import DOMAINS
from zooaudit.planning.sizing import as_json, estimate, scaled
from zooaudit.recipes.named import FMNIST_QUICK, RECIPES

FMNIST = DOMAINS["fashion-mnist"]


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--models", "140", "--cpus", "16"]) == 0
    text = capsys.readouterr().out
    assert "140 models" in text and "suspects_per_cell 1 -> 4" in text and "16 CPU cores" in text
    assert main(["plan", "--models", "140", "--gpus", "4", "--gpu-speedup", "20", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["total_models"] == 140 and found["devices"] == {"count": 4, "speedup": 20.0, "what": "GPUs"}
    recipe, _ = scaled(FMNIST_QUICK, 140)
    assert found["requests"] == vars(estimate(recipe, FMNIST, Devices(4)).requests)
    assert as_json(estimate(recipe, FMNIST, Devices(4, 20.0, "GPUs")))["core_hours"] == found["core_hours"]


def test_the_command_takes_your_own_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], digits: Dataset
) -> None:
    for name, part in (("train", digits.train), ("test", digits.test)):
        np.savez(tmp_path / f"{name}.npz", images=part.images.numpy(), labels=part.labels.numpy())
    assert main(["plan", "--recipe", "digits", "--data", str(tmp_path)]) == 0
    assert "nothing was measured on" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--gpus", "4"], "--gpus needs --gpu-speedup"),
        (["--gpu-speedup", "4"], "--gpus is missing"),
        (["--models", "5"], "smallest zoo has"),
        (["--cpus", "0"], "expected at least 1"),
        (["--gpus", "1", "--gpu-speedup", "-3"], "expected a positive number"),
        (["--recipe", "nonesuch"], "unknown recipe"),
        (["--twin-seconds", "30"], "--own-victim is missing"),
        (["--factory", "m:f"], "--own-victim is missing"),
        (["--own-victim", "--twin-seconds", "0"], "expected a positive number"),
        (["--recipe", "digits", "--own-victim", "--factory", "no_such_module:f"], "no_such_module"),
        (["--twins", "-1"], "expected 0 to 999"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_the_sizing_table_is_filled_in_wherever_it_is_asked_for() -> None:
    filled = runpy.run_path(str(ROOT / "benchmarks" / "tables.py"))["filled"]
    text = filled("before\n<!-- table: sizing -->\nold\n<!-- /table -->\nafter")
    assert text.startswith("before\n<!-- table: sizing -->\n| models |") and text.endswith(
        "\n<!-- /table -->\nafter"
    )
    assert "old" not in text and filled(text) == text
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    recipe = RECIPES["fmnist-paper"]
    totals = [estimate(scaled(recipe, n)[0], FMNIST, Devices(1)).total_models for n in SIZES]
    assert [row.split(" | ")[0] for row in rows] == [f"| {n:,}" for n in totals]
    with pytest.raises(SystemExit, match="no table 'nonesuch'"):
        filled("<!-- table: nonesuch -->\n<!-- end -->")
