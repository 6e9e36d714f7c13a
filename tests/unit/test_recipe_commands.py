"""Recipe files and --set on the command line, and the page of their fields."""

import dataclasses
import json
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.places import ROOT
from tests.support.recipe_files import BASED, written
from tests.support.zoos import TINY
from zooaudit.auditing import zoo_plan
from zooaudit.cli.chosen_recipe import chosen_recipe
from zooaudit.cli.main import main, make_parser
from zooaudit.config import Recipe
from zooaudit.data.images import Dataset
from zooaudit.errors import ConfigError, ModelError
from zooaudit.recipes.fields import fields_of, walk
from zooaudit.recipes.named import DIGITS, RECIPES, recipe_from
from zooaudit.recipes.read import read_recipe
from zooaudit.recipes.write import to_toml
from zooaudit.storage.models import OwnModel
from zooaudit.storage.opening import open_store

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("command", ["audit", "zoo", "uap", "plan", "study", "sweep"])
def test_every_command_takes_a_file_and_settings(command: str, tmp_path: Path) -> None:
    path = written(tmp_path, f"{BASED}[zoo]\nreferences = 3\n")
    args = make_parser().parse_args(
        [command, "--recipe", str(path), "--set", "zoo.twins=5", "--set", "uap.epsilon=0.2"]
    )
    made = chosen_recipe(args)
    assert (made.name, made.zoo.references, made.zoo.twins, made.uap.epsilon) == (
        "mine with zoo.twins=5, uap.epsilon=0.2",
        3,
        5,
        0.2,
    )


COMMANDS = {
    "unknown": (["audit", "--recipe", "nowhere.toml"], "nowhere.toml does not exist"),
    "set and fallback": (
        ["audit", "--recipe", "digits", "--set", "seed=4", "--fallback", "digits"],
        "expected one of --set and --fallback",
    ),
    "set and seed": (
        ["audit", "--recipe", "digits", "--set", "seed=4", "--seed", "5"],
        "--seed and --set seed=... are both given",
    ),
    "set and twins": (
        ["plan", "--recipe", "digits", "--set", "zoo.twins=4", "--twins", "5"],
        "--twins and --set zoo.twins=... are both",
    ),
    "victims without models": (
        ["study", "validity", "--set", "report"],
        "--set report says which victims of --models",
    ),
    "settings with models": (
        ["study", "validity", "--models", ".", "--set", "seed=4"],
        "with --models expected dev or report",
    ),
    "plan of unknown data": (
        ["plan", "--recipe", "digits", "--set", "dataset=shirts"],
        "say where it is: --data DIR",
    ),
    "show nothing": (["recipe", "show"], "expected a recipe's name, or a file"),
    "list with a name": (["recipe", "list", "digits"], "expected no name"),
    "list with settings": (["recipe", "list", "--set", "seed=3"], "--set has no meaning for recipe list"),
    "show with data": (["recipe", "show", "digits", "--data", "."], "--data has no meaning for recipe show"),
    "check with a victim": (
        ["recipe", "check", "digits", "--victim", "x.pt2"],
        "--victim has no meaning for recipe check",
    ),
    "check with a statistic that there is not": (
        ["recipe", "check", "digits", "--set", "twin_test.statistic=nonsense"],
        "expected one of cosine",
    ),
    "check of too small data": (
        ["recipe", "check", "digits", "--set", "zoo.extraction.seed_size=9000"],
        "lower seed_size or data_fraction",
    ),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_what_does_not_go_together_is_refused(case: str, capsys: Capture) -> None:
    arguments, message = COMMANDS[case]
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert message in err and out == "" and "Traceback" not in err


def test_recipe_list_and_show(tmp_path: Path, capsys: Capture) -> None:
    assert main(["recipe", "list", "--json"]) == 0
    listed = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(listed) == set(RECIPES) and listed["digits"]["models"] == 54
    assert main(["recipe", "show", "digits"]) == 0
    shown = capsys.readouterr().out
    assert shown == to_toml(DIGITS)
    path = written(tmp_path, shown, "digits.toml")
    assert main(["recipe", "show", str(path), "--set", "zoo.twins=4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["zoo"]["twins"] == 4


def test_recipe_check_says_what_differs_and_what_it_takes(tmp_path: Path, capsys: Capture) -> None:
    path = written(
        tmp_path,
        'inherit = "digits"\n[zoo]\nreferences = 8\nepochs = { A = 3 }\n[zoo.training]\nepochs = 5\n',
    )
    assert main(["recipe", "check", str(path)]) == 0
    output = capsys.readouterr().out
    for line in (
        "recipe mine is in order",
        "compared with digits: 3 differences",
        "zoo.references                   16 -> 8",
        "recipe mine: 46 models",
        "training ",
        "zoo.epochs.A                     not there -> 3",
        "note: zoo.training.epochs does not apply to A",
        f"  {'twin':<13}{19:>7,}  A 19",
    ):
        assert line in output, (line, output)
    other = written(tmp_path, 'inherit = "mine.toml"\ndataset = "shirts"\n', "other.toml")
    assert main(["recipe", "check", str(other), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (
        found["differences"] == [{"path": "dataset", "before": '"digits"', "after": '"shirts"'}]
        and found["based_on"] == "mine"
    )
    assert found["plan"] is None and found["models"]["reference"]


def test_a_changed_recipe_takes_over_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Same store, same zoo, another level: a run, a kit and a report of its own; no model
    is trained again."""
    monkeypatch.setitem(RECIPES, "tiny", TINY)
    monkeypatch.chdir(tmp_path)
    audit = ["audit", "--recipe", "tiny", "--farm", "serial", "--store", "store", "--json"]
    assert main(audit) == 0
    first = json.loads(capsys.readouterr().out)
    before = (tmp_path / "reports" / "tiny" / "report.html").read_bytes()
    assert main([*audit, "--set", "twin_test.level=0.1"]) == 0
    second = json.loads(capsys.readouterr().out)
    assert second["models"]["trained"] == 0 and second["run"] != first["run"] == "tiny"
    store = open_store("store")
    assert (
        sorted(store.ids("run")) == sorted([first["run"], second["run"]]) == sorted(store.ids("report"))
        and len(store.ids("kit")) == 2
    )
    assert (tmp_path / "reports" / "tiny" / "report.html").read_bytes() == before
    page = (tmp_path / "reports" / second["run"] / "report.html").read_text()
    assert "tiny with twin_test.level=0.1" in page and "tiny with" not in before.decode()
    kept = store.load("run", second["run"]).meta["recipe"]
    assert kept["name"] == "tiny with twin_test.level=0.1" and recipe_from(kept).twin_test.level == 0.1
    kits = {store.load("kit", id_).meta["facts"]["recipe"]["name"]: id_ for id_ in store.ids("kit")}
    assert set(kits) == {"tiny", "tiny with twin_test.level=0.1"}
    assert main(["kit", "show", "--store", "store", "--kit", kits["tiny with twin_test.level=0.1"]]) == 0
    assert "tiny with twin_test.level=0.1" in capsys.readouterr().out
    assert main([*audit, "--set", "twin_test.level=0.2", "--run", "tiny"]) == 2
    assert "recipe.twin_test.level: 0.05 there, 0.2 asked" in capsys.readouterr().err


def test_an_edited_file_takes_over_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    from zooaudit.storage.runs import begin_run

    store = open_store(str(tmp_path / "store"))
    first = read_recipe(written(tmp_path, BASED))
    begin_run(store, first.run_name, first, "data", None)
    second = read_recipe(written(tmp_path, f"{BASED}[zoo]\nreferences = 8\n"))
    assert second.run_name == first.run_name == "mine"
    with pytest.raises(
        ConfigError, match=r"recipe\.zoo\.references: 16 there, 8 asked\); choose another name with --run"
    ):
        begin_run(store, second.run_name, second, "data", None)


def test_a_recipe_with_a_higher_floor_refuses_a_victim_that_another_took(
    exported: Path, digits: Dataset
) -> None:
    artifacts = open_store("memory:")
    own = OwnModel(exported, None, digits.image_shape, 10)
    zoo_plan.plan(TINY, digits, artifacts, own)
    strict = replace(TINY, zoo=replace(TINY.zoo, accuracy_floor=0.999))
    with pytest.raises(ModelError, match=r"under the recipe's floor 0\.999"):
        zoo_plan.plan(strict, digits, artifacts, own)
    assert zoo_plan.plan(TINY, digits, artifacts, own).victim == own.id


def test_every_field_says_what_it_means() -> None:
    assert [path for path, one in walk() if not one.meaning] == []
    assert {f.name for f in dataclasses.fields(Recipe)} == set(fields_of(Recipe))


def test_the_page_has_the_table_of_all_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["recipe_fields.py", "--check"])
    assert runpy.run_path(str(ROOT / "scripts" / "recipe_fields.py"))["main"]() == 0, (
        "run python scripts/recipe_fields.py"
    )
    page = (ROOT / "docs" / "recipes.md").read_text()
    for _, one in walk():
        assert f"| `{one.name}` | " in page


def test_the_pages_example_is_read(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "recipes.md").read_text()
    made = read_recipe(written(tmp_path, page.partition("```toml\n")[2].partition("```")[0]))
    assert (
        made.zoo.references == 8
        and dict(made.zoo.epochs)["C"] == 6
        and dict(made.zoo.epochs)["A"] == 3
        and made.twin_test.looks == (100, 200)
    )
