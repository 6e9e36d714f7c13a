"""Recipes are written whole and read back the same."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.recipe_files import ids, written
from zooaudit.config import DEFENCES, ModifyConfig, Recipe, Start
from zooaudit.recipes.differences import differences
from zooaudit.recipes.fields import walk
from zooaudit.recipes.named import DIGITS, RECIPES
from zooaudit.recipes.read import read_recipe, recipe_of
from zooaudit.recipes.write import to_toml

OPTIONAL = ("zoo.second_attack.", "zoo.start.")
"""Tables that a recipe may do without."""


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
# Those that there may be depend on other fields; see test_checkpoints.py.
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
    "zoo.checkpoints": st.just(()),
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
    "twin_test.defence": st.sampled_from(DEFENCES),
    "twin_test.defence_budget": st.just(1.0),
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
