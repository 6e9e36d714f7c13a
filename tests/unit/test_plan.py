"""The plan of the zoo: which models, with which parents, under which ids."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.plans import SHAPE, ZOOS, plan
from zooaudit.config import ExtractConfig, TrainConfig, ZooConfig
from zooaudit.errors import ConfigError
from zooaudit.planning.measured import DOMAINS
from zooaudit.planning.sizing import planned
from zooaudit.recipes.named import RECIPES
from zooaudit.zoo.plan import plan_zoo
from zooaudit.zoo.reference_nets import REFERENCE_NETS
from zooaudit.zoo.spec import Group, ModelSpec, Role


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
