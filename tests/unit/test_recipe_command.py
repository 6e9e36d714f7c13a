"""``zooaudit recipe new``: what it makes and what it refuses."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import owners
from tests.support.owner_recipes import OWN, Capture, facts, new, recipe_for
from zooaudit.cli.main import main, make_parser
from zooaudit.cli.own_start import with_start
from zooaudit.config import Start
from zooaudit.data.images import Dataset
from zooaudit.errors import ConfigError
from zooaudit.planning.given import Devices
from zooaudit.planning.measured import Domain
from zooaudit.planning.sizing import estimate
from zooaudit.recipes.named import DIGITS
from zooaudit.recipes.read import read_recipe
from zooaudit.recipes.write import to_toml
from zooaudit.zoo.start import start_of


def test_the_next_command_has_all_that_was_said(own_weights: Path, tmp_path: Path, capsys: Capture) -> None:
    said = [*OWN, "--contract", "input.mean=[0]", "input.range=[0, 1]", "--train-timeout", "90.0"]
    assert main(new(tmp_path / "mine.toml", "--victim", str(own_weights), *said)) == 0
    result = shlex.split(capsys.readouterr().out.rpartition("next: zooaudit ")[2])
    args = make_parser().parse_args(result)
    assert (
        args.contract == ["input.mean=[0]", "input.range=[0, 1]"]
        and args.train_timeout == 90
        and args.victim == str(own_weights)
    )


def test_what_is_made_is_the_file_and_says_where_each_number_comes_from(
    own_weights: Path, tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "mine.toml"
    assert main(new(file, "--victim", str(own_weights), *OWN)) == 0
    output = capsys.readouterr().out
    assert (
        f"next: zooaudit audit --recipe {file} --store ./store --victim {own_weights}"
        f" --factory {owners.FACTORY} --train tests.support.owners:train" in output
    )
    text, recipe = file.read_text(), read_recipe(file)
    active = re.findall(r"\n# From: .+(?:\n# .+)*\n(\w+) = ", text)
    assert len(active) == len(re.findall(r"\n\w+ = ", text)) - 1 == text.count("# From: ") > 30, (
        "all but the name"
    )
    assert (
        recipe.dataset == "digits"
        and 0.4 < recipe.zoo.accuracy_floor < 0.6
        and to_toml(recipe).count("\n#") > 30
    )
    assert main(["recipe", "check", str(file)]) == 0 and "recipe mine is in order" in capsys.readouterr().out


REFUSED = {
    "no data": (["recipe", "new"], "--data is missing"),
    "try without a procedure": (
        ["recipe", "new", "--dataset", "digits", "--try"],
        "neither --train nor --train-command says how",
    ),
    "json without a file": (["recipe", "new", "--dataset", "digits", "--json"], "--out is missing"),
    "another ending": (
        ["recipe", "new", "--dataset", "digits", "--out", "mine.yaml"],
        "expected a file that ends in .toml",
    ),
    "there already": (["recipe", "new", "--dataset", "digits", "--out", "there.toml"], "is there already"),
    "no folder": (
        ["recipe", "new", "--dataset", "digits", "--out", "nowhere/mine.toml"],
        "nowhere is not a folder",
    ),
    "a name": (["recipe", "new", "digits"], "expected no name"),
    "settings": (
        ["recipe", "new", "--dataset", "digits", "--set", "seed=3"],
        "--set has no meaning for recipe new",
    ),
    "unknown data": (["recipe", "new", "--dataset", "shirts"], "or give your own with --data FOLDER"),
    "train without a victim": (
        ["recipe", "new", "--dataset", "digits", "--train", "tests.support.owners:train"],
        "--train needs --victim",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_made_is_refused(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.toml").write_text("mine")
    arguments, message = REFUSED[case]
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert message in err and out == "" and (tmp_path / "there.toml").read_text() == "mine"


@pytest.mark.long
def test_an_audit_by_a_made_recipe_finds_the_thieves(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "mine.toml"
    assert main(new(file, "--json")) == 0
    sized = json.loads(capsys.readouterr().out)["plan"]
    fewer = [
        "--set",
        "zoo.references=6",
        "--set",
        "zoo.second_attack=none",
        "--set",
        "zoo.encoder_per_role=2",
    ]
    audit = [
        "audit",
        "--recipe",
        str(file),
        *fewer,
        "--farm",
        "serial",
        "--store",
        str(tmp_path / "store"),
        "--out",
        str(tmp_path / "report"),
    ]
    assert main([*audit, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["models"] == {"trained": sized["total_models"] - 18 - 4, "reused": 0, "failed": 0}
    assert data["victim_itself"]["decision"] == "stolen" and not data["twin_test"]["accuses_nobody"]
    stolen, innocent = data["called_stolen"]["piracy"], data["called_stolen"]["homologous"]
    assert stolen[0] >= 2 and innocent[0] <= 1, data["called_stolen"]
    assert (
        "mine with zoo.references=6, zoo.encoder_per_role=2, zoo.second_attack=&#34;none&#34;"
        in (tmp_path / "report" / "report.html").read_text()
    )


def test_the_start_is_written_as_the_audit_records_it(
    digits: Dataset, tmp_path: Path, capsys: Capture
) -> None:
    file, factory = tmp_path / "mine.toml", "tests.support.starts:checkpoint"
    assert main([*new(file), "--start", factory, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)["plan"]
    recipe, start = read_recipe(file), start_of(factory, digits.image_shape, 10)
    assert recipe.zoo.start == start and plan["models"]["reference"]["start"] == round(
        recipe.zoo.references / 4
    )
    assert "# From: --start: what the victim was fine-tuned from" in file.read_text()
    audit = make_parser().parse_args(["audit", "--recipe", str(file)])
    assert with_start(recipe, audit, digits.image_shape, 10) == recipe, "the recipe is enough"
    audit = make_parser().parse_args(["audit", "--start", factory])
    assert (
        with_start(replace(recipe, zoo=replace(recipe.zoo, start=None)), audit, digits.image_shape, 10)
        == recipe
    )
    assert main(["plan", "--recipe", "digits", "--start", factory, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["models"]["reference"]["start"] == 4
    assert (
        main(["recipe", "check", str(file), "--start", factory]) == 2
        and "--start has no meaning for recipe check" in capsys.readouterr().err
    )


def test_a_recipe_whose_checkpoint_is_another_now_is_refused(digits: Dataset) -> None:
    stated = Start("tests.support.starts:checkpoint", "ab" * 32)
    recipe = replace(DIGITS, zoo=replace(DIGITS.zoo, start=stated))
    for options, says in (
        (
            [],
            (
                r"gives other weights \([0-9a-f]{12}...\) than the recipe says \(zoo.start.weights"
                r" abababababab...\)"
            ),
        ),
        (["--start", stated.factory], "gives other weights"),
        (
            ["--start", "my:other"],
            "--start is my:other, but the recipe's zoo.start.factory is tests.support.starts:checkpoint",
        ),
    ):
        with pytest.raises(ConfigError, match=says):
            with_start(recipe, make_parser().parse_args(["audit", *options]), digits.image_shape, 10)


def test_the_estimate_is_of_the_data_that_was_looked_at() -> None:
    small, large = (
        estimate(recipe_for(d), Domain("x", d.train, d.test, d.image, 10), Devices(1))
        for d in (facts(2000, 400), facts())
    )
    assert small.core_hours < large.core_hours and small.total_models < large.total_models
