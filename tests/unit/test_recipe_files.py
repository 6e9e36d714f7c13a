"""Recipes in files: what is read, what is refused and how, and that a recipe comes back as it was written."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tests.support.recipe_files import BASED, ids, written
from zooaudit.config import ModifyConfig, Recipe
from zooaudit.errors import ConfigError
from zooaudit.recipes.named import DIGITS, FMNIST_QUICK, recipe_from
from zooaudit.recipes.read import read_recipe, recipe_of

# inheriting


def test_a_file_changes_only_what_it_says(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        'inherit = "fmnist-quick"\nseed = 3\n[zoo]\nreferences = 8\narchitectures = ["B", "C"]\n'
        'taken = [{ kind = "prune", strength = 0.25 }]\n[zoo.epochs]\nC = 6\nlenet = 9\n[zoo.second_attack]\n'
        "rounds = 2\n[uap]\nepsilon = 0.2\n",
    )
    zoo = replace(
        FMNIST_QUICK.zoo,
        references=8,
        architectures=("B", "C"),
        taken=(ModifyConfig("prune", 0.25),),
        epochs=(
            ("A", 3),
            ("B", 2),
            ("C", 6),
            ("D", 3),
            ("E", 3),
            ("residual", 2),
            ("transformer", 2),
            ("lenet", 9),
        ),
        second_attack=replace(FMNIST_QUICK.zoo.second_attack, rounds=2),  # type: ignore[type-var]
    )
    assert read_recipe(path) == replace(
        FMNIST_QUICK, name="mine", seed=3, zoo=zoo, uap=replace(FMNIST_QUICK.uap, epsilon=0.2)
    )


def test_files_inherit_from_files_beside_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    written(tmp_path, 'inherit = "digits"\nseed = 5\n[zoo]\ntwins = 3\n', "base.toml")
    monkeypatch.chdir("/")
    made = read_recipe(written(tmp_path / "sub", 'inherit = "../base.toml"\n[zoo]\nreferences = 2\n'))
    assert (made.name, made.seed, made.zoo.twins, made.zoo.references) == ("mine", 5, 3, 2)


def test_what_was_inherited_can_be_taken_away(tmp_path: Path) -> None:
    made = read_recipe(
        written(
            tmp_path, 'inherit = "fmnist-quick"\n[zoo]\nsecond_attack = "none"\nepochs = []\ntaken = []\n'
        )
    )
    assert (made.zoo.second_attack, made.zoo.epochs, made.zoo.taken) == (None, (), ())


def test_without_inherit_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    assert read_recipe(written(tmp_path, 'dataset = "shirts"\n')) == Recipe("mine", "shirts")
    made = read_recipe(written(tmp_path, 'dataset = "shirts"\n[zoo.second_attack]\nattack = "jbda"\n'))
    assert made.zoo.second_attack == replace(Recipe("x", "y").zoo.extraction, attack="jbda")


@pytest.mark.parametrize("names", [("mine",), ("mine", "../sub/other"), ("mine", "b", "c")])
def test_a_circle_of_files_is_named(names: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name, next_ in zip(names, (*names[1:], names[0]), strict=True):
        written(tmp_path / "sub", f'inherit = "./{next_}.toml"\n', f"{name}.toml")
    with pytest.raises(ConfigError, match="inherits from") as caught:
        read_recipe(tmp_path / "sub" / "mine.toml")
    assert str(caught.value).count("mine.toml") >= 2 and "expected no circle" in str(caught.value)


def test_an_integer_is_a_number_and_the_same_number(tmp_path: Path) -> None:
    one = read_recipe(written(tmp_path, 'inherit = "digits"\n[zoo.training]\nclip_norm = 3\n'))
    other = read_recipe(written(tmp_path, 'inherit = "digits"\n[zoo.training]\nclip_norm = 3.0\n'))
    assert (
        one.digest == other.digest
        and isinstance(one.zoo.training.clip_norm, float)
        and ids(one) == ids(other)
    )


def test_a_byte_order_mark_and_windows_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b'\xef\xbb\xbfinherit = "digits"\r\n[zoo]\r\ntwins = 5\r\n')
    assert read_recipe(path).zoo.twins == 5


# --set


def test_settings_change_single_fields_whatever_their_type() -> None:
    made = recipe_of(
        "fmnist-quick",
        [
            "zoo.suspects_per_cell=5",
            " uap.epsilon = 0.2 ",
            "zoo.training.precision=float32",
            'zoo.architectures=["B"]',
            "zoo.epochs.A=9",
            "zoo.training={mirror = true, shift = 2}",
            "zoo.training.epochs=7",
            "twin_test.looks=[50, 100]",
            "zoo.second_attack.rounds=3",
            "dataset=my-shirts_2",
        ],
    )
    assert (made.zoo.suspects_per_cell, made.uap.epsilon, made.zoo.architectures, made.dataset) == (
        5,
        0.2,
        ("B",),
        "my-shirts_2",
    )
    training = made.zoo.training
    assert (training.precision, training.mirror, training.shift, training.epochs) == ("float32", True, 2, 7)
    assert (
        dict(made.zoo.epochs)["A"] == 9
        and dict(made.zoo.epochs)["B"] == 2
        and made.twin_test.looks == (50, 100)
    )
    assert made.zoo.second_attack is not None and (
        made.zoo.second_attack.attack,
        made.zoo.second_attack.rounds,
    ) == ("jbda", 3)
    assert recipe_of("fmnist-quick", ["zoo.second_attack=none"]).zoo.second_attack is None


def test_fields_that_only_fit_together_are_set_together() -> None:
    made = recipe_of("digits", ["verdict.fingerprints=12", "fingerprint.views=12"])
    assert made.verdict.fingerprints == made.fingerprint.views == 12


# names


def test_a_changed_recipe_is_called_by_what_was_changed(tmp_path: Path) -> None:
    def name(*settings: str) -> str:
        return recipe_of("fmnist-quick", settings).name

    assert name("zoo.references=8") == "fmnist-quick with zoo.references=8"
    assert name("uap.epsilon=0.2", "zoo.epochs.A=4") == "fmnist-quick with zoo.epochs.A=4, uap.epsilon=0.2"
    assert name("zoo.references=24", "seed=1") == "fmnist-quick", "nothing was changed"
    assert name("zoo.references=8", "name=mine") == "mine"
    many = recipe_of("fmnist-quick", ["seed=3", "zoo.twins=3", "zoo.hidden=3", "zoo.references=3"])
    assert many.name.startswith("fmnist-quick with 4 fields changed (")
    file = written(tmp_path, BASED)
    assert recipe_of(str(file), ["seed=4"]).name == "mine with seed=4"


def test_runs_of_changed_recipes_have_names_of_their_own() -> None:
    names = [
        recipe_of("digits", s).run_name
        for s in ([], ["seed=4"], ["seed=5"], ["zoo.twins=5"], ["name='my own: 5'"], ["name='???'"])
    ]
    assert names[0] == "digits" and len(set(names)) == len(names) and all(len(n) < 100 for n in names)
    assert (
        names[1].startswith("digits-") and names[4].startswith("my-own-5-") and names[5].startswith("recipe-")
    )


def test_recipes_share_the_models_that_are_the_same_and_no_other() -> None:
    plain = set(ids(DIGITS))
    assert (
        set(ids(recipe_of("digits", ["twin_test.level=0.1", "uap.epsilon=0.2", "verdict.repeats=3"])))
        == plain
    )
    assert not plain & set(ids(recipe_of("digits", ["zoo.training.epochs=3"])))
    fewer = set(ids(recipe_of("digits", ["zoo.references=8", "zoo.twins=4"])))
    assert fewer < plain
    attacked = set(ids(recipe_of("digits", ["zoo.extraction.final_epochs=3"])))
    assert (
        all(("piracy" in i or "look-alike" in i or "reference" in i) for i in plain - attacked)
        and plain & attacked
    )


def test_a_changed_recipe_is_read_back_from_a_kits_facts() -> None:
    made = recipe_of("fmnist-quick", ["zoo.references=8", "zoo.second_attack=none"])
    assert recipe_from(json.loads(json.dumps(asdict(made)))) == made
