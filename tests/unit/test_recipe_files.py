"""Recipes in files: what is read, what is refused and how, and that a recipe comes back as it was written."""

import dataclasses
import json
import runpy
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.places import ROOT
from tests.support.recipe_files import written
from tests.support.zoos import TINY
from zooaudit.auditing import steps
from zooaudit.cli.chosen_recipe import chosen_recipe
from zooaudit.cli.main import main, make_parser
from zooaudit.config import ModifyConfig, Recipe, Start
from zooaudit.data.images import Dataset
from zooaudit.errors import ConfigError, ModelError
from zooaudit.planning.measured import DOMAINS
from zooaudit.planning.sizing import planned
from zooaudit.recipes.differences import differences
from zooaudit.recipes.fields import fields_of, walk
from zooaudit.recipes.named import DIGITS, FMNIST_QUICK, RECIPES, recipe_from
from zooaudit.recipes.read import read_recipe, recipe_of
from zooaudit.recipes.write import to_toml
from zooaudit.storage.models import OwnModel
from zooaudit.storage.opening import open_store

Capture = pytest.CaptureFixture[str]


def ids(recipe: Recipe) -> list[str]:
    return [s.id for s in planned(recipe, DOMAINS[recipe.dataset]).specs]


OPTIONAL = ("zoo.second_attack.", "zoo.start.")
"""Tables that a recipe may do without."""


# there and back


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_written_whole_and_reads_back_the_same(name: str, tmp_path: Path) -> None:
    text = to_toml(RECIPES[name])
    back = read_recipe(written(tmp_path, text, "another-name.toml"))
    assert back == RECIPES[name] and back.digest == RECIPES[name].digest and ids(back) == ids(RECIPES[name])
    for path, one in walk():
        if "[]" not in path and not path.startswith(OPTIONAL):
            assert f"\n{one.name} = " in text or f"\n#{one.name} = " in text, path


def test_what_has_its_default_is_a_comment_that_can_be_used(tmp_path: Path) -> None:
    text = to_toml(DIGITS)
    assert (
        "\n#twins = 19\n" in text and "\nwidths = [8, 16]\n" in text and '\n#second_attack = "none"\n' in text
    )
    every = "\n".join(
        line[1:] if line[:1] == "#" and line[1:2].isalpha() else line for line in text.splitlines()
    )
    assert read_recipe(written(tmp_path, every)) == DIGITS, "defaults made explicit change nothing"


SHARE = st.floats(0.01, 0.49)
NETS = st.lists(st.sampled_from("ABCDE"), min_size=1, max_size=4, unique=True).map(tuple)
THIEVES_NETS = st.sampled_from(["", "A", "start"])
POSITIVE, SMALL = st.integers(1, 1000), st.integers(2, 20)
ATTACKS: dict[str, st.SearchStrategy[Any]] = {
    "attack": st.sampled_from(["cloudleak", "jbda"]),
    "labels": st.sampled_from(["soft", "top-3"]),
    "seed_size": st.integers(10, 9999),
    "rounds": st.integers(0, 20),
    "round_epochs": POSITIVE,
    "final_epochs": POSITIVE,
    "step_linf": SHARE,
    "epsilon_linf": SHARE,
    "augment": st.booleans(),
    "images": st.sampled_from(["domain", "own", "textures"]),
    "choice": st.sampled_from(["k-centre", "deepfool"]),
    "pool_size": st.just(0),
    "queries": st.integers(100, 10**9),
    "defence": st.sampled_from(["none", "reverse-sigmoid", "mad"]),
    "defence_budget": st.just(1.0),
    "architecture": st.just(""),
}
ENCODERS: dict[str, st.SearchStrategy[Any]] = {
    "name": st.sampled_from(["paper", "hellinger"]),
    "hidden": st.tuples(POSITIVE, POSITIVE),
    "output": POSITIVE,
    "temperature": SHARE,
    "lr": SHARE,
    "batch_size": st.integers(4, 999),
    "steps": POSITIVE,
    "architectures": st.just(()),
}
MODIFICATIONS = st.one_of(
    st.builds(ModifyConfig, st.just("prune"), SHARE, lr=SHARE, batch_size=SMALL),
    st.builds(ModifyConfig, st.just("fine-tune"), POSITIVE),
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "name": (
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(
            lambda s: s.isprintable() and s not in RECIPES
        )
    ),
    "dataset": st.text(st.characters(codec="utf-8"), max_size=20),
    "seed": st.integers(0, 2**63 - 1),
    "zoo.victim_architecture": st.sampled_from("ABCDE"),
    "zoo.twins": st.integers(0, 999),
    "zoo.references": st.integers(0, 999),
    "zoo.architectures": NETS,
    "zoo.optimisers": st.just(("rmsprop", "sgd")),
    "zoo.batch_sizes": st.lists(POSITIVE, min_size=1).map(tuple),
    "zoo.suspects_per_cell": POSITIVE,
    "zoo.encoder_architectures": NETS,
    "zoo.encoder_per_role": SMALL,
    "zoo.other_victims": SMALL,
    "zoo.look_alikes_per_victim": SMALL,
    "zoo.taken": st.lists(MODIFICATIONS, max_size=3).map(tuple),
    "zoo.data_fraction": SHARE,
    "zoo.thieves": (
        st.lists(
            st.builds(type(DIGITS.zoo.extraction), **ATTACKS | {"architecture": THIEVES_NETS}), max_size=2
        ).map(tuple)
    ),
    "zoo.epochs": (
        st.dictionaries(st.sampled_from(["A", "B", "ferns"]), POSITIVE).map(lambda d: tuple(d.items()))
    ),
    "zoo.mirrored": st.sampled_from([(), ("A",), ("resnet18", "C")]),
    "zoo.widths": st.lists(POSITIVE, min_size=1, max_size=3).map(tuple),
    "zoo.hidden": POSITIVE,
    "zoo.second_attack": st.one_of(st.none(), st.builds(type(DIGITS.zoo.extraction), **ATTACKS)),
    "zoo.start": st.one_of(
        st.none(), st.builds(Start, st.text(max_size=9).filter(str.isprintable), st.just("ab" * 32))
    ),
    "zoo.accuracy_floor": SHARE,
    "zoo.recovery_floor": SHARE,
    "zoo.step_gib": st.floats(0.1, 1e6),
    "zoo.checkpoints": st.just(
        ()
    ),  # those that there may be depend on other fields; see test_published_nets.py
    "zoo.training.epochs": POSITIVE,
    "zoo.training.lr_sgd": SHARE,
    "zoo.training.lr_adam": st.floats(1e-30, 1e-5),
    "zoo.training.lr_rmsprop": SHARE,
    "zoo.training.momentum": SHARE,
    "zoo.training.weight_decay_sgd": SHARE,
    "zoo.training.clip_norm": st.floats(0.1, 1e30),
    "zoo.training.warmup_fraction": SHARE,
    "zoo.training.mirror": st.booleans(),
    "zoo.training.schedule": st.sampled_from(["linear", "cosine"]),
    "zoo.training.crop": st.floats(1e-30, 1),
    "zoo.training.shift": SMALL,
    "zoo.training.precision": st.sampled_from(["auto", "float32", "bfloat16"]),
    **{f"zoo.extraction.{n}": v for n, v in ATTACKS.items()},
    "uap.method": st.sampled_from(["gradient", "deepfool"]),
    "uap.norm": st.sampled_from(["linf", "l2"]),
    "uap.epsilon": SHARE,
    "uap.points": POSITIVE,
    "uap.max_steps": POSITIVE,
    "uap.batch_size": POSITIVE,
    "uap.loss_cap": SHARE,
    "fingerprint.points": POSITIVE,
    "fingerprint.views": st.integers(20, 1000),
    "fingerprint.small_clusters": st.just("error"),
    **{f"encoder.{n}": v for n, v in ENCODERS.items()},
    **{f"paper_encoder.{n}": v for n, v in ENCODERS.items() if n != "name"},
    "paper_encoder.name": st.just("paper"),
    "verdict.level": SHARE,
    "verdict.fingerprints": SMALL,
    "verdict.repeats": POSITIVE,
    "verdict.min_reference_models": SMALL,
    "twin_test.level": SHARE,
    "twin_test.control_questions": POSITIVE,
    "twin_test.looks": st.sets(POSITIVE, min_size=1).map(lambda s: tuple(sorted(s))),
    "twin_test.pool": st.integers(25, 9999),
    "twin_test.foreign": SMALL,
    "twin_test.log": SMALL,
    "twin_test.natural": SMALL,
    "twin_test.statistic": st.just("cosine"),
}


def put(config: Any, path: str, value: Any) -> Any:
    first, _, rest = path.partition(".")
    return replace(config, **{first: put(getattr(config, first), rest, value) if rest else value})


def roomy(recipe: Recipe) -> Recipe:
    """With as many views as any test draws, and no rules between fields that a random change could break."""
    return replace(
        recipe,
        fingerprint=replace(recipe.fingerprint, views=20),
        paper_encoder=replace(recipe.paper_encoder, architectures=()),
    )


def test_random_changes_are_of_every_field() -> None:
    plain = {path for path, _ in walk() if "[]" not in path and not path.startswith(OPTIONAL)}
    assert set(VALUES) == plain | {table.removesuffix(".") for table in OPTIONAL}


@given(st.sampled_from(sorted(RECIPES)), st.data())
def test_any_recipe_reads_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    paths = data.draw(st.lists(st.sampled_from(sorted(VALUES)), max_size=8, unique=True))
    recipe = replace(roomy(RECIPES[name]), name="changed")
    for path in paths:
        recipe = put(recipe, path, data.draw(VALUES[path]))
    folder = tmp_path_factory.mktemp("back")
    back = read_recipe(written(folder, to_toml(recipe)))
    assert back == recipe and back.digest == recipe.digest
    assert {d.path.partition(".")[0] for d in differences(RECIPES[name], back)} <= {
        "fingerprint",
        "paper_encoder",
        *(p.partition(".")[0] for p in paths),
    }
    settings = [f"{d.path}={d.after}" for d in differences(RECIPES[name], recipe)]
    again = recipe_of(name, settings)
    assert replace(again, name="changed") == replace(recipe, name="changed"), (
        "what differs, set, gives the same"
    )


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


# what is refused

BASED = 'inherit = "digits"\n'
WRONG = {
    "unknown field": (
        f"{BASED}[zoo]\nsuspects_per_cel = 2\n",
        "[zoo] suspects_per_cel is not a field of [zoo]; did you mean suspects_per",
    ),
    "unknown table": (f"{BASED}[zooo]\ntwins = 2\n", "zooo is not a field; did you mean zoo?"),
    "field of another table": (
        f"{BASED}[zoo]\nepsilon = 0.1\n",
        "[zoo] epsilon is not a field of [zoo]; there is uap.epsilon",
    ),
    "field like no other": (
        f"{BASED}[uap]\nqqq = 1\n",
        "expected one of method, norm, epsilon, points, max_steps, batch_size, loss_cap",
    ),
    "nested field": (
        f"{BASED}[zoo.training]\nepoch = 2\n",
        "[zoo.training] epoch is not a field of [zoo.training]; did you mean epochs?",
    ),
    "string for an integer": (
        f'{BASED}[zoo]\ntwins = "5"\n',
        '[zoo] twins is "5", a string; expected an integer',
    ),
    "float for an integer": (
        f"{BASED}[zoo]\ntwins = 5.0\n",
        "[zoo] twins is 5.0, a floating-point number; expected an integer",
    ),
    "true for an integer": (
        f"{BASED}[zoo]\ntwins = true\n",
        "[zoo] twins is true, a truth value; expected an integer",
    ),
    "true for a number": (
        f"{BASED}[uap]\nepsilon = true\n",
        "[uap] epsilon is true, a truth value; expected a number",
    ),
    "1 for true": (
        f"{BASED}[zoo.training]\nmirror = 1\n",
        "[zoo.training] mirror is 1, an integer; expected true or false",
    ),
    "number for a string": (
        "inherit = 'digits'\ndataset = 5\n",
        'dataset is 5, an integer; expected a string, in quotes: "5"',
    ),
    "date for a string": (
        f"{BASED}dataset = 2024-01-01\n",
        "dataset is 2024-01-01, a date or time; expected a string",
    ),
    "string for a list": (
        f'{BASED}[zoo]\narchitectures = "B"\n',
        '[zoo] architectures is "B", a string; expected a list of strings',
    ),
    "string for a table": (f'{BASED}zoo = "B"\n', 'zoo is "B", a string; expected a table'),
    "table for an integer": (f"{BASED}[zoo.twins]\na = 1\n", "[zoo] twins is a table; expected an integer"),
    "number for a table of names": (
        f"{BASED}[zoo]\nepochs = 3\n",
        "epochs is 3, an integer; expected a table of names, each with an int",
    ),
    "pairs that are none": (
        f'{BASED}[zoo]\nepochs = [["A"]]\n',
        "[zoo] epochs[0] is ['A'], a list; expected a list of 2: a string",
    ),
    "a name twice": (f'{BASED}[zoo]\nepochs = [["A", 3], ["A", 4]]\n', "expected each architecture once"),
    "wrong item": (
        f"{BASED}[zoo]\nbatch_sizes = [8, 16.5]\n",
        "[zoo] batch_sizes[1] is 16.5, a floating-point number; expected an",
    ),
    "wrong length": (f"{BASED}[encoder]\nhidden = [5]\n", "expected a list of 2 integers"),
    "wrong choice": (f'{BASED}[zoo.extraction]\nattack = "jdba"\n', '"dfme", "disguide"; did you mean jbda?'),
    "wrong choice in a list": (
        f'{BASED}[zoo]\noptimisers = ["sdg"]\n',
        '[zoo] optimisers[0] is "sdg", a string; expected one of "sgd"',
    ),
    "unknown architecture": (
        f'{BASED}[zoo]\narchitectures = ["resnet19"]\n',
        '[zoo] architectures names the architecture "resnet19"',
    ),
    "epochs of no architecture": (f"{BASED}[zoo.epochs]\nresnet8 = 3\n", "did you mean resnet"),
    "mirrored of no architecture": (
        f'{BASED}[zoo]\nmirrored = ["Z"]\n',
        '[zoo] mirrored names the architecture "Z", which there is not',
    ),
    "wrong epochs": (
        f'{BASED}[zoo.epochs]\nA = "3"\n',
        '[zoo.epochs] A is "3", a string; expected an integer',
    ),
    "out of range": (f"{BASED}[zoo]\ntwins = 5000\n", "[zoo] twins is 5000; expected 0 to 999"),
    "out of range below": (
        f"{BASED}[zoo.training]\nepochs = 0\n",
        "[zoo.training] epochs is 0; expected at least 1",
    ),
    "not finite": (
        f"{BASED}[zoo.training]\nclip_norm = inf\n",
        "[zoo.training] clip_norm is inf; expected a finite number",
    ),
    "two fields at odds": (
        f"{BASED}[verdict]\nfingerprints = 9\n",
        "[verdict] fingerprints is 9, but a suspect has only 8 ([fingerprint]",
    ),
    "encoder of none": (
        f'{BASED}[encoder]\narchitectures = ["E"]\n',
        "[encoder] or [paper_encoder] architectures is ('E',)",
    ),
    "item lacks a field": (
        f'{BASED}[[zoo.taken]]\nkind = "prune"\n',
        "[zoo.taken[0]] strength is missing; expected a number",
    ),
    "item out of range": (
        f'{BASED}[[zoo.taken]]\nkind = "prune"\nstrength = 2\n',
        "[zoo.taken[0]] strength is 2.0; expected a share in",
    ),
    "second item": (
        f'{BASED}[zoo]\ntaken = [{{kind="int8", strength=8}}, {{knd="prune"}}]\n',
        "[zoo.taken[1]] knd is not a field",
    ),
    "neither inherit nor dataset": (
        "[zoo]\ntwins = 3\n",
        'expected inherit = "NAME", to change a recipe, or dataset = "NAME"',
    ),
    "inherit of a number": (
        "inherit = 5\n",
        "inherit is 5, an integer; expected a recipe's name, or a file's, in quotes",
    ),
    "inherit of none": ('inherit = "digit"\n', "unknown recipe 'digit'; known recipes: cifar10-paper"),
    "inherit of a missing file": (
        'inherit = "no.toml"\n',
        "no.toml does not exist; expected a recipe's TOML file, or one of cifar10",
    ),
    "a name of ours": (
        f'{BASED}name = "digits"\nseed = 5\n',
        "a recipe of zooaudit's own that differs in seed (0 there, 5 here)",
    ),
    "an unprintable name": (f'{BASED}name = "a\\nb"\n', "name is 'a\\nb'; expected a printable name"),
    "no TOML": (
        f"{BASED}[zoo\ntwins = 3\n",
        "is not TOML: Expected ']' at the end of a table declaration (at line 2, column 5)",
    ),
    "a bare word": (
        f"{BASED}[zoo]\nvictim_architecture = B\n",
        "is not TOML: Invalid value (at line 3, column 23)",
    ),
    "twice": (f"{BASED}seed = 1\nseed = 2\n", "is not TOML: Cannot overwrite a value (at line 3, column 9)"),
    "brackets": ("x = " + "[" * 100_000, "is not TOML that can be read"),
    "a date that is none": (f"{BASED}dataset = 2024-13-45\n", "is not TOML"),
    "digits without end": (f"{BASED}seed = {'9' * 10_000}\n", "is not TOML that can be read"),
    "too large": ("#" * 2**20 + "\n", "is larger than 1,048,576 bytes"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_a_file_is_named(case: str, tmp_path: Path) -> None:
    text, message = WRONG[case]
    with pytest.raises(ConfigError) as caught:
        read_recipe(written(tmp_path, text))
    words = str(caught.value)
    assert message in words and str(tmp_path) in words and ("mine.toml" in words or "no.toml" in words), words


def test_an_error_of_an_inherited_file_names_that_file(tmp_path: Path) -> None:
    written(tmp_path, f"{BASED}[zoo]\ntwin = 3\n", "base.toml")
    with pytest.raises(
        ConfigError, match=r"base\.toml: \[zoo\] twin is not a field of \[zoo\]; did you mean twins\?"
    ):
        read_recipe(written(tmp_path, 'inherit = "base.toml"\n'))


def test_what_is_no_text_or_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes('dataset = "é"\n'.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin\.toml: byte 11 is not UTF-8"):
        read_recipe(tmp_path / "latin.toml")
    with pytest.raises(ConfigError, match="is a folder"):
        recipe_of(f"{tmp_path}/")
    written(tmp_path, BASED, "there.toml")
    for named, result in (
        ("fmnist-quik", "did you mean fmnist-quick"),
        ("nowhere.toml", "nowhere.toml does not exist"),
    ):
        with pytest.raises(ConfigError, match=result):
            recipe_of(named)


def test_a_file_without_its_ending_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, BASED, "there.toml")
    with pytest.raises(ConfigError, match=r"there is a file there\.toml: add \.toml for it"):
        recipe_of("there")


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


SET_WRONG = {
    "zoo.suspects_per_cel=5": (
        "--set zoo.suspects_per_cel is not a field of [zoo]; did you mean suspects_per_cell?"
    ),
    "zoo.twins=five": '--set zoo.twins is "five", a string; expected an integer',
    "zoo.twins=5.0": "--set zoo.twins is 5.0, a floating-point number; expected an integer",
    "zoo.twins=true": "--set zoo.twins is true, a truth value; expected an integer",
    "zoo.twins=1000": "--set zoo.twins is 1000; expected 0 to 999",
    "zoo.training.mirror=True": '--set zoo.training.mirror is "True", a string; expected true or false',
    "zoo.architectures=[B, C]": "the value is not TOML",
    "zoo.victim_architecture=Q": '--set zoo.victim_architecture names the architecture "Q"',
    "dataset=5": 'in quotes: "5"',
    "twins=5": "--set twins is not a field; there is zoo.twins",
    "inherit=digits": "--set inherit is not a field",
    "verdict.fingerprints=9": "--set: [verdict] fingerprints is 9, but a suspect has only 8",
    "zoo.taken.kind=prune": "--set zoo.taken is a table; expected a list of tables",
    "zoo.twins": "--set 'zoo.twins' is not a setting; expected for example zoo.references=8",
    "zoo.twins=": "--set zoo.twins has no value",
    "=5": "is not a setting",
    "zoo twins=5": "is not TOML",
    "zoo..twins=x": "is not a field's name",
    "zoo.twins=5\nzoo.references=8": "is not a setting",
    "zoo.twins=5 6": "is not TOML",
    "name=cifar10-small": "a recipe of zooaudit's own that differs in dataset",
}


@pytest.mark.parametrize("setting", SET_WRONG)
def test_what_is_wrong_with_a_setting_is_named(setting: str) -> None:
    with pytest.raises(ConfigError) as caught:
        recipe_of("digits", [setting])
    assert SET_WRONG[setting] in str(caught.value)


@pytest.mark.parametrize(
    "pair",
    [
        ("zoo.twins=5", "zoo.twins=7"),
        ("zoo.training={epochs=3}", "zoo.training.epochs=3"),
        ("zoo.epochs=[]", "zoo.epochs.A=2"),
    ],
)
def test_what_is_set_twice_is_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match="is set twice; expected once"):
        recipe_of("digits", pair)


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


# on the command line


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
    "list with settings": (["recipe", "list", "--set", "seed=3"], "--set says nothing to recipe list"),
    "show with data": (["recipe", "show", "digits", "--data", "."], "--data says nothing to recipe show"),
    "check with a victim": (
        ["recipe", "check", "digits", "--victim", "x.pt2"],
        "--victim says nothing to recipe check",
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
        "note: zoo.training.epochs does not change A",
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
    steps.plan(TINY, digits, artifacts, own)
    strict = replace(TINY, zoo=replace(TINY.zoo, accuracy_floor=0.999))
    with pytest.raises(ModelError, match=r"under the recipe's floor 0\.999"):
        steps.plan(strict, digits, artifacts, own)
    assert steps.plan(TINY, digits, artifacts, own).victim == own.id


# the fields


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
