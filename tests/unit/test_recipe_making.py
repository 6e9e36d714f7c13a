"""A recipe for somebody's own task: it can be planned and trained, and every number in it
says where it comes from."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.support.owner_recipes import facts, recipe_for, victim
from zooaudit.auditing import zoo_plan
from zooaudit.config import Recipe
from zooaudit.planning.measured import Domain
from zooaudit.planning.new_recipe import derived, made, reasons
from zooaudit.planning.sizing import planned
from zooaudit.recipes.differences import differences
from zooaudit.recipes.named import CIFAR10_SMALL, DIGITS, FMNIST_QUICK

SIDES = st.one_of(st.integers(4, 40), st.sampled_from([32, 63, 64, 96, 224]))


@given(
    st.integers(40, 200_000),
    st.integers(50, 50_000),
    st.tuples(st.sampled_from([1, 3, 4]), SIDES, SIDES),
    st.integers(2, 1000),
    st.floats(0, 1),
    st.one_of(st.none(), st.floats(0, 1)),
)
def test_any_task_has_a_recipe_that_can_be_planned(
    train: int, test: int, image: tuple[int, int, int], classes: int, linear: float, accuracy: float | None
) -> None:
    assume(classes <= train)
    data = facts(train, test, image, classes, linear)
    own = None if accuracy is None else victim(accuracy)
    assume(own is None or own.accuracy > data.above_chance)  # or it is refused
    reasoned = derived(data, own)
    recipe = made("mine", reasoned)
    zoo_plan.check_sizes(recipe, train, own is not None)
    assert len(planned(recipe, Domain("shirts", train, test, image, classes)).specs) > 50
    said = set(reasons(reasoned))
    for change in differences(Recipe("mine", "shirts"), recipe):
        assert any(path == change.path or path.startswith(f"{change.path}.") for path in said), change
    assert data.chance < recipe.zoo.accuracy_floor + 1e-3 and (
        own is None or recipe.zoo.accuracy_floor < own.accuracy
    )
    assert (
        recipe.twin_test.pool <= max(25, test)
        and recipe.fingerprint.points * recipe.fingerprint.views <= train
    )


@pytest.mark.parametrize("base", [DIGITS, FMNIST_QUICK, CIFAR10_SMALL], ids=lambda r: r.name)
def test_on_known_data_it_is_like_the_recipe_that_is_tried(base: Recipe) -> None:
    data = {
        "digits": facts(1347, 450, (1, 8, 8), linear=0.96),
        "fmnist-quick": facts(),
        "cifar10-small": facts(50_000, 10_000, (3, 32, 32), linear=0.35),
    }[base.name]
    found = recipe_for(data)
    assert 0.5 <= found.zoo.training.epochs / base.zoo.training.epochs <= 2
    assert 0.5 <= found.zoo.extraction.seed_size / min(5000, base.zoo.extraction.seed_size) <= 2
    assert found.uap.epsilon == pytest.approx(base.uap.epsilon, rel=0.1)
    assert (
        0.5 <= found.zoo.batch_sizes[-1] / base.zoo.batch_sizes[-1] <= 1
        and found.encoder.name == base.encoder.name
    )


def test_small_data_is_asked_less_and_learnt_in_small_batches() -> None:
    small, large = recipe_for(facts(120, 60, classes=3)), recipe_for(facts())
    assert small.twin_test.looks[-1] == 20 and small.twin_test.pool == 30 and small.zoo.batch_sizes == (8, 16)
    assert (
        large.twin_test.looks == (250, 500, 1000)
        and large.twin_test.pool == 3000
        and large.zoo.batch_sizes == (64, 128)
    )
    assert small.zoo.architectures == ("B", "C") and large.zoo.architectures == ("B", "C", "D", "E")


@pytest.mark.parametrize(
    ("side", "nets"), [(28, {"A"}), (63, {"A"}), (64, {"resnet18"}), (224, {"resnet18"})]
)
def test_large_images_are_for_nets_that_can(side: int, nets: set[str]) -> None:
    zoo = recipe_for(facts(image=(3, side, side))).zoo
    assert {zoo.victim_architecture} == nets and (set(zoo.architectures) <= set("ABCDE")) == (side < 64)


def test_floors_follow_chance_and_the_victim() -> None:
    weak = recipe_for(facts(50_000, 5_000, (3, 64, 64), 200, linear=0.5), victim(0.4)).zoo
    assert weak.accuracy_floor == pytest.approx((0.005 + 0.4) / 2, abs=1e-3), (
        "a floor of .8 is nonsense where the victim has .4"
    )
    assert weak.recovery_floor * 0.4 <= weak.accuracy_floor
    strong = recipe_for(facts(linear=0.8), victim(0.95)).zoo
    assert strong.accuracy_floor == pytest.approx(0.45, abs=1e-3), (
        "nets from scratch need not reach what a fine-tuned victim does"
    )
    hopeless = facts(linear=0.1)
    assert recipe_for(hopeless).zoo.accuracy_floor == pytest.approx(hopeless.above_chance, abs=1e-3)


def test_many_classes_have_larger_batches() -> None:
    assert recipe_for(facts(100_000, classes=1000)).zoo.batch_sizes == (128, 256)
    assert recipe_for(facts(2_000, classes=200)).zoo.batch_sizes == (64, 128)


def test_own_victims_without_training_are_told_that_they_have_no_twins() -> None:
    assert "there are none until --train" in derived(facts(), victim(has_training=False))["zoo.twins"][1]
