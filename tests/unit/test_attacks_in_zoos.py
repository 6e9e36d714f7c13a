"""Attacks as a recipe orders them."""

from collections.abc import Callable

import pytest

from tests.support.makers import extracted_spec, shape_of, trained_spec
from zooaudit.config import ATTACKS, ExtractConfig, ZooConfig
from zooaudit.data.images import Dataset
from zooaudit.data.textures import textures
from zooaudit.errors import ConfigError
from zooaudit.zoo.attacks import extract
from zooaudit.zoo.plan import plan_zoo
from zooaudit.zoo.schedule import relative_cost
from zooaudit.zoo.spec import ModelSpec, Role


def test_more_thieves_are_more_suspects(digits: Dataset) -> None:
    attacks = (
        ExtractConfig("distill", seed_size=50),
        ExtractConfig("knockoff", "hard", 50, images="textures"),
        ExtractConfig("dfme"),
    )
    plain = plan_zoo(ZooConfig(), digits.digest, shape_of(digits), 0)
    more = plan_zoo(ZooConfig(thieves=attacks), digits.digest, shape_of(digits), 0)
    new = [s for s in more.specs if s.id not in {p.id for p in plain.specs}]
    assert [s.extraction for s in new] == list(attacks) and all(
        s.parent == more.victim and s.role is Role.PIRACY for s in new
    )
    assert {s.id for s in plain.specs} < {s.id for s in more.specs}
    assert all(relative_cost(s, len(digits.train)) > 0 for s in new)
    assert ModelSpec.from_json(new[1].to_json()) == new[1]


def test_attacks_of_before_keep_their_ids(digits: Dataset) -> None:
    spec = extracted_spec(digits, trained_spec(digits))
    assert not {"images", "choice", "pool_size", "queries"} & spec.to_json()["extraction"].keys()


Wrong = Callable[[], ExtractConfig]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: ExtractConfig("dfme", "hard"), "soft: dfme estimates gradients from probabilities"),
        (lambda: ExtractConfig("distil"), "attack is 'distil'; expected cloudleak, jbda, distill"),
        (lambda: ExtractConfig(labels="top-5"), "labels is 'top-5'; expected soft, hard, top-1"),
        (lambda: ExtractConfig("disguide", queries=50), "queries is 50; expected 100 to"),
        (lambda: ExtractConfig("distill", pool_size=9000), "pool_size is 9000; expected 0: only activethief"),
        (
            lambda: ExtractConfig("activethief", seed_size=100, rounds=3, pool_size=300),
            "pool_size is 300; expected the 400 asked about, or more",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: Wrong, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        wrong()


def test_every_attack_has_its_function() -> None:
    assert set(extract.ATTACKS) == set(ATTACKS)
    assert textures(2, (1, 8, 8), 0).shape == (2, 1, 8, 8)
