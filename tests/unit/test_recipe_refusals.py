"""What is wrong with a recipe, in a file or by --set, is named."""

from pathlib import Path

import pytest

from tests.support.recipe_files import BASED, written
from zooaudit.errors import ConfigError
from zooaudit.recipes.read import read_recipe, recipe_of

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
        '[zoo] mirrored names the architecture "Z", which does not exist',
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
        "a built-in recipe that differs in seed (0 there, 5 here)",
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
    "name=cifar10-small": "a built-in recipe that differs in dataset",
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
