"""The plan of the zoo: which models, with which parents, under which ids."""

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support.makers import Affine
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
from zooaudit.zoo.shape import ModelShape
from zooaudit.zoo.spec import Group, ModelSpec, Role

SHAPE = ModelShape((1, 28, 28), 10, (0.286,), (0.353,), (16, 32), 128)
ZOOS = st.builds(
    ZooConfig,
    architectures=st.sampled_from([("B",), ("B", "C"), ("D", "E", "B", "C")]),
    optimisers=st.sampled_from([("sgd",), ("adam", "sgd"), ("sgd", "adam", "rmsprop")]),
    suspects_per_cell=st.integers(1, 3),
    encoder_per_role=st.integers(2, 5),
    other_victims=st.integers(0, 3),
    look_alikes_per_victim=st.integers(0, 5),
    twins=st.integers(0, 5),
    references=st.integers(0, 7),
    second_attack=st.sampled_from([None, ExtractConfig(attack="jbda")]),
)


def plan(zoo: ZooConfig, seed: int = 0, own: str | None = None) -> Plan:
    return plan_zoo(zoo, "data", SHAPE, seed, own)


@given(ZOOS)
def test_counts_follow_from_the_config(zoo: ZooConfig) -> None:
    found = plan(zoo)
    cells = len(zoo.architectures) * len(zoo.optimisers) * zoo.suspects_per_cell
    assert len(found.of(Role.VICTIM)) == 1
    assert len(found.of(Role.OTHER_VICTIM)) == zoo.other_victims
    for role in (Role.PIRACY, Role.HOMOLOGOUS):
        assert len(found.of(role, Group.ENCODER)) == zoo.encoder_per_role
        assert len(found.of(role, Group.SUSPECT)) == cells
        assert len(found.of(role)) == cells + zoo.encoder_per_role
    assert len(found.of(Role.LOOK_ALIKE)) == zoo.other_victims * zoo.look_alikes_per_victim
    assert len(found.of(Role.TWIN, Group.VERDICT)) == len(found.of(Role.TWIN)) == zoo.twins
    assert len(found.of(Role.REFERENCE, Group.VERDICT)) == len(found.of(Role.REFERENCE)) == zoo.references
    assert len(found.of(Role.PIRACY)) == cells + zoo.encoder_per_role + len(zoo.taken)
    verdict = zoo.twins + zoo.references
    assert len(found.specs) == verdict + 1 + zoo.other_victims * (1 + zoo.look_alikes_per_victim) + 2 * (
        cells + zoo.encoder_per_role
    )


@given(ZOOS, st.integers(0, 2**63 - 1))
def test_ids_differ_and_seeds_too(zoo: ZooConfig, seed: int) -> None:
    specs = plan(zoo, seed).specs
    assert len({s.id for s in specs}) == len(specs)
    assert len({s.seed for s in specs}) == len(specs)
    assert plan(zoo, seed) == plan(zoo, seed)
    assert not {s.id for s in specs} & {s.id for s in plan(zoo, (seed + 1) % 2**63).specs}


@given(ZOOS)
def test_parents_come_first_and_are_the_right_ones(zoo: ZooConfig) -> None:
    found = plan(zoo)
    by_id: dict[str, ModelSpec] = {}
    for spec in found.specs:
        if spec.role in (Role.PIRACY, Role.LOOK_ALIKE) or spec.extraction:
            parent = by_id[spec.parent or ""]
            expected = {Role.PIRACY: Role.VICTIM, Role.REFERENCE: Role.REFERENCE}.get(
                spec.role, Role.OTHER_VICTIM
            )
            assert parent.role is expected
            assert spec.parent_split_seed == parent.seed
            assert spec.extraction is not None
            assert spec.floor == zoo.recovery_floor
        else:
            floor = zoo.accuracy_floor / (2 if spec.architecture in REFERENCE_NETS else 1)
            assert (spec.parent, spec.extraction, spec.floor) == (None, None, floor)
        by_id[spec.id] = spec
    assert found.victim == found.of(Role.VICTIM)[0].id


@given(
    ZOOS,
    st.sampled_from(
        ["suspects_per_cell", "encoder_per_role", "other_victims", "look_alikes_per_victim", "twins"]
    ),
)
def test_more_models_change_no_other(zoo: ZooConfig, field: str) -> None:
    zoo = replace(zoo, references=0)  # of several kinds, so that one more may be of any
    more = replace(zoo, **{field: getattr(zoo, field) + 1})
    assert {s.id for s in plan(zoo).specs} <= {s.id for s in plan(more).specs}


@given(ZOOS)
def test_twins_and_references_change_no_other_model(zoo: ZooConfig) -> None:
    others = [s.id for s in plan(zoo).specs if s.group is not Group.VERDICT]
    assert others == [s.id for s in plan(replace(zoo, twins=0, references=0)).specs]


def test_the_default_zoo_is_the_papers_table() -> None:
    found = plan(ZooConfig())
    suspects = found.of(Role.PIRACY, Group.SUSPECT)
    assert {(s.architecture, s.optimiser) for s in suspects} == {
        (a, o) for a in "BCDE" for o in ("sgd", "adam", "rmsprop")
    }
    assert {s.architecture for s in found.specs if s.group is Group.ENCODER} == set(
        ZooConfig().encoder_architectures
    )
    assert len(ZooConfig().encoder_architectures) == 1, "the paper's encoder learns from one architecture"
    assert found.of(Role.VICTIM)[0].architecture == "A"
    assert {s.batch_size for s in plan(replace(ZooConfig(), suspects_per_cell=10)).specs} == {64, 128, 256}
    assert {s.data_fraction for s in found.specs} == {0.5}


def test_encoder_models_take_their_architectures_in_turn() -> None:
    found = plan(ZooConfig(encoder_architectures=("C", "E"), encoder_per_role=5))
    for role in (Role.PIRACY, Role.HOMOLOGOUS):
        assert [s.architecture for s in found.of(role, Group.ENCODER)] == ["C", "E", "C", "E", "C"]


def test_only_piracy_counts_as_stolen() -> None:
    assert [r for r in Role if r.stolen] == [Role.PIRACY]


def test_every_third_attack_is_the_second_one() -> None:
    second = ExtractConfig(attack="jbda", rounds=2)
    found = plan(ZooConfig(second_attack=second, suspects_per_cell=3))
    for architecture in "BCDE":
        attacks = [
            s.extraction for s in found.of(Role.PIRACY, Group.SUSPECT) if s.architecture == architecture
        ]
        assert attacks.count(second) == len(attacks) / 3
    assert {s.extraction for s in found.of(Role.PIRACY, Group.ENCODER)} == {
        ExtractConfig(),
        second,
    }, "the encoder must know both attacks"
    assert second in {s.extraction for s in found.of(Role.LOOK_ALIKE)}, (
        "look-alikes must be made by both, or the attack gives them away"
    )


def test_own_victim_is_attacked_and_not_trained() -> None:
    found = plan(ZooConfig(), own="victim-own-123")
    assert found.victim == "victim-own-123"
    assert found.of(Role.VICTIM) == []
    assert {(s.parent, s.parent_split_seed) for s in found.of(Role.PIRACY)} == {("victim-own-123", None)}
    theirs = plan(ZooConfig(), own="victim-own-456")
    assert not {s.id for s in found.of(Role.PIRACY)} & {s.id for s in theirs.of(Role.PIRACY)}
    assert found.of(Role.HOMOLOGOUS) == theirs.of(Role.HOMOLOGOUS) == plan(ZooConfig()).of(Role.HOMOLOGOUS)


def test_named_epochs_reach_the_specs() -> None:
    zoo = ZooConfig(training=TrainConfig(epochs=4), epochs=(("A", 6), ("C", 10)), references=0)
    assert {(s.architecture, s.training.epochs) for s in plan(zoo).specs} == {
        ("A", 6),
        ("C", 10),
        ("B", 4),
        ("D", 4),
        ("E", 4),
    }


def test_mirroring_is_for_trained_models_of_the_named_architectures_only() -> None:
    specs = plan(ZooConfig(mirrored=("A", "C"), references=0)).specs
    assert {(s.architecture, s.training.mirror) for s in specs if not s.extraction} == {
        ("A", True),
        ("B", False),
        ("C", True),
        ("D", False),
        ("E", False),
    }
    assert not any(s.training.mirror for s in specs if s.extraction)


@pytest.mark.parametrize("field", ["victim_architecture", "encoder_architectures", "architectures"])
def test_unknown_architecture_is_named(field: str) -> None:
    with pytest.raises(ConfigError, match=r"unknown architecture 'Q'; known: A, B, C, D, E"):
        plan(replace(ZooConfig(), **{field: "Q" if field == "victim_architecture" else ("B", "Q")}))


def test_what_no_net_can_be_built_for_is_refused_before_anything_is_trained() -> None:
    with pytest.raises(ConfigError, match="images of 28 x 28 pixels are too small for resnet34"):
        plan(replace(ZooConfig(), architectures=("B", "resnet34")))
    with pytest.raises(
        ConfigError, match="width 12 gives googlenet fractions of channels; expected a multiple of 8"
    ):
        plan_zoo(
            replace(ZooConfig(), architectures=("googlenet",)),
            "data",
            replace(SHAPE, image=(3, 32, 32), widths=(12,)),
            0,
        )


@pytest.mark.parametrize("name", RECIPES)
def test_specs_survive_json(name: str) -> None:
    for spec in planned(RECIPES[name], DOMAINS[RECIPES[name].dataset]).specs:
        again = ModelSpec.from_json(json.loads(json.dumps(spec.to_json())))
        assert again == spec
        assert again.id == spec.id


def test_id_tells_what_the_model_is_and_changes_with_every_field() -> None:
    spec = plan(ZooConfig()).of(Role.PIRACY)[0]
    assert spec.id.startswith(f"piracy-{spec.architecture}-sgd-")
    changed = [
        replace(spec, **change)
        for change in (
            {"seed": 1},
            {"batch_size": 1},
            {"data": "other"},
            {"data_fraction": 0.4},
            {"floor": 0.1},
            {"parent": "p"},
            {"version": 1},
            {"group": Group.SUSPECT},
            {"parent_split_seed": 3},
            {"training": TrainConfig(epochs=9)},
            {"shape": replace(SHAPE, hidden=5)},
            {"extraction": ExtractConfig(rounds=1)},
        )
    ]
    assert len({spec.id, *(s.id for s in changed)}) == len(changed) + 1


BEFORE_TWINS = {
    "digits": (19, "222ed0acf23c5653", "victim-A-sgd-8f85d66bfd6dc078"),
    "fmnist-paper": (309, "7b4f5bbb1dba8c56", "victim-A-sgd-9a1643c91aa146cc"),
    "cifar10-paper": (109, "9dd994a72d714471", "victim-resnet18-sgd-d1f23b4ba01a1892"),
}
"""What these recipes planned at commit 02c67a1, without hardened models, which no recipe has any more: how
many models, a digest of all their ids, the victim."""
AS_IT_WAS: dict[str, dict[str, Any]] = {
    "fmnist-paper": {"encoder_architectures": ("E", "B", "C", "D"), "encoder_per_role": 20}
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
