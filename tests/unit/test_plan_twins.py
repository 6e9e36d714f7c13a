"""Twins and references in the plan of a zoo."""

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support.makers import Affine
from tests.support.plans import SHAPE, ZOOS, plan
from zooaudit.auditing.twin_step import procedure, reference
from zooaudit.config import EncoderConfig, ExtractConfig, ModifyConfig, OwnTraining, TrainConfig, ZooConfig
from zooaudit.data.images import ImageSet
from zooaudit.errors import ConfigError
from zooaudit.planning.footprint import model_bytes
from zooaudit.planning.measured import DOMAINS
from zooaudit.planning.sizing import planned
from zooaudit.recipes.named import RECIPES
from zooaudit.zoo.build import training_half
from zooaudit.zoo.plan import Plan, plan_zoo
from zooaudit.zoo.reference_nets import REFERENCE_NETS
from zooaudit.zoo.schedule import by_longest_path
from zooaudit.zoo.spec import Group, ModelSpec, Role

BEFORE_TWINS = {
    "digits": (19, "222ed0acf23c5653", "victim-A-sgd-8f85d66bfd6dc078"),
    "fmnist-paper": (309, "7b4f5bbb1dba8c56", "victim-A-sgd-9a1643c91aa146cc"),
    "cifar10-paper": (109, "9dd994a72d714471", "victim-resnet18-sgd-d1f23b4ba01a1892"),
}
"""What these recipes planned at commit 02c67a1, without hardened models, which no recipe has any more: how
many models, a digest of all their ids, the victim."""
AS_IT_WAS: dict[str, dict[str, Any]] = {
    "fmnist-paper": {
        "encoder_architectures": ("E", "B", "C", "D"),
        "encoder_per_role": 20,
        "extraction": ExtractConfig(),
    }
}
"""What of a recipe's zoo has changed since; its seed, too."""


@pytest.mark.parametrize("name", BEFORE_TWINS)
def test_models_from_before_there_were_twins_keep_their_ids(name: str) -> None:
    recipe = RECIPES[name]
    then = replace(recipe.zoo, twins=0, references=0, **AS_IT_WAS.get(name, {}))
    seed = 7 if name == "fmnist-paper" else recipe.seed
    bare = replace(recipe, zoo=then, seed=seed, paper_encoder=EncoderConfig(), encoder=EncoderConfig())
    found = planned(bare, DOMAINS[recipe.dataset])
    ids = sorted(s.id for s in found.specs)
    assert (len(ids), hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16], found.victim) == BEFORE_TWINS[
        name
    ]


@given(ZOOS)
def test_twins_are_the_victim_with_another_seed(zoo: ZooConfig) -> None:
    found = plan(zoo)
    victim, twins = found.of(Role.VICTIM)[0], found.of(Role.TWIN)
    assert found.specs[1 : 1 + zoo.twins] == tuple(twins), "they come right after the victim"
    assert len({s.seed for s in [victim, *twins]}) == 1 + zoo.twins
    for twin in twins:
        assert replace(twin, role=Role.VICTIM, group=Group.SOURCE, seed=victim.seed, overlap=None) == victim


@given(st.integers(10, 500), st.floats(0.1, 0.9), st.integers(0, 2**63 - 1))
def test_a_twin_sees_the_very_images_that_the_victim_saw_in_another_order(
    size: int, fraction: float, seed: int
) -> None:
    found = plan(ZooConfig(twins=2, data_fraction=fraction), seed)
    train = ImageSet(torch.zeros(size, 1, 1, 1, dtype=torch.uint8), torch.zeros(size, dtype=torch.int64))
    halves = [training_half(s, train).tolist() for s in (*found.of(Role.VICTIM), *found.of(Role.TWIN))]
    assert all(sorted(half) == sorted(halves[0]) for half in halves)
    if len(halves[0]) > 20:
        assert halves[1] != halves[0] != halves[2] != halves[1]


def test_references_are_of_many_procedures_and_never_made_from_a_candidate() -> None:
    second = ExtractConfig(attack="jbda")
    found = plan(ZooConfig(references=32, other_victims=3, second_attack=second))
    trained = [s for s in found.of(Role.REFERENCE) if s.extraction is None]
    extracted = [s for s in found.of(Role.REFERENCE) if s.extraction is not None]
    others = [s for s in trained if s.architecture in REFERENCE_NETS]
    trained = [s for s in trained if s not in others]
    assert (len(trained), len(extracted), len(others)) == (7, 9, 16)
    assert {s.architecture for s in trained} == set("ABCDE") and {s.optimiser for s in trained} == {
        "sgd",
        "adam",
        "rmsprop",
    }
    assert ("A", "sgd") not in {(s.architecture, s.optimiser) for s in trained}, (
        "the victim's own procedure would teach nothing"
    )
    assert {s.parent for s in extracted} == {s.id for s in trained}, (
        "of strangers that no suspect was extracted from"
    )
    assert {s.architecture for s in others} == set(REFERENCE_NETS) and {s.floor for s in others} == {0.4}
    assert len({(s.architecture, s.optimiser) for s in others}) == 16, "by another optimiser the next time"
    kinds = {reference(s).kind for s in found.of(Role.REFERENCE)}
    assert kinds == {
        "trained",
        *REFERENCE_NETS,
        *(f"{a} ({labels})" for a in ("cloudleak", "jbda") for labels in ("soft", "hard")),
    }
    assert {(s.extraction.attack, s.extraction.labels) for s in extracted if s.extraction} == {
        (attack, labels) for attack in ("cloudleak", "jbda") for labels in ("soft", "hard")
    }
    assert {s.architecture for s in extracted} == set("BCDE")


def test_one_optimiser_leaves_the_victims_architecture_among_the_references() -> None:
    found = plan(ZooConfig(references=32, other_victims=0, optimisers=("sgd",)))
    assert {s.architecture for s in found.of(Role.REFERENCE)} == {*"ABCDE", *REFERENCE_NETS}


OWN = OwnTraining("nets:make", "c0de", function="nets:train")


def test_an_own_victim_has_the_twins_of_its_own_procedure() -> None:
    found = plan_zoo(ZooConfig(twins=3), "data", SHAPE, 0, "victim-own-123", OWN)
    twins = found.of(Role.TWIN)
    assert found.specs[:3] == tuple(twins)
    assert {(s.group, s.own_training, s.parent, s.floor) for s in twins} == {(Group.VERDICT, OWN, None, 0.8)}
    assert len({s.seed for s in twins}) == 3 and all(0 <= s.seed < 2**31 for s in twins)
    assert procedure(twins[0]) == "by the owner's own function: nets:train"
    assert all(s.id.startswith("twin-own-") for s in twins)
    train = ImageSet(torch.zeros(9, 1, 1, 1, dtype=torch.uint8), torch.zeros(9, dtype=torch.int64))
    assert training_half(twins[0], train).tolist() == list(range(9))
    for spec in twins:
        again = ModelSpec.from_json(json.loads(json.dumps(spec.to_json())))
        assert again == spec and again.id == spec.id


def test_an_own_victim_without_a_procedure_has_no_twins_but_references() -> None:
    found = plan(ZooConfig(), own="victim-own-123")
    assert found.of(Role.TWIN) == []
    assert found.of(Role.REFERENCE) == plan(ZooConfig()).of(Role.REFERENCE) != []


def test_an_own_twins_id_changes_with_its_procedure_but_not_with_patience_or_our_training() -> None:
    def ids(own: OwnTraining, **changes: Any) -> list[str]:
        zoo = ZooConfig(twins=2, **changes)
        return [s.id for s in plan_zoo(zoo, "data", SHAPE, 0, "victim-own-123", own).of(Role.TWIN)]

    others = [
        replace(OWN, code="0ther"),
        replace(OWN, function="nets:other"),
        replace(OWN, factory="nets:other"),
    ]
    others.append(OwnTraining("nets:make", "c0de", command="train {seed} {out}"))
    assert len({ids(own)[0] for own in (OWN, *others)}) == 5
    assert ids(OWN) == ids(replace(OWN, timeout_s=5.0))
    assert ids(OWN) == ids(OWN, training=TrainConfig(epochs=9), widths=(4,), hidden=3, batch_sizes=(7,))


def test_a_procedure_is_a_function_or_a_command() -> None:
    for both in ({"function": "", "command": ""}, {"function": "a:b", "command": "c"}):
        with pytest.raises(ConfigError, match="expected a function or a command, one of the two"):
            OwnTraining("nets:make", "c0de", **both)
    for seconds in (0, -1, float("inf"), float("nan")):
        with pytest.raises(
            ConfigError, match=r"OwnTraining.timeout_s is .*; expected a positive number of seconds"
        ):
            replace(OWN, timeout_s=seconds)


@pytest.mark.parametrize("field", ["twins", "references"])
def test_how_many_twins_and_references_there_may_be(field: str) -> None:
    for count in (-1, 1000):
        with pytest.raises(ConfigError, match=f"ZooConfig.{field} is {count}; expected 0 to 999"):
            ZooConfig(**{field: count})


def test_what_an_own_procedure_trains_can_be_ordered_and_sized() -> None:
    own = replace(OWN, factory="tests.support.makers:Affine")
    found = plan_zoo(ZooConfig(twins=2), "data", SHAPE, 0, "victim-own-123", own)
    order = by_longest_path(found.specs, 60_000)
    assert {s.role for s in order[:2]} == {Role.TWIN}, "nobody knows how long they take, so they come first"
    weights = sum(t.numel() * t.element_size() for t in Affine().state_dict().values())
    more = (
        model_bytes(found)["model"]
        - model_bytes(Plan(found.victim, tuple(s for s in found.specs if s.role is not Role.TWIN)))["model"]
    )
    assert 2 * weights < more < 2 * (weights + 4000)


def test_thieves_of_weights_are_made_of_the_victim_itself() -> None:
    found = plan(ZooConfig(taken=(ModifyConfig("fine-tune", 5), ModifyConfig("int8", 8))))
    (victim,), made = (
        found.of(Role.VICTIM),
        [s for s in found.of(Role.PIRACY, Group.SUSPECT) if s.modification],
    )
    assert [(s.parent, s.architecture, s.modification and s.modification.kind) for s in made] == [
        (victim.id, "A", "fine-tune"),
        (victim.id, "A", "int8"),
    ]
    assert not [
        s
        for s in plan(ZooConfig(taken=(ModifyConfig("int8", 8),)), own="victim-own-1").of(Role.PIRACY)
        if s.modification
    ]
