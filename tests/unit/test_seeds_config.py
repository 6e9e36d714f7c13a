"""Seeds, recipes and the error tree: what is validated before anything runs."""

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zooaudit import errors
from zooaudit.config import (
    EncoderConfig,
    ExtractConfig,
    FingerprintConfig,
    Recipe,
    TrainConfig,
    UapConfig,
    VerdictConfig,
    ZooConfig,
    canonical_json,
    digest_of,
)
from zooaudit.errors import ConfigError
from zooaudit.recipes.named import DIGITS, RECIPES, get_recipe
from zooaudit.seeds import derive

SEEDS = st.integers(0, 2**63 - 1)
NAMES = st.one_of(st.integers(), st.text(st.characters(exclude_characters="/"), max_size=8))
PATHS = st.lists(NAMES, min_size=1, max_size=4)


@given(SEEDS, PATHS)
def test_derived_seed_is_in_range_and_depends_on_nothing_else(seed: int, names: list[Any]) -> None:
    assert 0 <= derive(seed, *names) < 2**63
    assert derive(seed, *names) == derive(seed, *names)


@given(SEEDS, PATHS, st.data())
def test_derived_seed_changes_with_every_name_and_with_the_seed(
    seed: int, names: list[Any], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(names) - 1))
    other = data.draw(NAMES.filter(lambda name: str(name) != str(names[at])))
    assert derive(seed, *names) != derive(seed, *names[:at], other, *names[at + 1 :])
    assert derive(seed, *names) != derive((seed + 1) % 2**63, *names)
    assert derive(seed, *names) != derive(seed, *names, "")


def test_derived_seed_is_pinned() -> None:
    """Every published number hangs on this derivation."""
    assert derive(0, "uap") == 564714204643566098


TOO_BAD = [
    (TrainConfig, "epochs", 0),
    (TrainConfig, "epochs", -3),
    (TrainConfig, "lr_sgd", 0.0),
    (TrainConfig, "lr_sgd", 10.0),
    (TrainConfig, "lr_adam", -1e-3),
    (TrainConfig, "lr_rmsprop", math.nan),
    (TrainConfig, "momentum", -0.1),
    (TrainConfig, "momentum", 1.5),
    (TrainConfig, "weight_decay_sgd", -1e-4),
    (TrainConfig, "weight_decay_sgd", math.nan),
    (TrainConfig, "clip_norm", 0.0),
    (TrainConfig, "clip_norm", math.nan),
    (TrainConfig, "clip_norm", math.inf),
    (TrainConfig, "warmup_fraction", 0.0),
    (TrainConfig, "warmup_fraction", 1.0),
    (TrainConfig, "precision", "float16"),
    (ExtractConfig, "attack", "knockout"),
    (ExtractConfig, "labels", "noisy"),
    (ExtractConfig, "images", "theirs"),
    (ExtractConfig, "choice", "margin"),
    (ExtractConfig, "pool_size", -1),
    (ExtractConfig, "queries", 99),
    (ExtractConfig, "seed_size", 9),
    (ExtractConfig, "rounds", -1),
    (ExtractConfig, "rounds", 21),
    (ExtractConfig, "round_epochs", 0),
    (ExtractConfig, "final_epochs", 0),
    (ExtractConfig, "step_linf", 0.0),
    (ExtractConfig, "step_linf", 1.1),
    (ExtractConfig, "epsilon_linf", 0.0),
    (ExtractConfig, "epsilon_linf", math.nan),
    (ZooConfig, "architectures", ()),
    (ZooConfig, "encoder_architectures", ()),
    (ZooConfig, "optimisers", ()),
    (ZooConfig, "optimisers", ("sgd", "lion")),
    (ZooConfig, "batch_sizes", ()),
    (ZooConfig, "batch_sizes", (64, 0)),
    (ZooConfig, "widths", ()),
    (ZooConfig, "widths", (16, 0)),
    (ZooConfig, "hidden", 0),
    (ZooConfig, "suspects_per_cell", 0),
    (ZooConfig, "encoder_per_role", 1),
    (ZooConfig, "other_victims", -1),
    (ZooConfig, "look_alikes_per_victim", -1),
    (ZooConfig, "data_fraction", 0.0),
    (ZooConfig, "data_fraction", 1.0),
    (ZooConfig, "accuracy_floor", 1.0),
    (ZooConfig, "accuracy_floor", -0.1),
    (ZooConfig, "recovery_floor", 1.0),
    (ZooConfig, "architectures", ("B", "B")),
    (ZooConfig, "optimisers", ("sgd", "sgd")),
    (ZooConfig, "epochs", (("A", 0),)),
    (UapConfig, "method", "fgsm"),
    (UapConfig, "norm", "l1"),
    (UapConfig, "epsilon", 0.0),
    (UapConfig, "epsilon", 1.0),
    (UapConfig, "epsilon", 10.0),
    (UapConfig, "epsilon", math.nan),
    (UapConfig, "points", 0),
    (UapConfig, "max_steps", 0),
    (UapConfig, "max_steps", 100_001),
    (UapConfig, "batch_size", 0),
    (UapConfig, "loss_cap", 0.0),
    (UapConfig, "loss_cap", math.inf),
    (FingerprintConfig, "points", 0),
    (FingerprintConfig, "points", 10_001),
    (FingerprintConfig, "views", 1),
    (FingerprintConfig, "views", 1_001),
    (FingerprintConfig, "small_clusters", "ignore"),
    (EncoderConfig, "hidden", (50,)),
    (EncoderConfig, "hidden", (50, 0)),
    (EncoderConfig, "output", 0),
    (EncoderConfig, "temperature", 0.0),
    (EncoderConfig, "temperature", 11.0),
    (EncoderConfig, "lr", 1.0),
    (EncoderConfig, "batch_size", 3),
    (EncoderConfig, "steps", 0),
    (VerdictConfig, "level", 0.0),
    (VerdictConfig, "level", 0.5),
    (VerdictConfig, "fingerprints", 1),
    (VerdictConfig, "repeats", 0),
    (VerdictConfig, "min_reference_models", 1),
]


@pytest.mark.parametrize(
    ("owner", "field", "value"), TOO_BAD, ids=lambda v: v.__name__ if isinstance(v, type) else str(v)
)
def test_value_out_of_range_is_named(owner: type, field: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        owner(**{field: value})
    message = str(caught.value)
    assert f"{owner.__name__}.{field} is {value!r}" in message
    assert "; expected " in message


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.inf, math.nan])
def test_l2_radius_must_be_positive_and_bind(epsilon: float) -> None:
    with pytest.raises(ConfigError, match=r"UapConfig\.epsilon"):
        UapConfig(norm="l2", epsilon=epsilon)
    assert UapConfig(norm="l2", epsilon=3.0).epsilon == 3.0


@pytest.mark.parametrize(("field", "value"), [("name", ""), ("seed", -1), ("seed", 2**63)])
def test_recipe_out_of_range_is_named(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"Recipe\.{field}"):
        dataclasses.replace(DIGITS, **{field: value})


def test_more_fingerprints_than_views_says_how_to_mend_it() -> None:
    with pytest.raises(
        ConfigError,
        match=r"VerdictConfig\.fingerprints is 9.*only 8 \(FingerprintConfig\.views\).*raise views to 9",
    ):
        dataclasses.replace(
            DIGITS, verdict=VerdictConfig(fingerprints=9), fingerprint=FingerprintConfig(points=20, views=8)
        )


def test_configs_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        DIGITS.uap.epsilon = 5.0


def test_epochs_of_a_named_architecture_differ_from_the_rest() -> None:
    zoo = ZooConfig(training=TrainConfig(epochs=4), epochs=(("A", 6),))
    assert zoo.training_of("A") == TrainConfig(epochs=6)
    assert zoo.training_of("B") == TrainConfig(epochs=4)


def other_values(value: Any) -> list[Any]:
    """Valid values other than ``value`` to try in a field."""
    if isinstance(value, int):
        return [value + 1]
    if isinstance(value, float):
        return [value * 0.9 or 1.0]
    others = {
        "auto": "float32",
        "soft": "hard",
        "cloudleak": "jbda",
        "gradient": "deepfool",
        "recluster": "error",
        "linear": "cosine",
        "domain": "own",
        "uncertainty": "k-centre",
        "none": "reverse-sigmoid",
    }
    return [others[value]] if value in others else []


def test_digest_changes_with_every_field() -> None:
    def variants(config: Any) -> list[Any]:
        found = []
        for field in dataclasses.fields(config):
            value = getattr(config, field.name)
            if isinstance(value, tuple) or value is None:
                continue
            # Of attacks that choose alone, of defences that have one.
            if field.name in ("pool_size", "defence_budget"):
                continue
            others = variants(value) if dataclasses.is_dataclass(value) else other_values(value)
            found += [dataclasses.replace(config, **{field.name: other}) for other in others]
        return found

    roomy = dataclasses.replace(DIGITS, fingerprint=FingerprintConfig(points=20, views=12))
    digests = [roomy.digest, *(r.digest for r in variants(roomy))]
    assert len(digests) > 40
    assert len(set(digests)) == len(digests)
    assert dataclasses.replace(roomy).digest == roomy.digest


@given(st.dictionaries(st.text(max_size=5), st.integers(), min_size=2, max_size=5))
def test_equal_values_have_equal_json(value: dict[str, int]) -> None:
    backwards = dict(reversed(value.items()))
    assert canonical_json(value) == canonical_json(backwards)
    assert digest_of(value) == digest_of(backwards)


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_found_by_their_names(name: str) -> None:
    recipe = get_recipe(name)
    assert isinstance(recipe, Recipe)
    assert recipe.name == name


def test_unknown_recipe_lists_the_known() -> None:
    with pytest.raises(
        ConfigError, match=r"unknown recipe 'cifar'; known recipes: cifar10-paper, .*digits, "
    ):
        get_recipe("cifar")


@pytest.mark.parametrize(
    ("error", "code", "base"),
    [
        (errors.InputError, 2, ValueError),
        (errors.ConfigError, 2, errors.InputError),
        (errors.DataError, 2, errors.InputError),
        (errors.ModelError, 2, errors.InputError),
        (errors.AnswersError, 2, errors.InputError),
        (errors.StoreError, 3, errors.ZooauditError),
        (errors.MissingArtifactError, 3, errors.StoreError),
        (errors.DamagedArtifactError, 3, errors.StoreError),
        (errors.NotEnoughModelsError, 4, errors.ZooauditError),
        (errors.FarmError, 5, errors.ZooauditError),
    ],
)
def test_error_tree_is_as_drawn(error: type[errors.ZooauditError], code: int, base: type) -> None:
    assert issubclass(error, errors.ZooauditError)
    assert issubclass(error, base)
    assert error.exit_code == code
    assert error.__name__ in (errors.__doc__ or "")
